"""CBLAS hooks: addresses of functions that hooks.py finds, called without the GIL.

Nothing is linked at build time. A CBLAS has integers of 32 bits (LP64) or, like the one that
NumPy's wheels bundle, of 64 bits (ILP64); `gemm` calls both.
"""
from libc.stdint cimport INT32_MAX, int64_t, uintptr_t

ctypedef fused real:
    float
    double


# Values of CBLAS_LAYOUT and CBLAS_TRANSPOSE, which the CBLAS interface defines.
cdef enum:
    ROW_MAJOR = 101
    NO_TRANS = 111
    TRANS = 112

ctypedef void (*sgemm_lp64)(int, int, int, int, int, int, float, const float *, int,
                            const float *, int, float, float *, int) noexcept nogil
ctypedef void (*sgemm_ilp64)(int, int, int, int64_t, int64_t, int64_t, float, const float *,
                             int64_t, const float *, int64_t, float, float *,
                             int64_t) noexcept nogil
ctypedef void (*dgemm_lp64)(int, int, int, int, int, int, double, const double *, int,
                            const double *, int, double, double *, int) noexcept nogil
ctypedef void (*dgemm_ilp64)(int, int, int, int64_t, int64_t, int64_t, double, const double *,
                             int64_t, const double *, int64_t, double, double *,
                             int64_t) noexcept nogil
ctypedef void (*set_threads_call)(int) noexcept nogil
ctypedef int (*get_threads_call)() noexcept nogil

cdef cblas_hooks installed


def install(uintptr_t sgemm, uintptr_t dgemm, bint ilp64, uintptr_t set_threads=0,
            uintptr_t get_threads=0):
    """Let the engine use a CBLAS.

    Parameters
    ----------
    sgemm, dgemm : int
        Addresses of cblas_sgemm and cblas_dgemm; 0: use no BLAS.
    ilp64 : bool
        Whether its integers have 64 bits.
    set_threads, get_threads : int
        Addresses of the functions that set and return its number of threads; `set_threads` is
        ignored if `get_threads` is 0.
    """
    installed.sgemm = <void *> sgemm
    installed.dgemm = <void *> dgemm
    installed.ilp64 = ilp64
    installed.set_threads = <void *> set_threads if get_threads else NULL
    installed.get_threads = <void *> get_threads


cdef const cblas_hooks *hooks() noexcept nogil:
    return &installed


cdef bint takes_stride(const cblas_hooks *blas, int64_t width, int64_t ld) noexcept nogil:
    # CBLAS reports an error on stderr, and computes nothing, if a leading dimension is less than
    # the width or than 1. A number that does not fit into its integers would be truncated.
    return ld >= max(width, 1) and (blas.ilp64 or ld <= INT32_MAX)


cdef bint gemm(const cblas_hooks *blas, int itemsize, bint a_transposed, bint b_transposed,
               int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
               const void *b, int64_t ldb, double beta, void *c, int64_t ldc) noexcept nogil:
    cdef int ta = TRANS if a_transposed else NO_TRANS
    cdef int tb = TRANS if b_transposed else NO_TRANS
    if not (takes_stride(blas, m if a_transposed else k, lda)
            and takes_stride(blas, k if b_transposed else n, ldb)
            and takes_stride(blas, n, ldc)
            and (blas.ilp64 or (m <= INT32_MAX and k <= INT32_MAX))):
        return False
    if itemsize == 4 and blas.ilp64:
        (<sgemm_ilp64> blas.sgemm)(ROW_MAJOR, ta, tb, m, n, k, 1, <const float *> a, lda,
                                   <const float *> b, ldb, <float> beta, <float *> c, ldc)
    elif itemsize == 4:
        (<sgemm_lp64> blas.sgemm)(ROW_MAJOR, ta, tb, <int> m, <int> n, <int> k, 1,
                                  <const float *> a, <int> lda, <const float *> b, <int> ldb,
                                  <float> beta, <float *> c, <int> ldc)
    elif blas.ilp64:
        (<dgemm_ilp64> blas.dgemm)(ROW_MAJOR, ta, tb, m, n, k, 1, <const double *> a, lda,
                                   <const double *> b, ldb, beta, <double *> c, ldc)
    else:
        (<dgemm_lp64> blas.dgemm)(ROW_MAJOR, ta, tb, <int> m, <int> n, <int> k, 1,
                                  <const double *> a, <int> lda, <const double *> b, <int> ldb,
                                  beta, <double *> c, <int> ldc)
    return True


# Number of engine calls in progress that use the BLAS, and the BLAS's number of threads before
# the first of them. Protected by the GIL.
cdef int users = 0
cdef int threads_before = 1


cdef void enter_single_threaded():
    global users, threads_before
    if users == 0 and installed.set_threads != NULL:
        threads_before = (<get_threads_call> installed.get_threads)()
        if threads_before != 1:
            (<set_threads_call> installed.set_threads)(1)
    users += 1


cdef void leave_single_threaded():
    global users
    users -= 1
    if users == 0 and installed.set_threads != NULL and threads_before != 1:
        (<set_threads_call> installed.set_threads)(threads_before)


def multiply(const real[:, :] a, real[:, ::1] b, real[:, ::1] c):
    """Compute C = A B with the installed BLAS. For tests.

    Parameters
    ----------
    a, b, c : ndarray of float32 or float64, shapes (m, k), (k, n), (m, n)
        C-contiguous, all of the same dtype, but the rows of `a` may have any stride; `c` is
        overwritten.

    Raises
    ------
    RuntimeError
        If no BLAS is installed.
    ValueError
        If the shapes do not match, or the BLAS does not take the stride of `a`.
    """
    cdef bint is_done
    if installed.sgemm == NULL:
        raise RuntimeError("multiply() requires a CBLAS; none is installed")
    if a.shape[1] != b.shape[0] or c.shape[0] != a.shape[0] or c.shape[1] != b.shape[1]:
        raise ValueError(f"a, b and c must have shapes (m, k), (k, n) and (m, n); got "
                         f"({a.shape[0]}, {a.shape[1]}), ({b.shape[0]}, {b.shape[1]}) and "
                         f"({c.shape[0]}, {c.shape[1]})")
    enter_single_threaded()
    with nogil:
        is_done = gemm(&installed, sizeof(real), False, False, a.shape[0], b.shape[1], a.shape[1],
                       &a[0, 0], a.strides[0] // sizeof(real), &b[0, 0], b.shape[1], 0, &c[0, 0],
                       c.shape[1])
    leave_single_threaded()
    if not is_done:
        raise ValueError(f"a must have rows that do not overlap, {a.shape[1]} elements or more "
                         f"apart, in the range of the BLAS; got strides {a.strides[0]} bytes")

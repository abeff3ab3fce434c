# Calls of a CBLAS that hooks.py found at run time.
from libc.stdint cimport int64_t


cdef struct cblas_hooks:
    # Addresses of the library's functions.
    void *sgemm             # NULL: none is installed
    void *dgemm
    bint ilp64              # whether its integers have 64 bits
    void *set_threads       # NULL: the library has no such function, or no get_threads
    void *get_threads


cdef const cblas_hooks *hooks() noexcept nogil

# Compute C (m, n) = A B + beta C, row-major. A is (m, k) or, transposed, (k, m); B is (k, n) or
# (n, k). `itemsize`: bytes of an element, 4 or 8. Return False, with C as it was, if the BLAS does
# not take the sizes or strides; the caller then uses a kernel.
cdef bint gemm(const cblas_hooks *blas, int itemsize, bint a_transposed, bint b_transposed,
               int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
               const void *b, int64_t ldb, double beta, void *c, int64_t ldc) noexcept nogil

# Return whether the BLAS takes a matrix with rows of this many elements, `ld` elements apart.
cdef bint takes_stride(const cblas_hooks *blas, int64_t width, int64_t ld) noexcept nogil

# Between these two the BLAS runs on the calling thread alone. They may be nested.
cdef void enter_single_threaded()
cdef void leave_single_threaded()

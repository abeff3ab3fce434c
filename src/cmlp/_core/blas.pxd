# A CBLAS found at run time, as a struct of what the engine needs of it.
from libc.stdint cimport int64_t


cdef struct cblas_hooks:
    void *sgemm             # NULL when there is no BLAS
    void *dgemm
    bint ilp64              # its integers have 64 bits
    void *set_threads       # NULL where it has no such call
    void *get_threads


cdef const cblas_hooks *hooks() noexcept nogil

# C = A B + beta C, row-major, A (m, k) or, transposed, (k, m), B likewise.
cdef void gemm(const cblas_hooks *blas, int itemsize, bint a_transposed, bint b_transposed,
               int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
               const void *b, int64_t ldb, double beta, void *c, int64_t ldc) noexcept nogil

# Between these two the BLAS runs on the thread that calls it.
cdef void enter_single_threaded()
cdef void leave_single_threaded()

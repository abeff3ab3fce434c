# Worker threads (csrc/threads.h), and how work is divided among them.
from libc.stdint cimport int64_t


cdef extern from "threads.h" nogil:
    ctypedef void (*cmlp_body)(void *arg, int thread, int threads) noexcept nogil
    void cmlp_parallel(cmlp_body body, void *arg, int threads)
    void cmlp_barrier(int threads)
    void cmlp_survive_fork()
    int CMLP_HAVE_THREADS


# Elements first .. first + size.
cdef struct Range:
    int64_t first, size


cdef inline Range split_range(int64_t n, int64_t block, int thread, int threads) noexcept nogil:
    # Return this thread's contiguous share of n elements. Shares begin at multiples of
    # `block` elements and differ by at most one block; the size is 0 if a thread gets none.
    cdef int64_t blocks = (n + block - 1) // block
    cdef int64_t first = blocks * thread // threads * block
    cdef int64_t end = min(blocks * (thread + 1) // threads * block, n)
    return Range(first, end - first)

# A team of threads, and each one's share of the work.
from libc.stdint cimport int64_t


cdef extern from "threads.h" nogil:
    ctypedef void (*cmlp_body)(void *arg, int thread, int threads) noexcept nogil
    void cmlp_parallel(cmlp_body body, void *arg, int threads)
    void cmlp_barrier(int threads)
    void cmlp_survive_fork()
    int CMLP_HAVE_THREADS


cdef inline int64_t share(int64_t blocks, int thread, int threads) noexcept nogil:
    return blocks * thread // threads

/* Parallel regions and barriers, by OpenMP if the compiler supports it; otherwise one thread. */
#ifndef CMLP_THREADS_H
#define CMLP_THREADS_H

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#define CMLP_HAVE_THREADS 1
#else
#define CMLP_HAVE_THREADS 0
#endif

/* The body of a parallel region: called once per thread, with its index in [0, threads). */
typedef void (*cmlp_body)(void *arg, int thread, int threads);

/* Run body(arg, thread, threads) on `threads` threads, one of them the caller; return when all have
 * finished. */
static inline void cmlp_parallel(cmlp_body body, void *arg, int threads)
{
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        body(arg, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    (void)threads;
    body(arg, 0, 1);
}

/* Wait until all threads of the parallel region have called this; for use inside a body. */
static inline void cmlp_barrier(int threads)
{
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp barrier
    }
#endif
    (void)threads;
}

#ifdef _OPENMP
/* Before a fork, end the worker threads: they do not exist in the child, whose next parallel region
 * would wait for them forever with GCC's OpenMP.  Parent and child create new ones on demand. */
static void cmlp_release_threads(void)
{
    /* GCC supports it from version 9, but declares an older version of OpenMP. */
#if _OPENMP >= 201811 || (defined(__GNUC__) && !defined(__clang__))
    omp_pause_resource_all(omp_pause_hard);
#endif
}
#endif

/* Make fork safe after parallel regions have run.  Call once, at import. */
static inline void cmlp_survive_fork(void)
{
#ifdef _OPENMP
    pthread_atfork(cmlp_release_threads, NULL, NULL);
#endif
}

#endif

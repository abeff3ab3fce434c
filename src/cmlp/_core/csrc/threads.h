/* A team of threads, by OpenMP where the compiler has it. */
#ifndef CMLP_THREADS_H
#define CMLP_THREADS_H

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#define CMLP_HAVE_THREADS 1
#else
#define CMLP_HAVE_THREADS 0
#endif

typedef void (*cmlp_body)(void *arg, int thread, int threads);

/* Runs body on each of a team of `threads`, the caller among them. */
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

/* Waits for the whole team; for use inside a body. */
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
/* The threads of a pool do not live on in a forked child, but GCC's OpenMP
 * would wait for them: let the pool go before the fork, both sides make a new
 * one when they need it. */
static void cmlp_release_threads(void)
{
#if _OPENMP >= 201811 || (defined(__GNUC__) && !defined(__clang__)) /* GCC 9 has it early */
    omp_pause_resource_all(omp_pause_hard);
#endif
}
#endif

static inline void cmlp_survive_fork(void)
{
#ifdef _OPENMP
    pthread_atfork(cmlp_release_threads, NULL, NULL);
#endif
}

#endif

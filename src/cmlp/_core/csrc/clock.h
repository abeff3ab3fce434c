/* Clocks: of the time, and of the CPU time of a thread. */
#ifndef CMLP_CLOCK_H
#define CMLP_CLOCK_H

#include <time.h>

/* Return the time in seconds since an arbitrary start. */
static inline double cmlp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Return the seconds for which the calling thread has run on a CPU. */
static inline double cmlp_thread_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif

/* A clock that only goes forward, in seconds. */
#ifndef CMLP_CLOCK_H
#define CMLP_CLOCK_H

#include <time.h>

static inline double cmlp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif

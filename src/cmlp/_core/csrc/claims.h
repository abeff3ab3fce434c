/* Blocks of work that several threads claim one after another. */
#ifndef CMLP_CLAIMS_H
#define CMLP_CLAIMS_H

#include <stdint.h>

/* Return the next unclaimed block, which becomes claimed; it may be beyond the last one. */
static inline int64_t cmlp_claim(int64_t *next)
{
    return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
}

#endif

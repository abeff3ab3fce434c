/* A pool of worker threads, which compute the blocks of a phase together with the calling thread.
 *
 * A phase is a function and a number of blocks that are independent of each other.  Each member of
 * a team (the caller is member 0) owns a contiguous range of the blocks, the same in every phase
 * of the same number of blocks, so that a core finds its part of the weights in its own cache.  A
 * member claims the blocks of its own range, then unclaimed blocks of the other ranges.  The caller
 * returns when all blocks are finished: a worker that the operating system does not run
 * delays it by the one block that the worker has claimed, if any.
 *
 * Workers start on demand and exist until the process ends.  Between phases they spin for
 * CMLP_SPIN_SECONDS, then sleep.  Several threads may use the pool at the same time: each team
 * consists of workers that no other team has.
 */
#ifndef CMLP_POOL_H
#define CMLP_POOL_H

#include <stdint.h>

/* Compute a block of a phase: `block` in [0, blocks). */
typedef void (*cmlp_phase)(void *arg, int64_t block, int64_t blocks);

typedef struct cmlp_team cmlp_team;

/* Form a team of at most `threads` members, fewer if workers are missing.  Return NULL if it would
 * consist of the caller alone. */
cmlp_team *cmlp_begin_team(int threads);

/* Dissolve a team; NULL is allowed.  Its workers become available to other teams. */
void cmlp_end_team(cmlp_team *team);

/* Run phase(arg, block, blocks) once for each block; return when all blocks are finished.  The
 * thread that formed the team calls it.  At most INT32_MAX blocks. */
void cmlp_run_phase(cmlp_team *team, cmlp_phase phase, void *arg, int64_t blocks);

/* Return the number of members. */
int cmlp_count_members(const cmlp_team *team);

/* Return the number of worker threads that exist. */
int cmlp_count_workers(void);

/* Make fork safe: the child starts with an empty pool.  Call it once, before the first team. */
void cmlp_prepare_pool(void);

/* The maximum number of threads that callers should request, INT32_MAX if there is none.  The pool
 * stores it for them; controllers of thread pools find these two functions by name. */
#if defined(__GNUC__)
#define CMLP_EXPORT __attribute__((visibility("default")))
#else
#define CMLP_EXPORT
#endif
CMLP_EXPORT int cmlp_pool_get_limit(void);
CMLP_EXPORT void cmlp_pool_set_limit(int limit);

/* For tests: delay each block of every phase by a random time of at most this many microseconds,
 * so that blocks are claimed in random order; 0: no delay. */
void cmlp_delay_blocks(int microseconds);

#endif

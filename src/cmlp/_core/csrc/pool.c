/* The thread pool; pool.h describes it. */
#include "pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "platform.h"
#include "policy.h"

enum {
    /* Distance between data of different threads: two cache lines, which are prefetched in pairs. */
    SEPARATION = 128,
    /* A worker's stack: the kernels need up to 600 KiB for packed panels, sanitizers more. */
    STACK_BYTES = 2 << 20,
    /* Spins between two looks at the clock. */
    SPINS = 32,
    /* Phases between two checks whether the caller runs. */
    CHECKED_PHASES = 8,
};

/* The range of blocks of one member.  Ranges are never freed, because a worker that the operating
 * system suspended may look at one long after its phase.  Such a worker finds no blocks, or helps
 * with a newer phase. */
typedef struct {
    /* end << 32 | next: the blocks from `next` to `end` are not claimed.  Adding 1 claims a block.
     * `phase`, `arg` and `blocks` are written before, and do not change while a claimed block is
     * unfinished. */
    _Alignas(SEPARATION) _Atomic uint64_t claims;
    _Atomic(cmlp_phase) phase;
    _Atomic(void *) arg;
    _Atomic int64_t blocks;
    _Atomic(cmlp_team *) team;
    _Atomic int number; /* index in the team */
    cmlp_word sleeps;   /* 1: the worker sleeps, or is about to */
    /* Blocks of this range that were finished since the range exists. */
    _Alignas(SEPARATION) _Atomic uint64_t finished;
    uint64_t expected; /* value of `finished` at the end of the phase; used by the caller only */
} range;

struct cmlp_team {
    range own;                    /* of the caller */
    _Atomic(range *) members[CMLP_MAX_THREADS];
    _Atomic int size;
    cmlp_word waits;              /* 1: the caller sleeps until blocks are finished */
    /* Whether the caller computes alone, until when, and for how long. */
    int is_alone;
    double alone_until, pause;
    /* Begin of the current window: the time, and the CPU time of the caller.  Seconds of the window for
     * which the caller spun.  Phases so far. */
    double window_begin, thread_begin, spun;
    unsigned phases;
    cmlp_team *next;              /* in the list of unused teams */
};

static struct {
    cmlp_mutex mutex;
    range *idle[CMLP_MAX_THREADS]; /* a stack: workers that no team has */
    int idle_count, workers;
    cmlp_team *unused;
} pool = {.mutex = CMLP_MUTEX_INITIALIZER};

static _Atomic int delay_microseconds;
static _Atomic int thread_limit = INT32_MAX;

static uint64_t make_claims(int64_t first, int64_t end)
{
    return (uint64_t)end << 32 | (uint64_t)first;
}

static int has_blocks(uint64_t claims)
{
    return (uint32_t)claims < (uint32_t)(claims >> 32);
}

/* Sleep for a random time; see cmlp_delay_blocks. */
static void delay_block(int microseconds)
{
    static _Thread_local uint64_t state;
    if (state == 0)
        state = (uint64_t)(uintptr_t)&state;
    state = state * 6364136223846793005u + 1442695040888963407u;
    cmlp_sleep_for((long)(state >> 33) % (1000L * microseconds));
}

/* Compute block `block` of a range, which the calling thread has claimed. */
static void run_block(range *r, int64_t block)
{
    const int delay = atomic_load_explicit(&delay_microseconds, memory_order_relaxed);
    if (delay > 0)
        delay_block(delay);
    const cmlp_phase phase = atomic_load_explicit(&r->phase, memory_order_relaxed);
    phase(atomic_load_explicit(&r->arg, memory_order_relaxed), block,
          atomic_load_explicit(&r->blocks, memory_order_relaxed));
    cmlp_team *team = atomic_load_explicit(&r->team, memory_order_relaxed);
    atomic_fetch_add(&r->finished, 1);
    /* The order of these two accesses and of those in wait_for_range prevents a lost wake-up. */
    if (atomic_load(&team->waits) && atomic_exchange(&team->waits, 0))
        cmlp_wake(&team->waits);
}

/* Claim and compute blocks of a range until all are claimed. */
static void run_range(range *r)
{
    while (has_blocks(atomic_load_explicit(&r->claims, memory_order_relaxed))) {
        const uint64_t claims = atomic_fetch_add_explicit(&r->claims, 1, memory_order_acq_rel);
        if (!has_blocks(claims))
            return;
        run_block(r, (int64_t)(uint32_t)claims);
    }
}

/* Compute blocks of the other members' ranges that nobody has claimed. */
static void run_other_ranges(cmlp_team *team, int number)
{
    const int size = atomic_load_explicit(&team->size, memory_order_acquire);
    for (int i = 1; i < size; i++)
        run_range(atomic_load_explicit(&team->members[(number + i) % size], memory_order_relaxed));
}

/* Spin until the condition holds or CMLP_SPIN_SECONDS have passed. */
#define SPIN_UNTIL(condition)                                   \
    do {                                                        \
        for (double end = 0; !(condition);) {                   \
            for (int i = 0; i < SPINS && !(condition); i++)     \
                cmlp_relax();                                   \
            const double now = cmlp_now();                      \
            if (end == 0)                                       \
                end = now + CMLP_SPIN_SECONDS;                  \
            else if (now > end)                                 \
                break;                                          \
        }                                                       \
    } while (0)

static void *run_worker(void *arg)
{
    range *own = arg;
    for (;;) {
        SPIN_UNTIL(has_blocks(atomic_load_explicit(&own->claims, memory_order_relaxed)));
        while (!has_blocks(atomic_load(&own->claims))) {
            atomic_store(&own->sleeps, 1);
            if (!has_blocks(atomic_load(&own->claims)))
                cmlp_sleep_on(&own->sleeps, 1);
            atomic_store(&own->sleeps, 0);
        }
        run_range(own);
        run_other_ranges(atomic_load_explicit(&own->team, memory_order_relaxed),
                         atomic_load_explicit(&own->number, memory_order_relaxed));
    }
    return NULL;
}

/* Let a member compute blocks first to end. */
static void publish(range *r, cmlp_phase phase, void *arg, int64_t first, int64_t end,
                    int64_t blocks)
{
    atomic_store_explicit(&r->phase, phase, memory_order_relaxed);
    atomic_store_explicit(&r->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&r->blocks, blocks, memory_order_relaxed);
    r->expected += (uint64_t)(end - first);
    /* Sequentially consistent, like the accesses in run_worker: either the worker sees the blocks,
     * or this sees that it sleeps. */
    atomic_exchange(&r->claims, make_claims(first, end));
    if (atomic_load(&r->sleeps) && atomic_exchange(&r->sleeps, 0))
        cmlp_wake(&r->sleeps);
}

static int is_finished(range *r)
{
    return atomic_load_explicit(&r->finished, memory_order_acquire) == r->expected;
}

/* Spin until the claimed blocks of a range are finished, for CMLP_SPIN_SECONDS at most, and add the time
 * to `spun` unless it is very short. */
static void spin_until_finished(cmlp_team *team, range *r)
{
    for (int i = 0; i < SPINS && !is_finished(r); i++)
        cmlp_relax();
    if (is_finished(r))
        return;
    const double begin = cmlp_now();
    SPIN_UNTIL(is_finished(r));
    team->spun += cmlp_now() - begin;
}

/* Sleep until the claimed blocks of a range are finished. */
static void sleep_until_finished(cmlp_team *team, range *r)
{
    while (!is_finished(r)) {
        atomic_store(&team->waits, 1);
        if (atomic_load(&r->finished) != r->expected)
            cmlp_sleep_on(&team->waits, 1);
        atomic_store(&team->waits, 0);
    }
}

/* Wait until all blocks are finished.  Return whether the caller slept. */
static int wait_for_members(cmlp_team *team, int size)
{
    int slept = 0;
    for (int i = size - 1; i >= 0; i--) {
        range *r = team->members[i];
        spin_until_finished(team, r);
        if (!is_finished(r)) {
            sleep_until_finished(team, r);
            slept = 1;
        }
    }
    return slept;
}

/* Begin to measure how long the caller does not compute. */
static void begin_window(cmlp_team *team, double now)
{
    team->spun = 0;
    team->window_begin = now;
    team->thread_begin = cmlp_thread_time();
}

/* Let the caller compute alone for some time if it did not compute for a considerable part of the
 * window: because other processes, or its own workers, use its CPU, or because it waited for a worker
 * whose CPU others use.  The time is longer if this happens again soon. */
static void check_window(cmlp_team *team)
{
    const double now = cmlp_now(), seconds = now - team->window_begin;
    if (seconds < CMLP_WINDOW_SECONDS)
        return;
    const double lost = seconds - (cmlp_thread_time() - team->thread_begin) + team->spun;
    if (lost > CMLP_LOST_FRACTION * seconds) {
        const int is_repeated = team->pause > 0 && now < team->alone_until + 4 * team->pause;
        team->pause = is_repeated ? 2 * team->pause : CMLP_PAUSE_SECONDS;
        if (team->pause > CMLP_LONGEST_PAUSE_SECONDS)
            team->pause = CMLP_LONGEST_PAUSE_SECONDS;
        team->alone_until = now + team->pause;
        team->is_alone = 1;
    }
    begin_window(team, now);
}

/* Return whether the caller still computes alone. */
static int stays_alone(cmlp_team *team)
{
    const double now = cmlp_now();
    if (now < team->alone_until)
        return 1;
    team->is_alone = 0;
    begin_window(team, now);
    return 0;
}

void cmlp_run_phase(cmlp_team *team, cmlp_phase phase, void *arg, int64_t blocks)
{
    const int size = cmlp_count_members(team);
    if (team->is_alone && stays_alone(team)) {
        for (int64_t block = 0; block < blocks; block++)
            phase(arg, block, blocks);
        return;
    }
    for (int i = size - 1; i >= 0; i--)
        publish(team->members[i], phase, arg, blocks * i / size, blocks * (i + 1) / size, blocks);
    run_range(&team->own);
    run_other_ranges(team, 0);
    /* Reading the clocks is much work compared with a short phase, unless the caller slept. */
    if (wait_for_members(team, size) || blocks > size || ++team->phases % CHECKED_PHASES == 0)
        check_window(team);
}

int cmlp_count_members(const cmlp_team *team)
{
    return atomic_load_explicit(&team->size, memory_order_relaxed);
}

/* Return new memory on a boundary of SEPARATION bytes, or NULL. */
static void *allocate(size_t size)
{
    size = (size + SEPARATION - 1) / SEPARATION * SEPARATION;
    void *memory = aligned_alloc(SEPARATION, size);
    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

/* Return a worker that no team has, or NULL.  The mutex is locked. */
static range *take_worker(void)
{
    if (pool.idle_count > 0)
        return pool.idle[--pool.idle_count];
    if (pool.workers == CMLP_MAX_THREADS - 1)
        return NULL;
    range *r = allocate(sizeof *r);
    if (r == NULL)
        return NULL;
    if (!cmlp_start_thread(run_worker, r, STACK_BYTES)) {
        free(r);
        return NULL;
    }
    pool.workers++;
    return r;
}

/* Return a team without workers, or NULL.  The mutex is locked. */
static cmlp_team *take_team(void)
{
    cmlp_team *team = pool.unused;
    if (team != NULL) {
        pool.unused = team->next;
        return team;
    }
    team = allocate(sizeof *team);
    if (team == NULL)
        return NULL;
    atomic_store_explicit(&team->own.team, team, memory_order_relaxed);
    atomic_store_explicit(&team->members[0], &team->own, memory_order_relaxed);
    return team;
}

/* Return a team, and its workers, to the pool.  The mutex is locked. */
static void return_team(cmlp_team *team)
{
    const int size = cmlp_count_members(team);
    /* In this order the next team gets the same workers as the same members. */
    for (int i = size - 1; i > 0; i--)
        pool.idle[pool.idle_count++] = team->members[i];
    team->next = pool.unused;
    pool.unused = team;
}

cmlp_team *cmlp_begin_team(int threads)
{
    int size = 1;
    if (threads < 2)
        return NULL;
    cmlp_lock(&pool.mutex);
    cmlp_team *team = take_team();
    while (team != NULL && size < threads && size < CMLP_MAX_THREADS) {
        range *worker = take_worker();
        if (worker == NULL)
            break;
        atomic_store_explicit(&worker->number, size, memory_order_relaxed);
        atomic_store_explicit(&worker->team, team, memory_order_relaxed);
        atomic_store_explicit(&team->members[size++], worker, memory_order_relaxed);
    }
    if (team != NULL) {
        atomic_store_explicit(&team->size, size, memory_order_release);
        begin_window(team, cmlp_now());
        if (size == 1) {
            return_team(team);
            team = NULL;
        }
    }
    cmlp_unlock(&pool.mutex);
    return team;
}

void cmlp_end_team(cmlp_team *team)
{
    if (team == NULL)
        return;
    cmlp_lock(&pool.mutex);
    return_team(team);
    cmlp_unlock(&pool.mutex);
}

int cmlp_count_workers(void)
{
    cmlp_lock(&pool.mutex);
    const int workers = pool.workers;
    cmlp_unlock(&pool.mutex);
    return workers;
}

int cmlp_pool_get_limit(void)
{
    return atomic_load(&thread_limit);
}

void cmlp_pool_set_limit(int limit)
{
    atomic_store(&thread_limit, limit);
}

void cmlp_delay_blocks(int microseconds)
{
    atomic_store(&delay_microseconds, microseconds);
}

static void lock_pool(void)
{
    cmlp_lock(&pool.mutex);
}

static void unlock_pool(void)
{
    cmlp_unlock(&pool.mutex);
}

/* The child of a fork has no workers, and the teams of other threads are lost. */
static void empty_pool(void)
{
    pool.idle_count = pool.workers = 0;
    pool.unused = NULL;
    cmlp_reset_sleepers();
    cmlp_unlock(&pool.mutex);
}

void cmlp_prepare_pool(void)
{
    cmlp_at_fork(lock_pool, unlock_pool, empty_pool);
}

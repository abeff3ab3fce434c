/* Stress test of the thread pool for the thread sanitizer: .ci/sanitizers compiles it together with
 * pool.c and runs it.  Prints the number of phases; exits with 1 after a wrong result. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform.h"
#include "pool.h"

enum { CALLERS = 2, TEAMS = 40, PHASES = 60, MOST_BLOCKS = 23, ROWS = 64 };

/* Plain memory that blocks write and that the next phase reads: a missing synchronization is a data
 * race. */
typedef struct {
    long value[MOST_BLOCKS][ROWS];
    long sum[MOST_BLOCKS];
    int64_t blocks_before;
} work;

static void write_values(void *arg, int64_t block, int64_t blocks)
{
    work *w = arg;
    (void)blocks;
    for (int i = 0; i < ROWS; i++)
        w->value[block][i] += block + i;
}

/* Read the blocks of the phase before, which other threads may have written. */
static void sum_values(void *arg, int64_t block, int64_t blocks)
{
    work *w = arg;
    (void)blocks;
    w->sum[block] = 0;
    for (int64_t b = 0; b < w->blocks_before; b++)
        for (int i = 0; i < ROWS; i++)
            w->sum[block] += w->value[b][i];
}

/* Return whether a pair of phases gives the same sums as one thread. */
static int run_phases(cmlp_team *team, work *w, int64_t blocks)
{
    long expected = 0;
    for (int64_t b = 0; b < blocks; b++)
        for (int i = 0; i < ROWS; i++)
            expected += w->value[b][i] + b + i;
    cmlp_run_phase(team, write_values, w, blocks);
    w->blocks_before = blocks;
    cmlp_run_phase(team, sum_values, w, blocks);
    for (int64_t b = 0; b < blocks; b++)
        if (w->sum[b] != expected)
            return 0;
    return 1;
}

/* Form teams and run phases of random numbers of blocks, some of them after workers have fallen
 * asleep.  Return NULL if all results are right. */
static void *use_pool(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg;
    static char failed;
    work *w = calloc(1, sizeof *w);
    for (int t = 0; t < TEAMS; t++) {
        cmlp_team *team = cmlp_begin_team(2 + (int)(rand_r(&state) % 4));
        for (int p = 0; team != NULL && p < PHASES; p++) {
            if (!run_phases(team, w, 1 + (int64_t)(rand_r(&state) % MOST_BLOCKS)))
                return &failed;
            if (p % 16 == 0)
                cmlp_sleep_for(200000);
        }
        cmlp_end_team(team);
    }
    free(w);
    return NULL;
}

static int run_callers(void)
{
    pthread_t callers[CALLERS];
    int ok = 1;
    for (intptr_t i = 0; i < CALLERS; i++)
        pthread_create(&callers[i], NULL, use_pool, (void *)(i + 1));
    for (int i = 0; i < CALLERS; i++) {
        void *failed;
        pthread_join(callers[i], &failed);
        ok = ok && failed == NULL;
    }
    return ok;
}

/* Return whether a forked process can use the pool while another thread of the parent does. */
static int fork_while_used(void)
{
    pthread_t caller;
    void *failed;
    int status;
    pthread_create(&caller, NULL, use_pool, (void *)9);
    const pid_t child = fork();
    if (child == 0)
        _exit(use_pool((void *)5) != NULL);
    waitpid(child, &status, 0);
    pthread_join(caller, &failed);
    return failed == NULL && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int count, char **arguments)
{
    cmlp_prepare_pool();
    int ok = run_callers();
    cmlp_delay_blocks(300); /* blocks are stolen, callers and workers sleep */
    ok = ok && run_callers();
    cmlp_delay_blocks(0);
    /* The sanitizer's runtime cannot start threads in the child of a process with threads. */
    if (count > 1 && arguments[1][0] == 'f')
        ok = ok && fork_while_used();
    printf("%d phases, %d workers: %s\n", 4 * CALLERS * TEAMS * PHASES, cmlp_count_workers(),
           ok ? "right" : "WRONG");
    return !ok;
}

/* The operating system's functions that the thread pool uses: a mutex, threads, sleeping until a word
 * changes, and callbacks around fork.
 *
 * Linux sleeps in a futex.  Other systems with POSIX threads use condition variables, as does
 * Linux with CMLP_NO_FUTEX.  A port to another system (Windows: WaitOnAddress,
 * WakeByAddressSingle, SRWLOCK, CreateThread) adds its versions of the functions below; pool.c
 * contains nothing of the operating system.
 */
#ifndef CMLP_PLATFORM_H
#define CMLP_PLATFORM_H

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#if defined(__linux__) && !defined(CMLP_NO_FUTEX)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#define CMLP_HAVE_FUTEX 1
#else
#define CMLP_HAVE_FUTEX 0
#endif

/* A word on which one thread sleeps at a time. */
typedef _Atomic uint32_t cmlp_word;

typedef pthread_mutex_t cmlp_mutex;
#define CMLP_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER

static inline void cmlp_lock(cmlp_mutex *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void cmlp_unlock(cmlp_mutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

#if CMLP_HAVE_FUTEX
/* Sleep while *word == value, or for a shorter time. */
static inline void cmlp_sleep_on(cmlp_word *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* Wake the thread that sleeps on the word; call it after changing the word. */
static inline void cmlp_wake(cmlp_word *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* After a fork, in the child. */
static inline void cmlp_reset_sleepers(void) {}
#else
/* All words share a condition variable.  The pool sleeps and wakes seldom. */
static pthread_mutex_t cmlp_sleep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cmlp_sleep_condition = PTHREAD_COND_INITIALIZER;

static inline void cmlp_sleep_on(cmlp_word *word, uint32_t value)
{
    pthread_mutex_lock(&cmlp_sleep_mutex);
    while (atomic_load(word) == value)
        pthread_cond_wait(&cmlp_sleep_condition, &cmlp_sleep_mutex);
    pthread_mutex_unlock(&cmlp_sleep_mutex);
}

static inline void cmlp_wake(cmlp_word *word)
{
    (void)word;
    pthread_mutex_lock(&cmlp_sleep_mutex);
    pthread_cond_broadcast(&cmlp_sleep_condition);
    pthread_mutex_unlock(&cmlp_sleep_mutex);
}

static inline void cmlp_reset_sleepers(void)
{
    pthread_mutex_init(&cmlp_sleep_mutex, NULL);
    pthread_cond_init(&cmlp_sleep_condition, NULL);
}
#endif

/* Start a thread that runs body(arg) until the process ends.  It receives no signals, so that the
 * interpreter's main thread does.  Return 0 if the system cannot create a thread. */
static inline int cmlp_start_thread(void *(*body)(void *), void *arg, size_t stack_bytes)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread, &attributes, body, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

/* Call `before` in the parent before each fork, and the others after it. */
static inline void cmlp_at_fork(void (*before)(void), void (*in_parent)(void),
                                void (*in_child)(void))
{
    pthread_atfork(before, in_parent, in_child);
}

/* Sleep for a number of nanoseconds below 10^9. */
static inline void cmlp_sleep_for(long nanoseconds)
{
    const struct timespec time = {0, nanoseconds};
    nanosleep(&time, NULL);
}

/* Let the CPU save power, or give resources to its other hardware thread, in a spinning loop. */
static inline void cmlp_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif

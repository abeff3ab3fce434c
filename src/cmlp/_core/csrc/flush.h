/* Flush-to-zero: subnormal operands and results of floating-point instructions become zero.
 *
 * vdpbf16ps always flushes them.  The products of bfloat16 operands set this mode for all of their
 * instructions, so that every ISA computes the same bits, and restore the caller's mode.  Functions
 * that depend on the mode must not be inlined into those that set it: a compiler may move
 * floating-point instructions across the change.
 */
#ifndef CMLP_FLUSH_H
#define CMLP_FLUSH_H

#include <stdint.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#define NOINLINE static __attribute__((noinline))

/* Set the mode; return the previous state of the control register. */
static inline uint64_t begin_flush(void)
{
#if defined(__SSE2__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* flush to zero, denormals are zero */
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1 << 24))); /* FZ */
    return before;
#else
    return 0;
#endif
}

/* Restore the state that begin_flush returned. */
static inline void end_flush(uint64_t before)
{
#if defined(__SSE2__)
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

#endif

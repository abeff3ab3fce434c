/* The kernel tables of this build, by ISA.  setup.py defines CMLP_HAVE_X86 if it compiles kernels.c
 * for AVX2 and AVX-512 too. */
#ifndef CMLP_ISA_H
#define CMLP_ISA_H

#include <string.h>

#include "kernels.h"

extern const cmlp_kernels cmlp_baseline_4, cmlp_baseline_8;
#ifdef CMLP_HAVE_X86
extern const cmlp_kernels cmlp_avx2_4, cmlp_avx2_8, cmlp_avx512_4, cmlp_avx512_8;
extern const cmlp_kernels cmlp_avx512_bf16_4;
#endif

/* Return the table of an ISA for reals of 4 or 8 bytes, or NULL if this build has no such ISA. */
static inline const cmlp_kernels *cmlp_table(const char *isa, int itemsize)
{
    const int wide = itemsize == 8;
    if (!strcmp(isa, "baseline"))
        return wide ? &cmlp_baseline_8 : &cmlp_baseline_4;
#ifdef CMLP_HAVE_X86
    if (!strcmp(isa, "avx2"))
        return wide ? &cmlp_avx2_8 : &cmlp_avx2_4;
    if (!strcmp(isa, "avx512"))
        return wide ? &cmlp_avx512_8 : &cmlp_avx512_4;
    if (!strcmp(isa, "avx512_bf16")) /* float64 has no use for the additional instructions */
        return wide ? &cmlp_avx512_8 : &cmlp_avx512_bf16_4;
#endif
    return NULL;
}

/* Return whether the CPU supports the ISA and the operating system saves its registers. */
static inline int cmlp_cpu_runs(const char *isa)
{
#ifdef CMLP_HAVE_X86
    __builtin_cpu_init();
    if (!strcmp(isa, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (!strcmp(isa, "avx512"))
        return avx512;
    if (!strcmp(isa, "avx512_bf16"))
        return avx512 && __builtin_cpu_supports("avx512bf16") &&
               __builtin_cpu_supports("avx512vnni");
#endif
    return !strcmp(isa, "baseline");
}

#endif

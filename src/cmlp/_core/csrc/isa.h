/* The kernel tables of this build, by ISA.  setup.py defines CMLP_HAVE_X86 if it compiles kernels.c
 * for AVX2 and AVX-512 too. */
#ifndef CMLP_ISA_H
#define CMLP_ISA_H

#include <string.h>

#ifdef CMLP_HAVE_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include "kernels.h"

extern const cmlp_kernels cmlp_baseline_4, cmlp_baseline_8;
#ifdef CMLP_HAVE_X86
extern const cmlp_kernels cmlp_avx2_4, cmlp_avx2_8, cmlp_avx512_4, cmlp_avx512_8;
extern const cmlp_kernels cmlp_avx512_bf16_4;
extern const cmlp_bf16_kernels cmlp_amx_4;
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
    if (!strcmp(isa, "amx")) {
        static cmlp_kernels amx;
        if (amx.bf16 == NULL) {
            amx = cmlp_avx512_bf16_4;
            amx.bf16 = &cmlp_amx_4;
        }
        return wide ? &cmlp_avx512_8 : &amx;
    }
#endif
    return NULL;
}

/* Return whether the CPU has AMX and Linux lets the process use its registers, which it must ask for
 * once: Linux, Documentation/arch/x86/xstate.rst. */
static inline int cmlp_allows_amx(void)
{
#if defined(CMLP_HAVE_X86) && defined(__linux__)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1))
        return 0; /* AMX-BF16 and AMX-TILE */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
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
    if (!strcmp(isa, "amx"))
        return cmlp_cpu_runs("avx512_bf16") && cmlp_allows_amx();
#endif
    return !strcmp(isa, "baseline");
}

#endif

/* Compiled once for each instruction set and real type; CMLP_TABLE names the
 * table that this build exports. */
#include "kernels.h"

#include "activations.h"
#include "losses.h"
#include "products.h"
#include "simd.h"

#define GATHER(type, factor)                                                    \
    for (int64_t i = 0; i < m; i++) {                                           \
        const int64_t row = index ? index[i] : i;                               \
        const type *restrict from = (const type *)((const char *)rows->data + row * rows->stride); \
        REAL *restrict to = (REAL *)out + i * ld;                               \
        for (int64_t j = 0; j < rows->width; j++)                               \
            to[j] = (REAL)from[j] factor;                                       \
    }

static void gather(const cmlp_rows *rows, const uint32_t *index, int64_t m, void *out, int64_t ld)
{
    switch (rows->kind) {
    case CMLP_U8:
        GATHER(uint8_t, * (1 / (REAL)255))
        break;
    case CMLP_F32:
        GATHER(float, )
        break;
    case CMLP_F64:
        GATHER(double, )
        break;
    }
}

typedef uint32_t u32_alias __attribute__((may_alias));
typedef uint64_t u64_alias __attribute__((may_alias));

/* A number is finite unless its exponent is all ones. */
#define FIND_NOT_FINITE(type, exponent)                                             \
    for (int64_t i = 0; i < rows->n; i++) {                                         \
        const type *x = (const type *)((const char *)rows->data + i * rows->stride); \
        type bad = 0;                                                               \
        for (int64_t j = 0; j < rows->width; j++)                                   \
            bad |= (x[j] & (exponent)) == (exponent);                               \
        if (bad)                                                                    \
            return i;                                                               \
    }

static int64_t first_not_finite(const cmlp_rows *rows)
{
    if (rows->kind == CMLP_F32) {
        FIND_NOT_FINITE(u32_alias, 0x7f800000u)
    } else if (rows->kind == CMLP_F64) {
        FIND_NOT_FINITE(u64_alias, 0x7ff0000000000000u)
    }
    return -1;
}

#define STRING(x) #x
#define NAME(isa) STRING(isa)

const cmlp_kernels CMLP_TABLE = {
    .isa = NAME(CMLP_ISA),
    .itemsize = CMLP_REAL_BYTES,
    .vector_bytes = VECTOR_BYTES,
    .activations = activation_names,
    .losses = loss_names,
    .gather = gather,
    .first_not_finite = first_not_finite,
    .affine = affine,
    .affine_backward = affine_backward,
    .accumulate = accumulate,
    .accumulate_bias = accumulate_bias,
    .activate = activate,
    .activate_backward = activate_backward,
    .head = head_rows,
};

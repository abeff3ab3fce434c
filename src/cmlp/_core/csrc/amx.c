/* The kernels for bfloat16 operands by AMX (bfloat16_tiles.h).  All others are those of AVX512_BF16. */
#pragma GCC diagnostic ignored "-Wunused-function" /* the headers serve all tables */

#include "kernels.h"

#include "activations.h"
#include "bfloat16_sparse.h"

const cmlp_bf16_kernels CMLP_TABLE = BF16_KERNELS;

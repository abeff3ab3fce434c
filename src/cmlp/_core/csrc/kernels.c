/* Compiled once for each instruction set and real type; CMLP_TABLE names the
 * table that this build exports. */
#include "kernels.h"

#include "activations.h"
#include "gather.h"
#include "losses.h"
#include "optimizers.h"
#include "probe.h"
#include "products.h"
#include "sparse.h"

#define STRING(x) #x
#define NAME(isa) STRING(isa)

const cmlp_kernels CMLP_TABLE = {
    .isa = NAME(CMLP_ISA),
    .itemsize = CMLP_REAL_BYTES,
    .vector_bytes = VECTOR_BYTES,
    .activations = activation_names,
    .losses = loss_names,
    .optimizers = optimizer_names,
    .shared_pass_rows = SHARED_PASS_ROWS,
    .gather = gather,
    .gather_sparse = gather_sparse,
    .prefetch = prefetch,
    .count_nonzeros = count_nonzeros,
    .compress = compress,
    .first_not_finite = first_not_finite,
    .affine = affine,
    .affine_backward = affine_backward,
    .accumulate = accumulate,
    .accumulate_affine = accumulate_affine,
    .sparse_affine = sparse_affine,
    .sparse_accumulate = sparse_accumulate,
    .turned_accumulate = turned_accumulate,
    .accumulate_bias = accumulate_bias,
    .keeps_slope = keeps_slope,
    .activate = activate,
    .activate_backward = activate_backward,
    .head = head_rows,
    .begin_step = begin_step,
    .optimize = optimize,
    .multiply_adds = multiply_adds,
};

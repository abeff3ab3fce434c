/* The kernel table of one instruction set and real type; see kernels.h.  setup.py compiles this
 * file once for each of them and defines CMLP_TABLE, the name of the table, and
 * CMLP_REAL_BYTES. */
#include "kernels.h"

#include "activations.h"
#include "bfloat16_products.h"
#include "bfloat16_sparse.h"
#include "compress.h"
#include "dropout.h"
#include "encoders.h"
#include "gather.h"
#include "input_layers.h"
#include "losses.h"
#include "metrics.h"
#include "normalize.h"
#include "optimizers.h"
#include "parametric.h"
#include "probe.h"
#include "products.h"
#include "sparse.h"
#if CMLP_REAL_BYTES == 4
#include "distort.h"
#include "quantized.h"
#endif

#if CMLP_REAL_BYTES == 4
static const cmlp_bf16_kernels bf16_kernels = BF16_KERNELS;
#endif

const cmlp_kernels CMLP_TABLE = {
    .vector_bytes = VECTOR_BYTES,
    .activations = activation_infos,
    .losses = loss_infos,
    .optimizers = optimizer_infos,
    .input_layers = input_layer_infos,
    .shared_pass_rows = SHARED_PASS_ROWS,
    .gather = gather,
    .gather_sparse = gather_sparse,
    .prefetch = prefetch,
    .count_nonzeros = count_nonzeros,
    .compress = compress,
    .find_not_finite = find_not_finite,
    .affine = affine,
    .affine_backward = affine_backward,
    .accumulate = accumulate,
    .accumulate_affine = accumulate_affine,
    .sparse_affine = sparse_affine,
    .sparse_accumulate = sparse_accumulate,
    .marked_accumulate = marked_accumulate,
    .mark_batch = mark_batch,
    .accumulate_marked = accumulate_marked,
    .accumulate_bias = accumulate_bias,
#if CMLP_REAL_BYTES == 4
    .bf16 = &bf16_kernels,
#endif
    .add = add,
    .scale = scale_rows,
    .stores_slope = stores_slope,
    .is_fused = is_fused,
    .activate = activate,
    .activate_backward = activate_backward,
    .activate_parametric = activate_parametric,
    .multiply = multiply,
    .drop = drop,
    .encode = encode,
    .encode_backward = encode_backward,
    .encode_accumulate = encode_accumulate,
    .list_entries = list_entries,
    .backward_entries = backward_entries,
    .transform_input = transform_input,
    .transform_sparse_input = transform_sparse_input,
    .normalize_batch = normalize_batch,
    .normalize_batch_backward = normalize_batch_backward,
    .normalize_by_running = normalize_by_running,
    .normalize_layer = normalize_layer,
    .normalize_layer_backward = normalize_layer_backward,
    .accumulate_scale = accumulate_scale,
    .head = compute_head,
    .accumulate_metrics = accumulate_metrics,
    .begin_step = begin_step,
    .optimize = optimize,
    .sum_of_squares = sum_of_squares,
    .average = average,
    .limit_norms = limit_norms,
#if CMLP_REAL_BYTES == 4
    .distort = distort,
    .distortion_floats = distortion_floats,
    .quantized = &quantized_kernels,
#endif
    .multiply_adds = multiply_adds,
};

/* The kinds of input layer, which transform a batch before the first dense layer reads it.
 *
 * To add a kind: a header with its functions, its #include, and one line here.  A line is the
 * name, whose position in the list is the code, the function for dense rows and the one for
 * sparse rows.  The functions take the arguments of the table's entries transform_input and
 * transform_sparse_input in kernels.h, except for the first, which is the layer's parameter.
 */
#ifndef CMLP_INPUT_LAYERS_H
#define CMLP_INPUT_LAYERS_H

#include "input_dropout.h"
#include "input_noise.h"

/* For a kind that would destroy sparsity; Python refuses sparse rows for it. */
#define NO_SPARSE_FORM(...) ((void)0)

/* Name, whether it has a sparse form, and the two functions. */
#define INPUT_LAYERS(X)                          \
    X(input_noise, 0, add_noise, NO_SPARSE_FORM) \
    X(input_dropout, 1, drop_input, drop_sparse)

enum input_layer {
#define X(name, is_sparse, dense, sparse) INPUT_LAYER_##name,
    INPUT_LAYERS(X)
#undef X
};

static const cmlp_input_layer_info input_layer_infos[] = {
#define X(name, is_sparse, dense, sparse) {#name, is_sparse},
    INPUT_LAYERS(X)
#undef X
    {NULL, 0}
};

static void transform_input(const cmlp_input_layer *layer, const cmlp_rng_key *key, int64_t sample,
                            int64_t m, int64_t n, void *x, int64_t ldx)
{
    switch (layer->kind) {
#define X(name, is_sparse, dense, sparse)                   \
    case INPUT_LAYER_##name:                                \
        dense(layer->parameter, key, sample, m, n, x, ldx); \
        break;
        INPUT_LAYERS(X)
#undef X
    }
}

static void transform_sparse_input(const cmlp_input_layer *layer, const cmlp_rng_key *key,
                                   int64_t sample, int64_t first, int64_t m,
                                   const cmlp_entries *batch)
{
    switch (layer->kind) {
#define X(name, is_sparse, dense, sparse)                       \
    case INPUT_LAYER_##name:                                    \
        sparse(layer->parameter, key, sample, first, m, batch); \
        break;
        INPUT_LAYERS(X)
#undef X
    }
}

#endif

/* The interface of the kernels for 8-bit integers, which only predict.  The kernel tables in float32
 * contain it.  Conventions as in kernels.h.
 *
 * The scheme is that of Jacob et al., "Quantization and training of neural networks for efficient
 * integer-arithmetic-only inference", CVPR 2018, section 2.1.  An activation x is the integer
 *
 *     q = clip(round(x / scale), low, high) + zero_point
 *
 * from 0 to 255, rounded to the nearest, ties to even, with one scale and zero point per layer.  A
 * weight is an integer from -127 to 127 times the scale of its unit, a bias (section 2.4) an integer
 * of 32 bits times the product of both scales.  Pre-activations are then integers times that product,
 * and their sums are exact: every ISA computes the same integers.
 *
 * An operand is an activation's integer as the kernels read it: uint8 where the ISA has VNNI, int16
 * elsewhere.  Operands of a row are contiguous; a group is the number of them in 4 bytes.
 */
#ifndef CMLP_QUANTIZED_TABLE_H
#define CMLP_QUANTIZED_TABLE_H

#include <stdint.h>

/* Inputs of a layer up to which a sum of products, at most 255 * 127 each, and a bias of at most
 * CMLP_QUANTIZED_SUM_MAX - inputs * 255 * 127 fit into int32. */
#define CMLP_QUANTIZED_MAX_INPUTS 65536
#define CMLP_QUANTIZED_SUM_MAX INT32_MAX

/* How activations become integers. */
typedef struct {
    float inverse;      /* 1 / scale */
    float slope;        /* factor of negative pre-activations, for requantize */
    float low, high;    /* bounds of x / scale */
    int32_t zero_point; /* the integer that represents 0 */
    int32_t takes_bytes; /* 1: the integers of uint8 samples are the samples */
} cmlp_quantizer;

/* The weights of a layer. */
typedef struct {
    int64_t outputs, n;   /* number of units, without and with padding */
    int64_t groups;       /* groups of inputs */
    const void *panels;   /* packed weights; see pack */
    const int32_t *start; /* (n,): bias minus zero point times the sum of the weights */
    const float *factor;  /* (n,): scale of the sums; for requantize divided by its outputs' */
} cmlp_quantized_weights;

typedef struct {
    int32_t operand_bytes; /* size of an operand: 1 or 2 */
    int32_t group;         /* operands per group: 4 or 2 */

    /* Pack W (outputs, inputs), int8, for a layer of n padded units and `groups` groups of inputs.
     * `panels` has 4 * n * groups bytes. */
    void (*pack)(int64_t outputs, int64_t inputs, const int8_t *w, int64_t n, int64_t groups,
                 void *panels);

    /* Q (m, ldq) operands: rows first .. first + m of dense rows, of the kinds that `gather` reads.
     * Up to CMLP_PAD operands beyond the width become finite numbers. */
    void (*quantize_rows)(const cmlp_quantizer *quantizer, const cmlp_rows *rows, int64_t first,
                          int64_t m, void *q, int64_t ldq);
    /* The same for the first m rows of a sparse batch of `width` columns. */
    void (*quantize_entries)(const cmlp_quantizer *quantizer, const cmlp_entries *batch, int64_t m,
                             int64_t width, void *q, int64_t ldq);
    /* Q (m, ldq) operands: the activations A (m, n), float, leading dimension lda; padded. */
    void (*quantize)(const cmlp_quantizer *quantizer, int64_t m, int64_t n, const float *a,
                     int64_t lda, void *q, int64_t ldq);

    /* S (m, n) = start + Q W^T, int32: the pre-activations' integers.  Q (m, ldq) operands. */
    void (*sum)(const cmlp_quantized_weights *w, int64_t m, const void *q, int64_t ldq, int32_t *s,
                int64_t lds);
    /* Z (m, n) = factor * S, float. */
    void (*dequantize)(const cmlp_quantized_weights *w, int64_t m, const void *q, int64_t ldq,
                       float *z, int64_t ldz);
    /* R (m, n) operands: the activations of S, piecewise linear: with v = factor * S, multiplied by
     * `slope` where it is negative, the integers clip(round(v), low, high) + zero_point. */
    void (*requantize)(const cmlp_quantized_weights *w, const cmlp_quantizer *quantizer, int64_t m,
                       const void *q, int64_t ldq, void *r, int64_t ldr);
} cmlp_quantized_kernels;

#endif

/* Dense products of 8-bit integers for prediction; quantized_table.h states the scheme.
 *
 * Sums of integers are exact, so that neither tiles nor threads nor the ISA can change them.  The
 * steps between the sums and the next layer's integers are a conversion, one multiplication, two
 * comparisons and a rounding.  A compiler cannot contract them to a multiply-add: they have the
 * same bits on every ISA too.
 */
#ifndef CMLP_QUANTIZED_H
#define CMLP_QUANTIZED_H

#include "gather.h"
#include "kernels.h"
#include "simd.h"

/* An operand, and a weight as it is packed.  VNNI multiplies unsigned by signed bytes and sums four
 * products exactly.  Without it both are extended to 16 bits, whose products are summed in pairs:
 * vpmaddubsw, which multiplies bytes, saturates at 2^15, which 2 * 255 * 127 exceeds. */
#ifdef __AVX512VNNI__
typedef uint8_t operand;
typedef int8_t packed_weight;
#define OPERAND_GROUP 4
#else
typedef int16_t operand;
typedef int16_t packed_weight;
#define OPERAND_GROUP 2
#endif

typedef uint32_t VU __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef operand operand_vector __attribute__((vector_size(LANES * sizeof(operand)), may_alias));
typedef uint32_t group_word __attribute__((aligned(1), may_alias));

/* acc + the products of a group of operands, in every lane, and of the groups of weights.
 * Unsigned, because partial sums may wrap around; the sums themselves fit into int32. */
INLINE VU add_products(VU acc, VU x, VU w)
{
#if defined(__AVX512VNNI__)
    return (VU)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif VECTOR_BYTES == 64
    return acc + (VU)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif VECTOR_BYTES == 32
    return acc + (VU)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#elif defined(__SSE2__)
    return acc + (VU)_mm_madd_epi16((__m128i)x, (__m128i)w);
#else
    VI first_x = (VI)(x << 16) >> 16, first_w = (VI)(w << 16) >> 16;
    return acc + (VU)(first_x * first_w) + (VU)(((VI)x >> 16) * ((VI)w >> 16));
#endif
}

/* Bound v to [low, high]; NaN becomes low. */
INLINE V clip_numbers(V v, V low, V high)
{
#if VECTOR_BYTES == 64
    return (V)_mm512_min_ps(_mm512_max_ps((__m512)v, (__m512)low), (__m512)high);
#elif VECTOR_BYTES == 32
    return (V)_mm256_min_ps(_mm256_max_ps((__m256)v, (__m256)low), (__m256)high);
#else
    v = v_select(v > low, v, low);
    return v_select(v < high, v, high);
#endif
}

/* Return the operands of v = x / scale.  Adding 1.5 * 2^23 rounds v to an integer: the difference
 * of the bit patterns. */
INLINE operand_vector to_operands(V v, const cmlp_quantizer *quantizer)
{
    const V shift = splat(0x1.8p23f);
    VI whole = (VI)(clip_numbers(v, splat(quantizer->low), splat(quantizer->high)) + shift);
    return __builtin_convertvector(whole - (VI)shift + quantizer->zero_point, operand_vector);
}

INLINE void store_operands(operand *q, operand_vector v) { memcpy(q, &v, sizeof v); }

/* --- Reading activations ------------------------------------------------------------------ */

/* Quantize n numbers at any address; writes whole vectors. */
INLINE void quantize_numbers(const cmlp_quantizer *quantizer, int64_t n, const unaligned_float *x,
                             operand *q)
{
    const REAL inverse = quantizer->inverse;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES)
        store_operands(q + j, to_operands(*(const unaligned_vector *)(x + j) * inverse, quantizer));
    if (j < n) {
        V rest = splat(0);
        memcpy(&rest, x + j, (size_t)(n - j) * sizeof(REAL));
        store_operands(q + j, to_operands(rest * inverse, quantizer));
    }
}

/* Convert n elements to float, and quantize them. */
#define QUANTIZE_CONVERTED(type, convert)                           \
    for (int64_t j = 0; j < n; j += QUANTIZED_BLOCK) {              \
        REAL block[QUANTIZED_BLOCK];                                \
        const int64_t size = MIN(n - j, QUANTIZED_BLOCK);           \
        for (int64_t t = 0; t < size; t++)                          \
            block[t] = convert(((const type *)x)[j + t]);           \
        quantize_numbers(quantizer, size, block, q + j);            \
    }

static void quantize_row(const cmlp_quantizer *quantizer, int32_t kind, int64_t n, const void *x,
                         operand *q)
{
    if (kind == CMLP_F32) {
        quantize_numbers(quantizer, n, x, q);
    } else if (kind == CMLP_F64) {
        QUANTIZE_CONVERTED(unaligned_double, CONVERT_REAL)
    } else if (quantizer->takes_bytes) {
        for (int64_t j = 0; j < n; j++)
            q[j] = ((const uint8_t *)x)[j];
    } else {
        QUANTIZE_CONVERTED(uint8_t, CONVERT_BYTE)
    }
}

/* Quantize rows first .. first + m of dense rows to Q (m, ldq). */
static void quantize_rows(const cmlp_quantizer *quantizer, const cmlp_rows *rows, int64_t first,
                          int64_t m, void *q, int64_t ldq)
{
    for (int64_t i = 0; i < m; i++)
        quantize_row(quantizer, rows->kind, rows->width, dense_row(rows, first + i),
                     (operand *)q + i * ldq);
}

/* Quantize the first m rows of a sparse batch to Q (m, ldq), of `width` columns. */
static void quantize_entries(const cmlp_quantizer *quantizer, const cmlp_entries *batch, int64_t m,
                             int64_t width, void *q_, int64_t ldq)
{
    const REAL *values = batch->value;
    for (int64_t i = 0; i < m; i++) {
        operand *q = (operand *)q_ + i * ldq, block[QUANTIZED_BLOCK];
        const cmlp_span span = batch->spans[i];
        for (int64_t j = 0; j < width; j++)
            q[j] = (operand)quantizer->zero_point;
        for (int64_t e = span.begin; e < span.end; e += QUANTIZED_BLOCK) {
            const int64_t size = MIN(span.end - e, QUANTIZED_BLOCK);
            quantize_numbers(quantizer, size, values + e, block);
            for (int64_t t = 0; t < size; t++)
                q[batch->column[e + t]] = block[t];
        }
    }
}

/* Quantize the activations A (m, n), leading dimension lda, padded, to Q (m, ldq). */
static void quantize_activations(const cmlp_quantizer *quantizer, int64_t m, int64_t n,
                                 const float *a, int64_t lda, void *q, int64_t ldq)
{
    for (int64_t i = 0; i < m; i++)
        quantize_numbers(quantizer, n, a + i * lda, (operand *)q + i * ldq);
}

/* --- Products ----------------------------------------------------------------------------- */

/* A panel has the weights of up to QUANTIZED_PANEL_VECTORS vectors of units: for each group of
 * inputs, the group of each unit. */
#define QUANTIZED_COLUMNS (QUANTIZED_PANEL_VECTORS * LANES)

/* Pack W (outputs, inputs) into panels, padded with zeros. */
static void pack_weights(int64_t outputs, int64_t inputs, const int8_t *w, int64_t n,
                         int64_t groups, void *panels)
{
    packed_weight *to = panels;
    for (int64_t first = 0; first < n; first += QUANTIZED_COLUMNS)
        for (int64_t t = 0; t < groups * OPERAND_GROUP; t += OPERAND_GROUP)
            for (int64_t j = first; j < MIN(first + QUANTIZED_COLUMNS, n); j++)
                for (int64_t e = t; e < t + OPERAND_GROUP; e++)
                    *to++ = (packed_weight)(j < outputs && e < inputs ? w[j * inputs + e] : 0);
}

/* The sums of a tile: up to QUANTIZED_TILE_ROWS rows and a panel of units. */
typedef struct {
    int64_t groups;
    const operand *q;       /* row i is at q + i * ldq */
    int64_t ldq;
    const packed_weight *w; /* the panel */
    const int32_t *start;   /* (vecs * LANES,) */
    int32_t *sums;          /* (rows, QUANTIZED_COLUMNS) */
} sum_tile;

/* Compute rows x vecs vectors of sums.  Both sizes are constants after inlining, so that the sums
 * stay in registers. */
INLINE void compute_sums(const int rows, const int vecs, const sum_tile *tile)
{
    VU acc[QUANTIZED_TILE_ROWS][QUANTIZED_PANEL_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            acc[i][j] = *(const VU *)(tile->start + j * LANES);
    const operand *q = tile->q;
    const packed_weight *w = tile->w;
    const int64_t ldq = tile->ldq;
    for (int64_t t = tile->groups; t > 0; t--) {
        VU row[QUANTIZED_PANEL_VECTORS];
        UNROLL for (int j = 0; j < vecs; j++)
            row[j] = *(const VU *)(w + j * LANES * OPERAND_GROUP);
        UNROLL for (int i = 0; i < rows; i++) {
            VU x = (VU){0} + *(const group_word *)(q + i * ldq);
            UNROLL for (int j = 0; j < vecs; j++)
                acc[i][j] = add_products(acc[i][j], x, row[j]);
        }
        q += OPERAND_GROUP;
        w += vecs * LANES * OPERAND_GROUP;
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            *(VU *)(tile->sums + i * QUANTIZED_COLUMNS + j * LANES) = acc[i][j];
}

/* Call the compiled tile; MIN keeps tiles that this ISA does not use out of the code. */
#define SUM_CASE(rows)                                                                     \
    case rows:                                                                             \
        if (vecs == 1) compute_sums(MIN(rows, QUANTIZED_TILE_ROWS), 1, tile);              \
        else if (vecs == 2) compute_sums(MIN(rows, QUANTIZED_TILE_ROWS), 2, tile);         \
        else if (vecs == 3)                                                                \
            compute_sums(MIN(rows, QUANTIZED_TILE_ROWS), MIN(3, QUANTIZED_PANEL_VECTORS),  \
                         tile);                                                            \
        else                                                                               \
            compute_sums(MIN(rows, QUANTIZED_TILE_ROWS), QUANTIZED_PANEL_VECTORS, tile);   \
        break;

static void dispatch_sums(int64_t rows, int64_t vecs, const sum_tile *tile)
{
    switch (rows) {
        SUM_CASE(1)
        SUM_CASE(2)
        SUM_CASE(3)
        SUM_CASE(4)
        SUM_CASE(5)
        SUM_CASE(6)
    }
}

/* What becomes of the sums of a row of a tile. */
typedef enum { TO_SUMS, TO_NUMBERS, TO_OPERANDS } sum_target;

INLINE void store_sums(const sum_target target, const cmlp_quantized_weights *w,
                       const cmlp_quantizer *quantizer, const int32_t *sums, int64_t j,
                       int64_t size, void *row)
{
    if (target == TO_SUMS) {
        memcpy((int32_t *)row + j, sums, (size_t)size * sizeof *sums);
        return;
    }
    for (int64_t t = 0; t < size; t += LANES) {
        V v = __builtin_convertvector(*(const VI *)(sums + t), V) * load(w->factor + j + t);
        if (target == TO_NUMBERS) {
            store((float *)row + j + t, v);
        } else {
            v = v_select(v < 0, v * quantizer->slope, v);
            store_operands((operand *)row + j + t, to_operands(v, quantizer));
        }
    }
}

/* Compute the sums of m rows Q (m, ldq), and store them in OUT (m, ld), elements of `bytes` bytes.
 * The rows are distributed evenly among tiles, as in compute_tiles. */
INLINE void compute_rows(const sum_target target, const int64_t bytes,
                         const cmlp_quantized_weights *w, const cmlp_quantizer *quantizer,
                         int64_t m, const void *q, int64_t ldq, void *out, int64_t ld)
{
    int32_t sums[QUANTIZED_TILE_ROWS * QUANTIZED_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    const int64_t blocks = (m + QUANTIZED_TILE_ROWS - 1) / QUANTIZED_TILE_ROWS;
    for (int64_t j = 0; j < w->n; j += QUANTIZED_COLUMNS) {
        const int64_t size = MIN(w->n - j, QUANTIZED_COLUMNS);
        sum_tile tile = {
            .groups = w->groups, .ldq = ldq, .start = w->start + j, .sums = sums,
            .w = (const packed_weight *)w->panels + j * w->groups * OPERAND_GROUP,
        };
        for (int64_t block = 0, i = 0; block < blocks; block++) {
            const int64_t rows = (m - i) / (blocks - block);
            tile.q = (const operand *)q + i * ldq;
            dispatch_sums(rows, size / LANES, &tile);
            for (int64_t r = 0; r < rows; r++)
                store_sums(target, w, quantizer, sums + r * QUANTIZED_COLUMNS, j, size,
                           (char *)out + (i + r) * ld * bytes);
            i += rows;
        }
    }
}

static void sum_products(const cmlp_quantized_weights *w, int64_t m, const void *q, int64_t ldq,
                         int32_t *s, int64_t lds)
{
    compute_rows(TO_SUMS, sizeof *s, w, NULL, m, q, ldq, s, lds);
}

static void dequantize(const cmlp_quantized_weights *w, int64_t m, const void *q, int64_t ldq,
                       float *z, int64_t ldz)
{
    compute_rows(TO_NUMBERS, sizeof *z, w, NULL, m, q, ldq, z, ldz);
}

static void requantize(const cmlp_quantized_weights *w, const cmlp_quantizer *quantizer, int64_t m,
                       const void *q, int64_t ldq, void *r, int64_t ldr)
{
    compute_rows(TO_OPERANDS, sizeof(operand), w, quantizer, m, q, ldq, r, ldr);
}

static const cmlp_quantized_kernels quantized_kernels = {
    .operand_bytes = sizeof(operand),
    .group = OPERAND_GROUP,
    .pack = pack_weights,
    .quantize_rows = quantize_rows,
    .quantize_entries = quantize_entries,
    .quantize = quantize_activations,
    .sum = sum_products,
    .dequantize = dequantize,
    .requantize = requantize,
};

#endif

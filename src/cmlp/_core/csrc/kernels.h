/* The table of kernels: what the engine may call, and nothing of how it is done.
 *
 * kernels.c is compiled once for each instruction set and each real type, and
 * each build exports one table.  Matrices are row-major.  A leading dimension
 * (`ld`) counts reals; where a comment says "padded", the row length `n` is a
 * multiple of CMLP_PAD bytes and the rows start on that boundary.
 */
#ifndef CMLP_KERNELS_H
#define CMLP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Rows are padded to this many bytes: the widest vector of any ISA. */
#define CMLP_PAD 64

/* Samples that are marked together in a column of a sparse batch: the bits of a word. */
#define CMLP_MARKS 64

typedef enum { CMLP_U8, CMLP_F32, CMLP_F64 } cmlp_kind;

/* The caller's samples: `n` rows of `width` elements, `stride` bytes apart; or, when
 * `start` is given, compressed sparse rows: of row i the elements start[i] ..
 * start[i + 1] of `data`, in the columns that `column` names. */
typedef struct {
    const void *data;
    ptrdiff_t stride;
    int64_t n, width;
    int32_t kind;
    int32_t column_bytes; /* 2, 4 or 8 */
    const int64_t *start;
    const void *column;
} cmlp_rows;

/* A batch of sparse rows, converted: of row i the entries begin .. end, by column. */
typedef struct {
    int64_t begin, end;
} cmlp_span;
typedef struct {
    cmlp_span *spans;
    int32_t *column;
    void *value; /* reals of the table's type */
    uint64_t *marks; /* room for a word of each column; NULL where batches have few entries */
} cmlp_entries;

/* What the outputs are compared with: class labels, or rows of reals. */
typedef struct {
    const int32_t *labels; /* NULL when `values` is given */
    const void *values;    /* reals of the table's type */
    int64_t ld;
    const double *weights; /* of the samples; NULL: all 1 */
} cmlp_targets;

/* An activation by its code, and its slope or alpha where it has one. */
typedef struct {
    int32_t kind;
    double parameter;
} cmlp_activation;

/* The last layer's activation and the loss by its code. */
typedef struct {
    cmlp_activation activation;
    int32_t loss;
    int64_t outputs;  /* without the padding */
    double parameter; /* of the loss */
} cmlp_head;

/* An optimizer with state, by its code; see optimizers.h. */
typedef struct {
    int32_t kind;
    int64_t step; /* how many have begun */
    double rate, l1, l2, hyper[4];
    double clip_value;           /* what an element of the gradient may be; 0: anything */
    double scale;                /* what the gradient is multiplied by, its norm being too great */
    double constant[6], product; /* of the step that has begun */
} cmlp_optimizer;

/* The part of the random number generator's counter that a batch shares.  A random number is
 * a pure function of the seed, the epoch, the layer, the sample's offset in the epoch, the
 * column and the purpose. */
typedef struct {
    uint64_t seed;
    uint32_t epoch, layer;
} cmlp_rng_key;

/* Dropout: an element is dropped with probability dropped / 65536, and multiplied by `scale`
 * otherwise. */
typedef struct {
    uint32_t dropped;
    double scale;
} cmlp_dropout;

/* Round a dropout rate in [0, 1) to the nearest multiple of 1/65536 below 1, and choose the
 * scale that preserves the mean for the rounded rate. */
static inline cmlp_dropout cmlp_dropout_of(double rate)
{
    const double rounded = rate * 65536 + 0.5;
    const uint32_t dropped = (uint32_t)(rounded < 65535 ? rounded : 65535);
    return (cmlp_dropout){dropped, 65536.0 / (65536 - dropped)};
}

/* An input layer: its code, and its parameter (input_noise: standard deviation;
 * input_dropout: rate). */
typedef struct {
    int32_t kind;
    double parameter;
} cmlp_input_layer;

/* Information about the components, in the order of their codes; each array ends with an
 * entry whose name is NULL. */
typedef struct {
    const char *name;
    int32_t parameters;   /* number of parameters: 0 or 1 */
    int32_t stores_slope; /* 1: the derivative needs the input and is stored as a slope */
    double threshold;     /* a classifier with one output predicts class 1 from here on */
} cmlp_activation_info;
typedef struct {
    const char *name;
    int32_t parameters; /* number of parameters: 0 or 1 */
    int32_t log_link;   /* 1: an output is the logarithm of the prediction */
} cmlp_loss_info;
typedef struct {
    const char *name;
    int32_t states; /* number of state arrays per parameter tensor: 1 to 3 */
} cmlp_optimizer_info;

/* The sums that metrics are made of: for classes (classes,) each, or for real targets
 * (outputs,) each. */
typedef struct {
    double samples;
    double *hits, *predicted, *actual; /* classes: right answers, answers, truths */
    double *ranks; /* how often so many outputs were greater than the true class's */
    /* reals: the first y, and the sums of y and y^2 counted from it, of |y-a|, of (y-a)^2 */
    double *first, *target, *target_square, *error, *error_square;
} cmlp_metric_sums;

typedef struct {
    int32_t vector_bytes;
    const cmlp_activation_info *activations;
    const cmlp_loss_info *losses;
    const cmlp_optimizer_info *optimizers;
    const char *const *input_layers; /* names in the order of their codes; ends with NULL */
    /* The most samples that accumulate_affine takes. */
    int64_t shared_pass_rows;

    /* out[i, :] = rows[index ? index[i] : i, :], bytes scaled by 1/255. */
    void (*gather)(const cmlp_rows *rows, const uint32_t *index, int64_t m,
                   void *out, int64_t ld);
    /* Rows first .. first + m of a batch of sparse rows; `index` is that of row 0. */
    void (*gather_sparse)(const cmlp_rows *rows, const uint32_t *index, int64_t first, int64_t m,
                          const cmlp_entries *batch);
    /* Asks for the rows that a gather will read. */
    void (*prefetch)(const cmlp_rows *rows, const uint32_t *index, int64_t m);
    /* Of the dense rows first .. first + m the number of elements that are not zero,
     * and those elements into the arrays of `out`, whose starts are set. */
    void (*count_nonzeros)(const cmlp_rows *rows, int64_t first, int64_t m, int64_t *counts);
    void (*compress)(const cmlp_rows *rows, int64_t first, int64_t m, const cmlp_rows *out);
    /* The first row that holds NaN or infinity, or -1. */
    int64_t (*first_not_finite)(const cmlp_rows *rows);
    /* C (m, n) = A (m, k) W (k, n) + bias; W, bias and C padded. */
    void (*affine)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                   const void *w, int64_t ldw, const void *bias, void *c, int64_t ldc);
    /* C (m, k) = D (m, n) W (k, n)^T; the rows of D and W are padded, n need not be. */
    void (*affine_backward)(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                            const void *w, int64_t ldw, void *c, int64_t ldc);
    /* W (k, n) += A (m, k)^T D (m, n); W and D padded. */
    void (*accumulate)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                       const void *d, int64_t ldd, void *w, int64_t ldw);
    /* W += A^T D, then C (m, n) = N (m, k) W + bias, in one pass over W. */
    void (*accumulate_affine)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                              const void *d, int64_t ldd, void *w, int64_t ldw, const void *next,
                              int64_t ldnext, const void *bias, void *c, int64_t ldc);
    /* affine and accumulate for sparse A: rows first .. first + m of the batch, and
     * its first m rows. */
    void (*sparse_affine)(int64_t first, int64_t m, int64_t n, int64_t k,
                          const cmlp_entries *batch, const void *w, int64_t ldw,
                          const void *bias, void *c, int64_t ldc);
    void (*sparse_accumulate)(int64_t m, int64_t n, const cmlp_entries *batch, const void *d,
                              int64_t ldd, void *w, int64_t ldw);
    /* The same for rows first .. first + k of W, each read and written once for many
     * samples: for batches with many entries a column. */
    void (*marked_accumulate)(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d, int64_t ldd, void *w,
                              int64_t ldw);
    /* bias (n) += sum over the rows of D (m, n); padded. */
    void (*accumulate_bias)(int64_t m, int64_t n, const void *d, int64_t ldd, void *bias);
    /* Whether the derivative takes the input and is kept as the slope. */
    int32_t (*stores_slope)(int32_t activation);
    /* A (m, n) = f(A) in place, and, where slopes are kept and wanted, those; padded. */
    void (*activate)(const cmlp_activation *f, int64_t m, int64_t n, int64_t outputs,
                     void *a, int64_t lda, void *slopes);
    /* D (m, n) *= f'(A) by the outputs A of f; padded. */
    void (*activate_backward)(const cmlp_activation *f, int64_t m, int64_t n, const void *a,
                              int64_t lda, void *d, int64_t ldd);
    /* D (m, n) *= S, the slopes; padded. */
    void (*multiply)(int64_t m, int64_t n, const void *s, int64_t lds, void *d, int64_t ldd);
    /* Apply dropout to the outputs A (m, n) of f, padded: columns column .. column + n of the
     * samples at offsets sample .. sample + m of the epoch.  The slopes become the derivative
     * of dropout(f), for any f. */
    void (*drop)(const cmlp_activation *f, const cmlp_dropout *dropout, const cmlp_rng_key *key,
                 int64_t sample, int64_t column, int64_t m, int64_t n, void *a, int64_t lda,
                 void *slopes);
    /* Apply an input layer in place to X (m, n), padded, or to rows first .. first + m of a
     * sparse batch: the samples at offsets sample .. sample + m of the epoch. */
    void (*transform_input)(const cmlp_input_layer *layer, const cmlp_rng_key *key,
                            int64_t sample, int64_t m, int64_t n, void *x, int64_t ldx);
    void (*transform_sparse_input)(const cmlp_input_layer *layer, const cmlp_rng_key *key,
                                   int64_t sample, int64_t first, int64_t m,
                                   const cmlp_entries *batch);
    /* Normalisations: Z (m, n) becomes H = (Z - mean) * inverse, which is kept, and then
     * scale * H + shift; all padded.  The backward ones turn the gradient with respect to
     * that, in D, which is kept in S, into the gradient with respect to Z.
     * Over the batch: mean and variance are a column's, inverse is (n,); the running ones
     * go a part `momentum` of the way. */
    void (*normalize_batch)(int64_t m, int64_t n, double epsilon, double momentum,
                            const void *scale, const void *shift, void *running_mean,
                            void *running_variance, void *z, int64_t ld, void *h, void *inverse);
    void (*normalize_batch_backward)(int64_t m, int64_t n, const void *scale, const void *h,
                                     const void *inverse, void *d, int64_t ld, void *s);
    /* By the running mean and variance. */
    void (*normalize_by_running)(int64_t m, int64_t n, double epsilon, const void *scale,
                                 const void *shift, const void *running_mean,
                                 const void *running_variance, void *z, int64_t ld);
    /* Over the layer: mean and variance are a row's, inverse is (m,). */
    void (*normalize_layer)(int64_t m, int64_t n, int64_t outputs, double epsilon,
                            const void *scale, const void *shift, void *z, int64_t ld, void *h,
                            void *inverse);
    void (*normalize_layer_backward)(int64_t m, int64_t n, int64_t outputs, const void *scale,
                                     const void *h, const void *inverse, void *d, int64_t ld,
                                     void *s);
    /* scale (n) += sum over the rows of S * H; padded. */
    void (*accumulate_scale)(int64_t m, int64_t n, const void *s, const void *h, int64_t ld,
                             void *scale);
    /* The end of the network, row by row: Z (m, ld) becomes its activation,
     * D (m, ld) `scale` times the gradient of the loss with respect to Z,
     * losses (m) the loss.  `index` as in gather. */
    void (*head)(const cmlp_head *head, const cmlp_targets *targets,
                 const uint32_t *index, int64_t m, double scale, void *z, void *slopes,
                 void *d, int64_t ld, double *losses);
    /* Add the outputs A (m, outputs) of m samples to the sums of metrics. */
    void (*accumulate_metrics)(const cmlp_head *head, const cmlp_targets *targets,
                               const uint32_t *index, int64_t m, const void *a, int64_t ld,
                               cmlp_metric_sums *sums);
    /* What the parameters of an optimizer's next step have in common. */
    void (*begin_step)(cmlp_optimizer *optimizer);
    /* That step over (rows, n) parameters of leading dimension ld; the states and the
     * gradient, which is zeroed, lie as they do. */
    void (*optimize)(const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld,
                     void *w, void *gradient, void *const *state);
    /* The sum of the squares of (rows, n) elements; padded. */
    double (*sum_of_squares)(int64_t rows, int64_t n, int64_t ld, const void *gradient);
    /* A running mean of (rows, n) parameters goes a part of the way to them; padded. */
    void (*average)(int64_t rows, int64_t n, int64_t ld, double part, const void *w, void *mean);
    /* Scales those columns of W (k, n) down whose norm exceeds the limit; padded. */
    void (*limit_norms)(int64_t k, int64_t n, double limit, void *w, int64_t ldw);
    /* Multiply-adds at the peak of the core; returns how many. */
    int64_t (*multiply_adds)(int64_t rounds);
} cmlp_kernels;

#endif

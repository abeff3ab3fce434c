/* The kernel table: every function that the engine may call, and the structures that they share.
 *
 * kernels.c is compiled once for each instruction set and each real type (REAL: float or double),
 * and each build exports one table.
 *
 * Matrices are row-major.  "X (m, n)" is a matrix of m rows and n columns.  A leading dimension
 * (ld) is the distance between two rows, in elements.  "Padded" means that each row is a multiple
 * of CMLP_PAD bytes long (n includes the padding), starts at such a multiple, and contains zeros or
 * other finite numbers in the padding.  `void *` points to REAL unless stated otherwise.  The
 * functions neither allocate nor own memory.
 */
#ifndef CMLP_KERNELS_H
#define CMLP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Row alignment and padding in bytes: the widest vector of any ISA, and a cache line. */
#define CMLP_PAD 64

/* Samples per word of marks: the bits of a word. */
#define CMLP_MARKS 64

/* Element types of the caller's samples. */
typedef enum { CMLP_U8, CMLP_F32, CMLP_F64 } cmlp_kind;

/* The caller's samples: n rows of `width` elements.
 * Dense (start == NULL): row i is contiguous, at data + i * stride bytes.
 * Sparse (CSR): row i has the entries start[i] .. start[i + 1] of data and column. */
typedef struct {
    const void *data;     /* elements of type `kind`, at any address */
    ptrdiff_t stride;     /* bytes */
    int64_t n, width;
    int32_t kind;         /* a cmlp_kind */
    int32_t column_bytes; /* size of a column index: 2, 4 or 8 */
    const int64_t *start; /* (n + 1,) or NULL */
    const void *column;   /* column indices, increasing within a row */
} cmlp_rows;

/* The entries begin .. end of a sparse sample. */
typedef struct {
    int64_t begin, end;
} cmlp_span;

/* A batch of sparse samples, converted to REAL. */
typedef struct {
    cmlp_span *spans; /* one per sample of the batch */
    int32_t *column;  /* column index per entry, increasing within a sample */
    void *value;      /* REAL per entry */
    uint64_t *marks;  /* workspace: one word per column; NULL if batches have few entries */
} cmlp_entries;

/* The targets of all samples: class labels or values. */
typedef struct {
    const int32_t *labels; /* (n,), or NULL if values are given */
    const void *values;    /* REAL (n, targets), leading dimension ld */
    int64_t ld;
    const double *weights; /* sample weights (n,); NULL: all 1 */
} cmlp_targets;

/* How an activation uses a learned factor per unit; see parametric.h. */
typedef enum { CMLP_NOT_PARAMETRIC, CMLP_BLEND, CMLP_INVERSE_BLEND } cmlp_parametric;

/* An activation function. */
typedef struct {
    int32_t kind;       /* its code */
    int32_t parametric; /* a cmlp_parametric */
    double parameter;   /* slope or alpha; unused by functions without a parameter */
} cmlp_activation;

/* The last layer's activation, and the loss.  The outputs of a sample are one block of `targets`
 * outputs or, if they describe a distribution, several. */
typedef struct {
    cmlp_activation activation;
    int32_t loss;         /* its code; -1: a loss in Python */
    int32_t non_crossing; /* pinball: the outputs of block i > 0 are increments of the quantile */
    int64_t outputs;      /* without padding; a multiple of targets */
    int64_t targets;      /* number of values that a sample's outputs predict */
    int64_t point;        /* index of the block that metrics compare with the targets */
    double parameter;     /* of the loss */
    const void *levels;   /* pinball with several quantiles: REAL (outputs,), padded, at any
                           * address: the quantile of each output; else NULL */
} cmlp_head;

/* An optimizer with state, its hyperparameters and its position; see optimizers.h. */
typedef struct {
    int32_t kind;                /* its code */
    int64_t step;                /* number of steps begun */
    double rate, l1, l2, hyper[4];
    double decay, decay_rate;    /* decoupled decay: its coefficient and learning rate */
    double clip_value;           /* bound of the gradient's elements; 0: none */
    double scale;                /* factor of the gradient, from clipping by norm */
    double constant[6], product; /* of the current step */
} cmlp_optimizer;

/* Arguments of the random number generator that are common to a batch.  A random number is a pure
 * function of the seed, the epoch, the layer, the sample's offset in the epoch, the column and the
 * purpose.  The input has layer 0, the outputs of hidden layer l (from 0) have layer l + 1. */
typedef struct {
    uint64_t seed;
    uint32_t epoch, layer;
} cmlp_rng_key;

/* The random quantities of a distorted image, each uniform between its limit and minus its limit:
 * rotation and horizontal shear, radians; the scales of the axes minus 1; the shifts of both axes,
 * pixels; the factor of the displacement field, which is not random.  CMLP_FLIP is the probability
 * that left and right are exchanged. */
enum {
    CMLP_ROTATION, CMLP_SHEAR, CMLP_SCALING, CMLP_SHIFT, CMLP_FLIP, CMLP_ELASTIC,
    CMLP_DISTORTIONS
};

/* Random distortions of images (height, width, channels); distort.h describes them. */
typedef struct {
    int64_t height, width, channels;
    const double *limits[CMLP_DISTORTIONS]; /* sample i has limits[q][i * steps[q]] */
    int64_t steps[CMLP_DISTORTIONS];        /* 1, or 0 if all samples have the same limit */
    double fill;                            /* the value outside of an image */
    const float *smooth_rows, *smooth_columns; /* Gaussian filters (height, height), (width, width),
                                                * padded; NULL without elastic factors */
} cmlp_distortion;

/* Elements of a row of n floats with padding. */
static inline int64_t cmlp_pad_floats(int64_t n)
{
    const int64_t unit = CMLP_PAD / (int64_t)sizeof(float);
    return (n + unit - 1) / unit * unit;
}

/* Dropout: an element is dropped with probability dropped / 65536, and otherwise multiplied by
 * `scale`. */
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

/* Kinds of encoders; encoders.h has their formulas. */
typedef enum { CMLP_SCALE, CMLP_ONE_HOT, CMLP_EMBEDDING, CMLP_PERIODIC } cmlp_encoder_kind;

/* Largest numbers of encoders of a network, and of frequencies of a periodic encoder. */
#define CMLP_MAX_ENCODERS 16
#define CMLP_PERIODIC_FREQUENCIES 256

/* An input layer with parameters, or with other numbers of outputs than inputs. */
typedef struct {
    int32_t kind;              /* a cmlp_encoder_kind */
    int64_t inputs;            /* columns that it reads, without padding */
    int64_t selected, kept;    /* columns that it replaces, and that it copies; scale: 0 */
    const int32_t *column, *target;           /* (selected,): input, first output of each */
    const int32_t *kept_column, *kept_target; /* (kept,) */
    const int32_t *categories; /* (selected,): one_hot, embedding: number of codes above 0 */
    const int64_t *first_row;  /* (selected,): embedding: row of the column's first category */
    int64_t outputs_per_column; /* periodic: of the linear map; embedding */
    int64_t frequencies, features; /* periodic: of one column */
    int32_t has_phases, rectifies, keeps_value; /* periodic */
} cmlp_encoder;

/* The columns that the encoders compute, in order: runs of columns, and columns of categories, of
 * which only the code's is not 0. */
typedef struct {
    int64_t count;
    const int32_t *size;        /* (count,): number of columns */
    const int32_t *code_column; /* (count,): column of X with the code; -1: a run */
    int64_t entries;            /* columns that are not 0, at most */
} cmlp_segments;

/* Information about the components, in the order of their codes; each array ends with an
 * entry whose name is NULL. */
typedef struct {
    const char *name;
    int32_t parameters;   /* number of parameters: 0 or 1 */
    int32_t stores_slope; /* 1: the derivative needs the input and is stored as a slope */
    double threshold;     /* class 1 is predicted if a single output is at least this */
} cmlp_activation_info;
typedef struct {
    const char *name;
    int32_t parameters; /* number of parameters: 0 or 1 */
    int32_t log_link;   /* 1: an output is the logarithm of the prediction */
    int32_t blocks;     /* number of outputs for each value of a target (pinball: and quantile) */
} cmlp_loss_info;
typedef struct {
    const char *name;
    int32_t states; /* number of state arrays per parameter tensor: 0 to 3 */
} cmlp_optimizer_info;
typedef struct {
    const char *name;
    int32_t has_sparse_form; /* whether it can transform sparse rows */
} cmlp_input_layer_info;

/* The sums from which metrics are computed.  Classes: arrays (classes,).  Labels, each output one
 * of its own: arrays (outputs,), or (1,) for the sums over samples.  Regression: arrays (targets,),
 * with target y and prediction a; y is shifted by the first target, which avoids cancellation in
 * its variance.  The arrays of the other tasks are NULL. */
typedef struct {
    double samples;        /* number of samples */
    double *hits;          /* samples per class or label that are predicted correctly as it */
    double *predicted;     /* predictions per class or label */
    double *actual;        /* samples per class or label */
    double *ranks;         /* classes: ranks[r]: samples with r other outputs >= the true
                            * class's, and none of NaN */
    double *exact;         /* labels: samples with all labels predicted correctly */
    double *sample_precision; /* labels: sum over samples of hits / predicted labels, 0 / 0 = 0 */
    double *sample_recall;    /* labels: sum over samples of hits / actual labels */
    double *sample_f1;     /* labels: sum over samples of 2 hits / (predicted + actual labels) */
    double *first;         /* y of the first sample */
    double *target;        /* sum of y - first */
    double *target_square; /* sum of (y - first)^2 */
    double *error;         /* sum of |y - a| */
    double *error_square;  /* sum of (y - a)^2 */
} cmlp_metric_sums;

#include "quantized_table.h"

/* Products of operands that are rounded to bfloat16.
 *
 * A row of units (bfloat16.h) holds the elements of a row of reals, two of them, a pair, in
 * units_per_pair units of 32 bits.  Its leading dimension counts units.  Rows are padded to
 * 2 * CMLP_PAD / 4 elements. */
typedef struct {
    int32_t units_per_pair; /* 1 or 2 */
    /* OUT: the units of the columns 0 .. n of A (m, lda).  If n is odd, the last pair has the odd
     * element 0.  No other units are written, so that the padding stays zero. */
    void (*round_rows)(int64_t m, int64_t n, const void *a, int64_t lda, void *out, int64_t ldout);
    /* affine; A in units; n is padded. */
    void (*affine)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                   int64_t ldw, const void *bias, const cmlp_activation *f, void *c, int64_t ldc);
    /* affine_backward; D in units. */
    void (*affine_backward)(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                            const void *w, int64_t ldw, const cmlp_activation *f,
                            const void *outputs, void *c, int64_t ldc);
    /* W (k, n) += factor * (A (m, k)^T D (m, n)); A and D in units; W padded.  The sum of the
     * products is complete before it is multiplied, but for batches larger than BF16_SAMPLES. */
    void (*accumulate)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *d,
                       int64_t ldd, double factor, void *w, int64_t ldw);
    /* Replace the entries of rows first .. first + m of a sparse batch by units, for the two functions
     * that follow. */
    void (*round_entries)(int64_t first, int64_t m, const cmlp_entries *batch);
    /* sparse_affine. */
    void (*sparse_affine)(int64_t first, int64_t m, int64_t n, int64_t k,
                          const cmlp_entries *batch, const void *w, int64_t ldw, const void *bias,
                          void *c, int64_t ldc);
    /* accumulate for the first m rows of a sparse batch, and rows first .. first + k of W; `first`
     * is even; w points to row `first`. */
    void (*sparse_accumulate)(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d, int64_t ldd, double factor,
                              void *w, int64_t ldw);
} cmlp_bf16_kernels;

typedef struct {
    int32_t vector_bytes; /* width of the ISA's vectors */
    const cmlp_activation_info *activations;
    const cmlp_loss_info *losses;
    const cmlp_optimizer_info *optimizers;
    const cmlp_input_layer_info *input_layers;
    int64_t shared_pass_rows;        /* maximum batch size of accumulate_affine */

    /* --- Reading rows --- */

    /* OUT (m, width), leading dimension ld: dense rows index[0 .. m] or, if index is NULL, 0 .. m,
     * converted to REAL; bytes are multiplied by 1/255. */
    void (*gather)(const cmlp_rows *rows, const uint32_t *index, int64_t m,
                   void *out, int64_t ld);
    /* Write rows first .. first + m of a batch of sparse rows, with the same conversion, to
     * `batch`; index[0] is row 0 of the batch.  A row whose column indices are not strictly
     * increasing and less than the width becomes empty; return whether there is none. */
    int (*gather_sparse)(const cmlp_rows *rows, const uint32_t *index, int64_t first, int64_t m,
                         const cmlp_entries *batch);
    /* Prefetch rows index[0 .. m]. */
    void (*prefetch)(const cmlp_rows *rows, const uint32_t *index, int64_t m);
    /* Write the number of non-zeros of the dense rows first .. first + m to counts (n,). */
    void (*count_nonzeros)(const cmlp_rows *rows, int64_t first, int64_t m, int64_t *counts);
    /* Copy the non-zeros of the dense rows first .. first + m to the sparse rows `out`, whose
     * `start` is set and whose arrays are writable, also for `spare` elements beyond the last row;
     * return 0 if their number differs from `start`. */
    int (*compress)(const cmlp_rows *rows, int64_t first, int64_t m, const cmlp_rows *out,
                    int64_t spare);
    /* Return the index of the first row that contains NaN, infinity or a number that becomes
     * infinite as REAL, or -1. */
    int64_t (*find_not_finite)(const cmlp_rows *rows);

    /* --- Products --- */

    /* Return whether the following functions accept the activation as f. */
    int32_t (*is_fused)(int32_t activation);
    /* C (m, n) = f(A (m, k) W (k, n) + bias (n,)); f may be NULL, the identity; the rows of W, bias
     * and C are padded, n need not be. */
    void (*affine)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                   const void *w, int64_t ldw, const void *bias, const cmlp_activation *f,
                   void *c, int64_t ldc);
    /* C (m, k) = (D (m, n) W (k, n)^T) * f'(O), given the outputs O of f, laid out like C, or
     * without the factor if f is NULL; the rows of D and W are padded, n need not be. */
    void (*affine_backward)(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                            const void *w, int64_t ldw, const cmlp_activation *f,
                            const void *outputs, void *c, int64_t ldc);
    /* W (k, n) += A (m, k)^T D (m, n); the rows of W and D are padded, n need not be. */
    void (*accumulate)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                       const void *d, int64_t ldd, void *w, int64_t ldw);
    /* W (k, n) += A (m, k)^T D (m, n), then C (m, n) = N (m, k) W + bias (n,), in one pass over
     * W; m is at most shared_pass_rows; N is `next`; W, D, bias and C padded. */
    void (*accumulate_affine)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                              const void *d, int64_t ldd, void *w, int64_t ldw, const void *next,
                              int64_t ldnext, const void *bias, void *c, int64_t ldc);
    /* affine for rows first .. first + m of a sparse batch; c points to row 0 of C. */
    void (*sparse_affine)(int64_t first, int64_t m, int64_t n, int64_t k,
                          const cmlp_entries *batch, const void *w, int64_t ldw,
                          const void *bias, void *c, int64_t ldc);
    /* accumulate for the first m rows of a sparse batch. */
    void (*sparse_accumulate)(int64_t m, int64_t n, const cmlp_entries *batch, const void *d,
                              int64_t ldd, void *w, int64_t ldw);
    /* The same for rows first .. first + k of W; w points to row `first`.  Each row is read and
     * written once per CMLP_MARKS samples.  For batches with many entries per column. */
    void (*marked_accumulate)(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d, int64_t ldd, void *w,
                              int64_t ldw);
    /* The two steps of marked_accumulate for all k rows of W and at most CMLP_MARKS samples: mark
     * columns first .. first + k of the batch; update after all columns have been marked. */
    void (*mark_batch)(int64_t m, int64_t first, int64_t k, const cmlp_entries *batch);
    void (*accumulate_marked)(int64_t m, int64_t n, int64_t k, const cmlp_entries *batch,
                              const void *d, int64_t ldd, void *w, int64_t ldw);
    /* bias (n,) += sum over the rows of D (m, n); padded. */
    void (*accumulate_bias)(int64_t m, int64_t n, const void *d, int64_t ldd, void *bias);

    /* A (m, n) += B (m, n); padded. */
    void (*add)(int64_t m, int64_t n, const void *b, int64_t ldb, void *a, int64_t lda);
    /* D (m, n) *= factor; padded. */
    void (*scale)(int64_t m, int64_t n, double factor, void *d, int64_t ldd);

    /* Products of operands that are rounded to bfloat16; NULL in tables of double. */
    const cmlp_bf16_kernels *bf16;

    /* --- Activations and dropout --- */

    /* Return whether the derivative needs the input, so that `activate` stores the slope. */
    int32_t (*stores_slope)(int32_t activation);
    /* A (m, n) = f(A) in place and, if f stores slopes and `slopes` is not NULL, slopes = f'(A),
     * laid out like A; padded.  `outputs` is the number of columns without padding. */
    void (*activate)(const cmlp_activation *f, int64_t m, int64_t n, int64_t outputs,
                     void *a, int64_t lda, void *slopes);
    /* D (m, n) *= f'(A), given the outputs A (m, n) of an f that stores no slopes; padded. */
    void (*activate_backward)(const cmlp_activation *f, int64_t m, int64_t n, const void *a,
                              int64_t lda, void *d, int64_t ldd);
    /* A (m, n) = g(A) in place for a parametric activation g with factors alpha (n,); slopes = dg/dA
     * and factors = dg/dalpha, laid out like A, or both NULL; padded. */
    void (*activate_parametric)(const cmlp_activation *f, int64_t m, int64_t n,
                                const void *alpha, void *a, int64_t lda, void *slopes,
                                void *factors);
    /* D (m, n) *= S (m, n), the slopes; padded. */
    void (*multiply)(int64_t m, int64_t n, const void *s, int64_t lds, void *d, int64_t ldd);
    /* Apply dropout to the outputs A (m, n) of f, padded: columns column .. column + n of the
     * samples at offsets sample .. sample + m of the epoch.  The slopes become the derivative
     * of dropout(f), for any f, and so do the factors of a parametric f, NULL for others. */
    void (*drop)(const cmlp_activation *f, const cmlp_dropout *dropout, const cmlp_rng_key *key,
                 int64_t sample, int64_t column, int64_t m, int64_t n, void *a, int64_t lda,
                 void *slopes, void *factors);
    /* Apply an input layer in place to X (m, n), padded, or to rows first .. first + m of a
     * sparse batch: the samples at offsets sample .. sample + m of the epoch. */
    void (*transform_input)(const cmlp_input_layer *layer, const cmlp_rng_key *key,
                            int64_t sample, int64_t m, int64_t n, void *x, int64_t ldx);
    void (*transform_sparse_input)(const cmlp_input_layer *layer, const cmlp_rng_key *key,
                                   int64_t sample, int64_t first, int64_t m,
                                   const cmlp_entries *batch);

    /* --- Encoders, which compute OUT (m, outputs) from X (m, inputs); `values`: their tensors --- */

    void (*encode)(const cmlp_encoder *encoder, void *const *values, int64_t m, const void *x,
                   int64_t ldx, void *out, int64_t ldout);
    /* DX: the gradient with respect to X, given that with respect to OUT, D; laid out like OUT. */
    void (*encode_backward)(const cmlp_encoder *encoder, void *const *values, int64_t m,
                            const void *x, int64_t ldx, const void *out, const void *d, int64_t ld,
                            void *dx, int64_t lddx);
    /* Add the gradient with respect to the parameters of the selected columns first .. first + count
     * to `into`; scale: of the columns themselves.  A NULL in `into` leaves a tensor out. */
    void (*encode_accumulate)(const cmlp_encoder *encoder, void *const *values, int64_t first,
                              int64_t count, int64_t m, const void *x, int64_t ldx,
                              const void *out, const void *d, int64_t ld, void *const *into);
    /* The entries of rows first .. first + m of a batch, from X and the outputs OUT of the last
     * encoder; x and out point to row 0. */
    void (*list_entries)(const cmlp_segments *segments, int64_t first, int64_t m, const void *x,
                         int64_t ldx, const void *out, int64_t ldout, const cmlp_entries *batch);
    /* For rows first .. first + m: C = D W^T where the batch has entries; other elements of C stay as
     * they are.  D (rows, n) and W (k, n) padded; d and c point to row 0. */
    void (*backward_entries)(int64_t first, int64_t m, int64_t n, const cmlp_entries *batch,
                             const void *d, int64_t ldd, const void *w, int64_t ldw, void *c,
                             int64_t ldc);

    /* --- Normalization: Z, H, D, S (m, n) share the leading dimension ld; padded --- */

    /* Z becomes scale * H + shift with H = (Z - mean) * inverse; H and inverse are stored.  Over
     * the batch: mean and variance per column, inverse (n,).  The running statistics (n,) move by
     * the fraction `momentum` towards the batch's. */
    void (*normalize_batch)(int64_t m, int64_t n, double epsilon, double momentum,
                            const void *scale, const void *shift, void *running_mean,
                            void *running_variance, void *z, int64_t ld, void *h, void *inverse);
    /* D: gradient with respect to scale * H + shift in, with respect to Z out; S: a copy of the
     * former. */
    void (*normalize_batch_backward)(int64_t m, int64_t n, const void *scale, const void *h,
                                     const void *inverse, void *d, int64_t ld, void *s);
    /* Inference: by the running mean and variance; h may be NULL. */
    void (*normalize_by_running)(int64_t m, int64_t n, double epsilon, const void *scale,
                                 const void *shift, const void *running_mean,
                                 const void *running_variance, void *z, int64_t ld, void *h);
    /* Over the layer: mean and variance per row, of its `outputs` columns, inverse (m,); h and
     * inverse may be NULL. */
    void (*normalize_layer)(int64_t m, int64_t n, int64_t outputs, double epsilon,
                            const void *scale, const void *shift, void *z, int64_t ld, void *h,
                            void *inverse);
    void (*normalize_layer_backward)(int64_t m, int64_t n, int64_t outputs, const void *scale,
                                     const void *h, const void *inverse, void *d, int64_t ld,
                                     void *s);
    /* scale (n,) += sum over the rows of S * H. */
    void (*accumulate_scale)(int64_t m, int64_t n, const void *s, const void *h, int64_t ld,
                             void *scale);

    /* --- Loss and metrics --- */

    /* The end of the network, row by row.  Z (m, ld): pre-activations in, outputs out; slopes: scratch
     * laid out like Z, if the activation stores slopes; D (m, ld): `scale` times the gradient of the
     * weighted loss with respect to the pre-activations out; losses (m,): weighted losses out.  The
     * targets are rows index[0 .. m], or 0 .. m if index is NULL. */
    void (*head)(const cmlp_head *head, const cmlp_targets *targets,
                 const uint32_t *index, int64_t m, double scale, void *z, void *slopes,
                 void *d, int64_t ld, double *losses);
    /* Add the outputs A (m, outputs) of m samples to the sums of metrics. */
    void (*accumulate_metrics)(const cmlp_head *head, const cmlp_targets *targets,
                               const uint32_t *index, int64_t m, const void *a, int64_t ld,
                               cmlp_metric_sums *sums);

    /* --- Optimizers: parameters W (rows, n), leading dimension ld, padded --- */

    /* Begin the optimizer's next step: compute its constants, which all parameters share. */
    void (*begin_step)(cmlp_optimizer *optimizer);
    /* Take that step; the gradient, which becomes 0 if there are states, and the states are laid
     * out like W. */
    void (*optimize)(const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld,
                     void *w, void *gradient, void *const *state);
    /* Return the sum of squares of a matrix laid out like W. */
    double (*sum_of_squares)(int64_t rows, int64_t n, int64_t ld, const void *gradient);
    /* mean += fraction * (W - mean), with the mean laid out like W. */
    void (*average)(int64_t rows, int64_t n, int64_t ld, double fraction, const void *w,
                    void *mean);
    /* Scale down the columns of W (k, n) whose norm exceeds the limit; padded. */
    void (*limit_norms)(int64_t k, int64_t n, double limit, void *w, int64_t ldw);

    /* --- Distortions of images: NULL in float64 --- */

    /* Write the distorted images of the rows index[0 .. m], or 0 .. m if index is NULL, to `out`
     * (m, height * width * channels), of the type of the rows; a function of key and index.
     * `scratch`: distortion_floats(distortion) floats, at a multiple of CMLP_PAD bytes. */
    void (*distort)(const cmlp_distortion *distortion, const cmlp_rng_key *key,
                    const cmlp_rows *rows, const uint32_t *index, int64_t m, void *out,
                    float *scratch);
    int64_t (*distortion_floats)(const cmlp_distortion *distortion);

    /* --- 8-bit integers: NULL in float64 --- */

    const cmlp_quantized_kernels *quantized;

    /* --- Benchmarks --- */

    /* Run multiply-adds at the core's peak rate; return their number. */
    int64_t (*multiply_adds)(int64_t rounds);
} cmlp_kernels;

#endif

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

/* A batch of sparse rows, converted: of row i the entries begin .. end. */
typedef struct {
    int64_t begin, end;
} cmlp_span;
typedef struct {
    cmlp_span *spans;
    int32_t *column;
    void *value; /* reals of the table's type */
    /* Room for the same entries by column: where each column's end, their rows, their
     * values. */
    int32_t *column_end, *row;
    void *turned;
} cmlp_entries;

/* What the outputs are compared with: class labels, or rows of reals. */
typedef struct {
    const int32_t *labels; /* NULL when `values` is given */
    const void *values;    /* reals of the table's type */
    int64_t ld;
    const double *weights; /* of the samples; NULL: all 1 */
} cmlp_targets;

/* The last layer's activation and the loss, by their codes. */
typedef struct {
    int32_t activation, loss;
    int64_t outputs;  /* without the padding */
    double parameter; /* of the loss */
} cmlp_head;

/* An optimizer with state, by its code; see optimizers.h. */
typedef struct {
    int32_t kind;
    int64_t step; /* how many have begun */
    double rate, l2, hyper[4];
    double constant[7], product; /* of the step that has begun */
} cmlp_optimizer;

typedef struct {
    const char *isa;
    int32_t itemsize, vector_bytes;
    /* Names in the order of their codes, NULL-terminated. */
    const char *const *activations;
    const char *const *losses;
    const char *const *optimizers;
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
    /* C (m, k) = D (m, n) W (k, n)^T. */
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
    void (*sparse_affine)(int64_t first, int64_t m, int64_t n, const cmlp_entries *batch,
                          const void *w, int64_t ldw, const void *bias, void *c, int64_t ldc);
    void (*sparse_accumulate)(int64_t m, int64_t n, const cmlp_entries *batch, const void *d,
                              int64_t ldd, void *w, int64_t ldw);
    /* The same for rows first .. first + k of W, by the entries in order of column: for
     * batches with many entries a column. */
    void (*turned_accumulate)(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d, int64_t ldd, void *w,
                              int64_t ldw);
    /* bias (n) += sum over the rows of D (m, n); padded. */
    void (*accumulate_bias)(int64_t m, int64_t n, const void *d, int64_t ldd, void *bias);
    /* Whether the derivative takes the input and is kept as the slope. */
    int32_t (*keeps_slope)(int32_t activation);
    /* A (m, n) = f(A) in place, and, where slopes are kept and wanted, those; padded. */
    void (*activate)(int32_t activation, int64_t m, int64_t n, int64_t outputs,
                     void *a, int64_t lda, void *slopes);
    /* D (m, n) *= f'(A) by the outputs A of f, or by the slopes; padded. */
    void (*activate_backward)(int32_t activation, int64_t m, int64_t n, const void *a,
                              int64_t lda, void *d, int64_t ldd);
    /* The end of the network, row by row: Z (m, ld) becomes its activation,
     * D (m, ld) `scale` times the gradient of the loss with respect to Z,
     * losses (m) the loss.  `index` as in gather. */
    void (*head)(const cmlp_head *head, const cmlp_targets *targets,
                 const uint32_t *index, int64_t m, double scale, void *z, void *slopes,
                 void *d, int64_t ld, double *losses);
    /* What the parameters of an optimizer's next step have in common. */
    void (*begin_step)(cmlp_optimizer *optimizer);
    /* That step over (rows, n) parameters of leading dimension ld; the states and the
     * gradient, which is zeroed, lie as they do. */
    void (*optimize)(const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld,
                     void *w, void *gradient, void *const *state);
    /* Multiply-adds at the peak of the core; returns how many. */
    int64_t (*multiply_adds)(int64_t rounds);
} cmlp_kernels;

#endif

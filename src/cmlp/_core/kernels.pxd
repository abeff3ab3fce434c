# The kernel table; csrc/kernels.h documents the structures and the functions.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t, uint64_t


cdef extern from "kernels.h" nogil:
    const int CMLP_PAD, CMLP_MARKS
    ctypedef enum cmlp_kind:
        CMLP_U8
        CMLP_F32
        CMLP_F64

    ctypedef struct cmlp_rows:
        const void *data
        ptrdiff_t stride
        int64_t n, width
        int32_t kind, column_bytes
        const int64_t *start
        const void *column

    ctypedef struct cmlp_span:
        int64_t begin, end

    ctypedef struct cmlp_entries:
        cmlp_span *spans
        int32_t *column
        void *value
        uint64_t *marks

    ctypedef struct cmlp_targets:
        const int32_t *labels
        const void *values
        int64_t ld
        const double *weights

    ctypedef enum cmlp_parametric:
        CMLP_NOT_PARAMETRIC
        CMLP_BLEND
        CMLP_INVERSE_BLEND

    ctypedef struct cmlp_activation:
        int32_t kind, parametric
        double parameter

    ctypedef struct cmlp_head:
        cmlp_activation activation
        int32_t loss, non_crossing
        int64_t outputs, targets, point
        double parameter
        const void *levels

    ctypedef struct cmlp_optimizer:
        int32_t kind
        int64_t step
        double rate, decay, decay_rate, l1, l2, clip_value, scale, product
        double[4] hyper

    ctypedef struct cmlp_rng_key:
        uint64_t seed
        uint32_t epoch, layer

    enum:
        CMLP_DISTORTIONS

    ctypedef struct cmlp_distortion:
        int64_t height, width, channels
        const double **limits
        int64_t *steps
        double fill
        const float *smooth_rows
        const float *smooth_columns

    int64_t pad_floats "cmlp_pad_floats"(int64_t n) noexcept

    ctypedef struct cmlp_dropout:
        uint32_t dropped
        double scale

    # Convert a dropout rate in [0, 1) to the form that the kernels use.
    cmlp_dropout dropout_of "cmlp_dropout_of"(double rate) noexcept

    ctypedef struct cmlp_input_layer:
        int32_t kind
        double parameter

    ctypedef enum cmlp_encoder_kind:
        CMLP_SCALE
        CMLP_ONE_HOT
        CMLP_EMBEDDING
        CMLP_PERIODIC

    const int CMLP_MAX_ENCODERS
    const int64_t CMLP_PERIODIC_FREQUENCIES

    ctypedef struct cmlp_encoder:
        int32_t kind
        int64_t inputs, selected, kept
        const int32_t *column
        const int32_t *target
        const int32_t *kept_column
        const int32_t *kept_target
        const int32_t *categories
        const int64_t *first_row
        int64_t outputs_per_column, frequencies, features
        int32_t has_phases, rectifies, keeps_value

    ctypedef struct cmlp_segments:
        int64_t count
        const int32_t *size
        const int32_t *code_column
        int64_t entries

    ctypedef struct cmlp_activation_info:
        const char *name
        int32_t parameters, stores_slope
        double threshold

    ctypedef struct cmlp_loss_info:
        const char *name
        int32_t parameters, log_link, blocks

    ctypedef struct cmlp_input_layer_info:
        const char *name
        int32_t has_sparse_form

    ctypedef struct cmlp_optimizer_info:
        const char *name
        int32_t states

    ctypedef struct cmlp_metric_sums:
        double samples
        double *hits
        double *predicted
        double *actual
        double *ranks
        double *exact
        double *sample_precision
        double *sample_recall
        double *sample_f1
        double *first
        double *target
        double *target_square
        double *error
        double *error_square

    const int64_t CMLP_QUANTIZED_MAX_INPUTS, CMLP_QUANTIZED_SUM_MAX

    ctypedef struct cmlp_quantizer:
        float inverse, slope, low, high
        int32_t zero_point, takes_bytes

    ctypedef struct cmlp_quantized_weights:
        int64_t outputs, n, groups
        const void *panels
        const int32_t *start
        const float *factor

    ctypedef struct cmlp_quantized_kernels:
        int32_t operand_bytes, group
        void (*pack)(
            int64_t outputs, int64_t inputs, const int8_t *w, int64_t n, int64_t groups,
            void *panels) noexcept nogil
        void (*quantize_rows)(
            const cmlp_quantizer *quantizer, const cmlp_rows *rows, int64_t first, int64_t m,
            void *q, int64_t ldq) noexcept nogil
        void (*quantize_entries)(
            const cmlp_quantizer *quantizer, const cmlp_entries *batch, int64_t m, int64_t width,
            void *q, int64_t ldq) noexcept nogil
        void (*quantize)(
            const cmlp_quantizer *quantizer, int64_t m, int64_t n, const float *a, int64_t lda,
            void *q, int64_t ldq) noexcept nogil
        void (*sum)(
            const cmlp_quantized_weights *w, int64_t m, const void *q, int64_t ldq, int32_t *s,
            int64_t lds) noexcept nogil
        void (*dequantize)(
            const cmlp_quantized_weights *w, int64_t m, const void *q, int64_t ldq, float *z,
            int64_t ldz) noexcept nogil
        void (*requantize)(
            const cmlp_quantized_weights *w, const cmlp_quantizer *quantizer, int64_t m,
            const void *q, int64_t ldq, void *r, int64_t ldr) noexcept nogil

    ctypedef struct cmlp_bf16_kernels:
        int32_t units_per_pair
        void (*round_rows)(
            int64_t m, int64_t n, const void *a, int64_t lda, void *out,
            int64_t ldout) noexcept nogil
        void (*affine)(
            int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
            int64_t ldw, const void *bias, const cmlp_activation *f, void *c,
            int64_t ldc) noexcept nogil
        void (*affine_backward)(
            int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd, const void *w,
            int64_t ldw, const cmlp_activation *f, const void *outputs, void *c,
            int64_t ldc) noexcept nogil
        void (*accumulate)(
            int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *d,
            int64_t ldd, double factor, void *w, int64_t ldw) noexcept nogil
        void (*round_entries)(
            int64_t first, int64_t m, const cmlp_entries *batch) noexcept nogil
        void (*sparse_affine)(
            int64_t first, int64_t m, int64_t n, int64_t k, const cmlp_entries *batch,
            const void *w, int64_t ldw, const void *bias, void *c, int64_t ldc) noexcept nogil
        void (*sparse_accumulate)(
            int64_t m, int64_t n, int64_t first, int64_t k, const cmlp_entries *batch,
            const void *d, int64_t ldd, double factor, void *w, int64_t ldw) noexcept nogil

    ctypedef struct cmlp_kernels:
        int32_t vector_bytes
        const cmlp_activation_info *activations
        const cmlp_loss_info *losses
        const cmlp_optimizer_info *optimizers
        const cmlp_input_layer_info *input_layers
        int64_t shared_pass_rows
        void (*gather)(
            const cmlp_rows *rows, const uint32_t *index, int64_t m,
            void *out, int64_t ld) noexcept nogil
        bint (*gather_sparse)(
            const cmlp_rows *rows, const uint32_t *index, int64_t first, int64_t m,
            const cmlp_entries *batch) noexcept nogil
        void (*prefetch)(const cmlp_rows *rows, const uint32_t *index, int64_t m) noexcept nogil
        void (*count_nonzeros)(
            const cmlp_rows *rows, int64_t first, int64_t m, int64_t *counts) noexcept nogil
        bint (*compress)(
            const cmlp_rows *rows, int64_t first, int64_t m, const cmlp_rows *out,
            int64_t spare) noexcept nogil
        int64_t (*find_not_finite)(const cmlp_rows *rows) noexcept nogil
        int32_t (*is_fused)(int32_t activation) noexcept nogil
        void (*affine)(
            int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
            int64_t ldw, const void *bias, const cmlp_activation *f, void *c,
            int64_t ldc) noexcept nogil
        void (*affine_backward)(
            int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd, const void *w,
            int64_t ldw, const cmlp_activation *f, const void *outputs, void *c,
            int64_t ldc) noexcept nogil
        void (*accumulate)(
            int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *d,
            int64_t ldd, void *w, int64_t ldw) noexcept nogil
        void (*accumulate_affine)(
            int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *d,
            int64_t ldd, void *w, int64_t ldw, const void *next, int64_t ldnext,
            const void *bias, void *c, int64_t ldc) noexcept nogil
        void (*sparse_affine)(
            int64_t first, int64_t m, int64_t n, int64_t k, const cmlp_entries *batch,
            const void *w, int64_t ldw, const void *bias, void *c, int64_t ldc) noexcept nogil
        void (*sparse_accumulate)(
            int64_t m, int64_t n, const cmlp_entries *batch, const void *d, int64_t ldd,
            void *w, int64_t ldw) noexcept nogil
        void (*marked_accumulate)(
            int64_t m, int64_t n, int64_t first, int64_t k, const cmlp_entries *batch,
            const void *d, int64_t ldd, void *w, int64_t ldw) noexcept nogil
        void (*mark_batch)(
            int64_t m, int64_t first, int64_t k, const cmlp_entries *batch) noexcept nogil
        void (*accumulate_marked)(
            int64_t m, int64_t n, int64_t k, const cmlp_entries *batch, const void *d,
            int64_t ldd, void *w, int64_t ldw) noexcept nogil
        void (*accumulate_bias)(
            int64_t m, int64_t n, const void *d, int64_t ldd, void *bias) noexcept nogil
        void (*add)(
            int64_t m, int64_t n, const void *b, int64_t ldb, void *a, int64_t lda) noexcept nogil
        void (*scale)(
            int64_t m, int64_t n, double factor, void *d, int64_t ldd) noexcept nogil
        const cmlp_bf16_kernels *bf16
        int32_t (*stores_slope)(int32_t activation) noexcept nogil
        void (*activate)(
            const cmlp_activation *f, int64_t m, int64_t n, int64_t outputs,
            void *a, int64_t lda, void *slopes) noexcept nogil
        void (*activate_backward)(
            const cmlp_activation *f, int64_t m, int64_t n, const void *a, int64_t lda,
            void *d, int64_t ldd) noexcept nogil
        void (*activate_parametric)(
            const cmlp_activation *f, int64_t m, int64_t n, const void *alpha, void *a,
            int64_t lda, void *slopes, void *factors) noexcept nogil
        void (*multiply)(
            int64_t m, int64_t n, const void *s, int64_t lds, void *d,
            int64_t ldd) noexcept nogil
        void (*drop)(
            const cmlp_activation *f, const cmlp_dropout *dropout, const cmlp_rng_key *key,
            int64_t sample, int64_t column, int64_t m, int64_t n, void *a, int64_t lda,
            void *slopes, void *factors) noexcept nogil
        void (*transform_input)(
            const cmlp_input_layer *layer, const cmlp_rng_key *key, int64_t sample, int64_t m,
            int64_t n, void *x, int64_t ldx) noexcept nogil
        void (*transform_sparse_input)(
            const cmlp_input_layer *layer, const cmlp_rng_key *key, int64_t sample,
            int64_t first, int64_t m, const cmlp_entries *batch) noexcept nogil
        void (*encode)(
            const cmlp_encoder *encoder, void *const *values, int64_t m, const void *x,
            int64_t ldx, void *out, int64_t ldout) noexcept nogil
        void (*encode_backward)(
            const cmlp_encoder *encoder, void *const *values, int64_t m, const void *x,
            int64_t ldx, const void *out, const void *d, int64_t ld, void *dx,
            int64_t lddx) noexcept nogil
        void (*encode_accumulate)(
            const cmlp_encoder *encoder, void *const *values, int64_t first, int64_t count,
            int64_t m, const void *x, int64_t ldx, const void *out, const void *d, int64_t ld,
            void *const *into) noexcept nogil
        void (*list_entries)(
            const cmlp_segments *segments, int64_t first, int64_t m, const void *x, int64_t ldx,
            const void *out, int64_t ldout, const cmlp_entries *batch) noexcept nogil
        void (*backward_entries)(
            int64_t first, int64_t m, int64_t n, const cmlp_entries *batch, const void *d,
            int64_t ldd, const void *w, int64_t ldw, void *c, int64_t ldc) noexcept nogil
        void (*normalize_batch)(
            int64_t m, int64_t n, double epsilon, double momentum, const void *scale,
            const void *shift, void *running_mean, void *running_variance, void *z, int64_t ld,
            void *h, void *inverse) noexcept nogil
        void (*normalize_batch_backward)(
            int64_t m, int64_t n, const void *scale, const void *h, const void *inverse, void *d,
            int64_t ld, void *s) noexcept nogil
        void (*normalize_by_running)(
            int64_t m, int64_t n, double epsilon, const void *scale, const void *shift,
            const void *running_mean, const void *running_variance, void *z, int64_t ld,
            void *h) noexcept nogil
        void (*normalize_layer)(
            int64_t m, int64_t n, int64_t outputs, double epsilon, const void *scale,
            const void *shift, void *z, int64_t ld, void *h, void *inverse) noexcept nogil
        void (*normalize_layer_backward)(
            int64_t m, int64_t n, int64_t outputs, const void *scale, const void *h,
            const void *inverse, void *d, int64_t ld, void *s) noexcept nogil
        void (*accumulate_scale)(
            int64_t m, int64_t n, const void *s, const void *h, int64_t ld,
            void *scale) noexcept nogil
        void (*head)(
            const cmlp_head *head, const cmlp_targets *targets, const uint32_t *index,
            int64_t m, double scale, void *z, void *slopes, void *d, int64_t ld,
            double *losses) noexcept nogil
        void (*accumulate_metrics)(
            const cmlp_head *head, const cmlp_targets *targets, const uint32_t *index, int64_t m,
            const void *a, int64_t ld, cmlp_metric_sums *sums) noexcept nogil
        void (*begin_step)(cmlp_optimizer *optimizer) noexcept nogil
        void (*optimize)(
            const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld, void *w,
            void *gradient, void *const *state) noexcept nogil
        double (*sum_of_squares)(
            int64_t rows, int64_t n, int64_t ld, const void *gradient) noexcept nogil
        void (*average)(
            int64_t rows, int64_t n, int64_t ld, double fraction, const void *w,
            void *mean) noexcept nogil
        void (*limit_norms)(
            int64_t k, int64_t n, double limit, void *w, int64_t ldw) noexcept nogil
        void (*distort)(
            const cmlp_distortion *distortion, const cmlp_rng_key *key, const cmlp_rows *rows,
            const uint32_t *index, int64_t m, void *out,
            float *scratch) noexcept nogil
        int64_t (*distortion_floats)(const cmlp_distortion *distortion) noexcept nogil
        const cmlp_quantized_kernels *quantized
        int64_t (*multiply_adds)(int64_t rounds) noexcept nogil


# The constants of the engine; csrc/policy.h states what each controls.
cdef extern from "policy.h" nogil:
    const double CMLP_TIME_SLICE_SECONDS, CMLP_CLOCK_POLL_MULTIPLY_ADDS
    const int64_t CMLP_COMPRESS_OVERRUN_ELEMENTS, CMLP_INFERENCE_BATCH_ROWS, CMLP_TANGENT_ROWS
    const int64_t CMLP_GRADIENT_BATCH_ROWS
    const double CMLP_QUANTIZED_THREAD_MULTIPLY_ADDS
    const int64_t CMLP_QUANTIZED_BATCH_ROWS, CMLP_QUANTIZED_ROUND_ROWS
    const double CMLP_STEP_MULTIPLY_ADDS, CMLP_CALL_MULTIPLY_ADDS, CMLP_PHASE_MULTIPLY_ADDS
    const double CMLP_LARGE_PHASE_MULTIPLY_ADDS, CMLP_SPARSE_ENTRY_COST
    const int64_t CMLP_LARGE_PHASE_BLOCKS, CMLP_COLUMN_STORAGE_STEPS, CMLP_COLUMN_STORAGE_BYTES
    const int64_t CMLP_ROW_BLOCK_ROWS, CMLP_DISTORTION_BLOCK_ELEMENTS
    const int64_t CMLP_COLUMN_BLOCK_BYTES, CMLP_UPDATE_BLOCK_ROWS, CMLP_THREAD_COMPRESS_ELEMENTS
    const int CMLP_BLAS_MAX_VECTOR_BYTES
    const double CMLP_BLAS_MULTIPLY_ADDS
    const int64_t CMLP_BF16_MIN_SIZE
    const int64_t CMLP_BLAS_MIN_ROWS, CMLP_BLAS_BLOCK_ROWS
    const int64_t CMLP_GRADIENT_BLOCK_BYTES, CMLP_SQUARES_BLOCK_ROWS
    const int64_t CMLP_MARKED_ENTRIES_PER_WORD, CMLP_MARKED_ROW_BYTES
    const int64_t CMLP_ALIASED_STRIDE_BYTES, CMLP_PREFETCH_BATCH_BYTES
    const int64_t CMLP_DENSITY_SAMPLE_ROWS, CMLP_SPARSE_MIN_COLUMNS
    const double CMLP_SPARSE_MAX_DENSITY, CMLP_WIDE_MAX_DENSITY, CMLP_TILES_MAX_DENSITY
    const int CMLP_WIDE_VECTOR_BYTES, CMLP_WIDE_LAYER_BYTES, CMLP_WIDE_BATCH_ROWS


# Return the activation function of a code, without learned factors.
cdef inline cmlp_activation activation_of(int code, double parameter) noexcept:
    return cmlp_activation(code, CMLP_NOT_PARAMETRIC, parameter)


# Return the head for a `cmlp.losses.Loss`, without the levels of several quantiles.
cdef inline cmlp_head head_of(cmlp_activation activation, loss, int64_t outputs):
    return cmlp_head(activation, loss.code, loss.non_crossing, outputs, outputs // loss.blocks,
                     loss.point, loss.parameter, NULL)


# Return the chosen ISA's table for reals of 4 or 8 bytes; ValueError for any other size.
cdef const cmlp_kernels *table(int itemsize) except NULL

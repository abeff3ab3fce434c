# The structs that describe one call of the engine, and the functions that run it.
#
# A call describes its work in a `TrainingJob` or an `InferenceJob`. Both contain a `Job`:
# everything that the forward pass of a batch reads. All threads of a call share one job. The
# calling thread writes its members between two phases, unless a comment says otherwise.
#
# Matrices are row-major. `ld` is a leading dimension: elements between the starts of two rows.
# `capacity` is the largest number of samples that the workspace holds.
from libc.stdint cimport int32_t, int64_t, uint32_t

from cmlp._core.blas cimport cblas_hooks
from cmlp._core.kernels cimport (
    cmlp_activation, cmlp_dropout, cmlp_encoder, cmlp_entries, cmlp_head, cmlp_input_layer,
    cmlp_kernels, cmlp_metric_sums, cmlp_optimizer, cmlp_rng_key, cmlp_rows, cmlp_segments,
    cmlp_targets)
from cmlp._core.pool cimport Range, cmlp_team


cdef enum:
    MAX_STATES = 3      # largest number of state arrays of an optimizer (csrc/optimizers.h)
    MAX_TENSORS = 4     # largest number of tensors of a layer

# Tensors of a dense layer: index of `Layer.tensors`. Those that a layer does not have have 0 rows.
cdef enum:
    WEIGHT
    BIAS                # the shift, if the layer is normalized
    SCALE               # exists only if the layer is normalized
    ALPHA               # exists only if the activation is parametric

cdef enum Normalization:
    NOT_NORMALIZED
    OVER_BATCH          # in inference by the running statistics
    BY_STATISTICS       # by the running statistics in training too: the layer is frozen
    OVER_LAYER

# Which parts of a step a call runs. A loss in Python is called between FORWARD and BACKWARD.
cdef enum Part:
    WHOLE_STEP
    FORWARD
    BACKWARD

ctypedef void *address


cdef struct Matrix:
    const void *data            # NULL: the batch is sparse
    int64_t ld


cdef struct Tensor:
    # Trainable parameters. All pointers address blocks of the same layout.
    void *value                 # (rows, columns), rows contiguous
    void *into                  # updates are added here: `value`, or the gradient
    address[MAX_STATES] state   # optimizer state; NULL if unused
    void *mean                  # running mean of the values over the steps; NULL: none
    int64_t offset              # of the first element in its block, in elements
    int64_t rows, columns       # columns: padded to CMLP_PAD bytes; also the leading dimension
    int group                   # index of its settings in `OptimizerPlan.groups`
    bint is_weight
    bint is_frozen              # not trained: its gradient is not computed


cdef struct Layer:
    # A dense layer: affine, normalization, activation, dropout. The buffers from `output` on
    # belong to the workspace; those of shape (capacity, n) have leading dimension `ld`. An encoder
    # has `inputs`, `outputs`, `n`, `ld`, `tensors`, `output`, `delta`, `kept_values` only.
    const cmlp_encoder *encoder     # NULL: a dense layer
    int64_t inputs, outputs     # units of the layer below and of this layer
    int64_t n                   # outputs, padded to CMLP_PAD bytes
    int64_t ld
    Tensor[MAX_TENSORS] tensors     # indexed by WEIGHT, BIAS, SCALE, ALPHA
    cmlp_activation activation
    cmlp_dropout dropout        # in the current step
    double dropout_rate         # before the schedule's factor
    double max_norm             # largest norm of the weights into a unit; 0: no limit
    bint rounds                 # operands of the products are rounded to bfloat16
    int64_t input_ld, delta_ld  # leading dimensions of the following, in units
    void *input_units           # (capacity, inputs): rounded input; NULL if it is sparse
    void *delta_units           # (capacity, n): rounded delta
    Normalization normalization
    double epsilon              # added to the variance
    double momentum             # fraction by which a batch moves the running statistics
    void *running_mean          # (n,); both exist for batch normalization only
    void *running_variance      # (n,)
    # Initial value of a row of pre-activations, (n,): the bias; zeros if the layer is normalized,
    # because the bias is then added to the normalized pre-activations.
    void *start
    void *output                # (capacity, n): pre-activations, then activations
    void *previous_output       # (capacity, n): outputs of the batch whose update is deferred
    # Derivatives of the outputs with respect to the pre-activations, (capacity, n); NULL: they
    # are computed from the outputs.
    void *slope
    void *slopes                # the buffer of `slope`; NULL: the layer never needs it
    void *delta                 # (capacity, n): gradient with respect to the pre-activations
    void *kept_values           # copies of the tensors of a periodic encoder; else NULL
    # Derivatives of the outputs with respect to alpha, then the gradient with respect to alpha of
    # each sample, (capacity, n); NULL: the activation is not parametric.
    void *alpha_delta
    # The following three exist only if the layer is normalized.
    void *normal                # (capacity, n): normalized pre-activations
    void *shift_delta           # (capacity, n): gradient with respect to scale * normal + bias
    void *inverse               # 1 / standard deviation: of columns (n,), or of rows (capacity,)
    Matrix previous_input       # input of the batch whose update is deferred
    # Only the first layer: see column_storage.pxi.
    void *by_columns            # weights stored by column blocks, of the workspace; NULL: never
    void *by_rows               # the weights' usual place
    int64_t column_blocks       # number of blocks during a call; 0: the usual place


cdef struct BatchInput:
    # The samples, and the batch that was read from them last.
    cmlp_rows rows
    const uint32_t *order       # index of the row of each sample; NULL: rows in their order
    bint prefetches             # whether rows of the next batch are prefetched
    void *converted             # (capacity, rows.width), leading dimension `ld`: a dense batch
    void *previous              # the same of the batch whose update is deferred
    void *next                  # the same of the batch that is read ahead
    int64_t ld
    cmlp_entries entries        # a sparse batch
    const cmlp_segments *segments   # of the encoders' outputs as a sparse batch; NULL: dense
    cmlp_entries next_entries   # the same of the batch that is read ahead
    bint has_invalid_columns    # sparse: whether the caller has broken the order of the columns
    const cmlp_input_layer *layers  # applied in this order to each batch
    int layer_count             # 0 in inference: input layers act in training only


cdef struct Job:
    # The state that training and inference share: everything that the forward pass reads, and
    # the sums over the samples processed so far.
    const cmlp_kernels *kernels
    const cblas_hooks *blas     # NULL: our own kernels compute all products
    int itemsize                # bytes of a parameter
    Layer *layers               # (depth,): dense layers; encoders come before: layers[-encoders]
    int depth
    int encoders
    cmlp_head head
    BatchInput input
    cmlp_targets targets
    bint trains                 # whether derivatives are needed
    bint drops                  # whether dropout of the layers is active
    cmlp_rng_key key            # random number stream of the epoch
    int64_t sample_offset       # position in the epoch of the call's first sample
    # Parts of each batch whose gradients are summed on their own, and then over a binary tree; 0:
    # one sum over the batch. `shard_rows`, (shards + 1,): the first row of each part in the current
    # batch; `shard_samples`, (shards,): the position in the epoch of that row.
    int shards
    const int64_t *shard_rows
    const int64_t *shard_samples
    int64_t batch               # samples of a batch, at most
    int64_t done, total         # samples processed so far, and samples in all
    double *losses              # (capacity,): loss of each sample of the batch, weighted
    double loss, weight         # sums over the samples: losses, sample weights
    cmlp_metric_sums *sums      # NULL: no metrics
    bint checks_sums            # whether pre-activations are searched for NaN and infinity
    bint has_non_finite_sums    # set by any thread that found some
    double work                 # multiply-adds of the forward product per sample
    double first_work           # multiply-adds of the first layer per sample
    int threads                 # the phases are divided for this number of threads
    bint divides_all            # for tests: phases are divided however little work they are
    cmlp_team *team             # the threads of the current call; NULL: its thread alone
    double deadline             # end of the time slice, on the clock of csrc/clock.h, seconds


cdef struct ParameterGroup:
    # Tensors that share the optimizer's settings.
    cmlp_optimizer optimizer    # with `l2` and `decay` of the current step
    double l2, decay            # before the schedule's factor
    double rate_factor          # of the learning rate; 0: the tensors are frozen
    double step_factor          # further factor of the update, but not of decoupled decay
    bint is_penalized           # whether the penalty is part of `optimizer.l2`


cdef struct OptimizerPlan:
    ParameterGroup *groups      # (group_count,); NULL: plain gradient descent
    int group_count
    int64_t accumulate          # batches whose gradients are averaged for a step
    double mean_rate            # running means of the parameters move by this fraction
    bint is_due                 # the current batch completes a step
    bint is_fused               # the step is taken block by block, as the gradient is computed


cdef struct Clipping:
    double max_norm             # largest norm of all gradients together; 0: no limit


cdef struct Penalty:
    # L2 penalty that is part of the loss: factor / 2 * sum of squared weights / batch weight.
    bint is_active
    double factor
    double batch                # penalty of the current batch
    double total                # sum over the samples processed


cdef struct TrainingJob:
    Job job
    Part part
    # Phases divide the columns of the first `column_layers` layers, one layer at a time; of the
    # other layers, they divide the samples.
    int column_layers
    bint is_small               # batches are small: reading the weights bounds the speed
    bint defers_updates         # small batches: update and next forward product share a pass
    int64_t deferred            # samples of the batch whose update is deferred; 0: none
    int64_t sample, m           # the current batch: its first sample, and its number of samples
    int64_t read_ahead          # first sample of the batch that was read ahead; -1: none
    int layer                   # the layer whose columns the current phase divides
    Matrix input                # the input of that layer
    int64_t limit               # the call returns when this number of samples is processed
    int64_t first_step, steps   # number, in the epoch, of the call's first step; steps of the epoch
    double update_factor        # updates add this times the mean gradient
    bint scales_late            # it multiplies the sums over the samples, not the deltas
    double late_factor          # factor of the current step's sums; 1 unless `scales_late`
    double rate                 # learning rate of an optimizer, without `rates`
    const double *rates         # learning rate of each step of the call; NULL: the same for all
    double decay_factor         # of weight decay, in the current step
    const double *decays        # factor of weight decay of each step of the call; NULL: 1
    const double *dropouts      # factor of the dropout rates of each step of the call; NULL: 1
    int first_trained           # the lowest layer with a tensor that is trained; encoders: below 0
    OptimizerPlan optimizer
    Clipping clipping
    Penalty penalty
    char *shard_sums            # scratch of each block of an update by shards
    cmlp_metric_sums **shard_metrics  # (shards,), or NULL: no metrics
    Range share                 # of the parameters that a step updates; empty: all of them
    int64_t shard_sum_bytes     # of one level of the tree; a block has one for each level
    double *squares             # (count_square_blocks(),): sums of squares, for norm and penalty
    bint limits_norms           # whether any layer has a max_norm
    double unclocked_work       # multiply-adds since the clock was last read
    double whole_weight         # the batches are parts of one with this weight; 0: they are not
    double last_loss            # mean loss of the last batch
    bint stop                   # the call returns to Python
    bint has_diverged           # the last batch's loss is not finite


cdef struct InferenceJob:
    Job job
    int layers                  # number of layers to compute
    char *out                   # (total, outputs of the last of these); NULL: losses, metrics
    bint checks_finite          # whether the samples are searched for NaN and infinity
    bint has_non_finite         # set by any thread that found some


cdef struct DerivativeJob:
    TrainingJob training
    const char *seed            # (total, outputs): gradient with respect to the outputs; NULL: none
    int64_t count               # gradients for each sample; without a seed, of outputs
    int64_t first_output        # the first of these outputs
    char *inputs                # (total, count, ld), padded: with respect to the inputs, or NULL
    int64_t ld
    char *out                   # (total, outputs), contiguous: receives the outputs; or NULL
    bint updates                # whether `Tensor.into` receives the parameters' gradient
    bint lacks_memory           # whether memory could not be allocated


# Compute derivatives for all samples.
cdef void differentiate(DerivativeJob *d) noexcept nogil

# Train until the job stops.
cdef void train(TrainingJob *training) noexcept nogil

# Compute the gradient of one batch, divided into shards, into `Tensor.into`.
cdef void compute_shard_gradient(TrainingJob *training) noexcept nogil

# Return the levels of the tree over this number of shards, at least 1.
cdef int count_levels(int shards) noexcept nogil

# Take the optimizer's step, for the parameters of `share`, by the gradient of a batch whose weight
# is `whole_weight`.
cdef void apply_gradient(TrainingJob *training) noexcept nogil

# Compute the outputs of one batch.
cdef void infer_batch(InferenceJob *inference) noexcept nogil

# Return the number of blocks into which m rows of a batch divide at most.
cdef int64_t count_row_blocks(const Job *job, int64_t m) noexcept nogil

# Return the number of layers whose columns phases divide. Needs the plan of the job.
cdef int count_column_layers(const TrainingJob *training) noexcept nogil

cdef bint has_targets(const Job *job) noexcept nogil

# Add the outputs of the current batch, m samples from `sample` on, to the metric sums.
cdef void accumulate_metrics(Job *job, int64_t sample, int64_t m) noexcept nogil

# Return the sum of the weights of m samples from `sample` on.
cdef double sum_weights(const Job *job, int64_t sample, int64_t m) noexcept nogil

# Return the factor of the mean gradient of the batch that begins with `sample` in its deltas.
cdef double compute_delta_factor(const TrainingJob *training, int64_t sample) noexcept nogil

# Return whether a product (m, k) x (k, n) is large enough for a BLAS.
cdef bint suits_blas(int64_t m, int64_t n, int64_t k) noexcept nogil

# Return the number of elements of `TrainingJob.squares`.
cdef int64_t count_square_blocks(const Job *job) noexcept nogil


# Let the layers drop their dropout rates times a factor.
cdef void scale_dropout(Job *job, double factor) noexcept nogil


cdef inline char *at(const void *p, int64_t element, int itemsize) noexcept nogil:
    # Return the address of an element of an array.
    return <char *> p + element * itemsize

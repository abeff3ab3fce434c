# A call of the engine as its team of threads sees it, and the loops over its batches.
from libc.stdint cimport int32_t, int64_t, uint32_t

from cmlp._core.blas cimport cblas_hooks
from cmlp._core.kernels cimport (
    CMLP_PAD, cmlp_activation, cmlp_dropout, cmlp_entries, cmlp_head, cmlp_kernels, cmlp_noise,
    cmlp_optimizer, cmlp_rows, cmlp_tally, cmlp_targets)


# The most arrays of state that an optimizer keeps.
cdef enum:
    STATES = 3

# How a layer's input sums are normalised.
cdef enum Normalization:
    NOT_NORMALIZED
    OVER_BATCH
    OVER_LAYER

# What of a step a team does; a loss in Python comes between its two parts.
cdef enum Phase:
    WHOLE
    FORWARD
    BACKWARD

ctypedef void *address

cdef struct Tensor:
    # The weights, the biases or the scales of a layer.
    void *value                 # NULL where it has no such parameters
    void *into                  # what an update is added to: the same, or a gradient
    address[STATES] state       # of an optimizer that has some
    void *mean                  # the running mean over the steps, where one is kept

cdef struct Layer:
    int64_t inputs, outputs
    int64_t n                   # outputs with their padding
    int64_t ld                  # what is between two rows of the outputs and the deltas
    cmlp_activation activation
    cmlp_dropout dropout
    Normalization normalization
    double momentum, epsilon    # of the normalisation
    void *running_mean          # over batches: (n,) each
    void *running_variance
    Tensor weight               # (inputs, n)
    Tensor bias                 # (n,)
    Tensor scale                # (n,), where it is normalised
    void *start                 # what the input sums begin with: the bias, or zeros
    void *output                # of the workspace: (capacity, ld)
    void *spare                 # where updates wait: the outputs of the batch before
    void *slope                 # where the activation or dropout asks for it: of the outputs
    void *delta                 # gradient with respect to the layer's input sums
    void *normal                # where they are normalised: (capacity, ld), normalised sums,
    void *shift_delta           # the gradient with respect to the sums after that,
    void *inverse               # and one over the deviation of each column or row
    const void *a               # where updates wait: the input that the update will be by
    int64_t lda


cdef struct Job:
    # One call of the engine: all that its team of threads shares.
    const cmlp_kernels *kernels
    const cblas_hooks *blas     # NULL where the rule says that our own kernels do it
    cmlp_optimizer *optimizer   # NULL: plain gradient descent
    cmlp_optimizer *bias_optimizer  # of biases and scales: the same, or one without decay
    Layer *layers
    int depth
    cmlp_rows rows
    cmlp_targets targets
    cmlp_head head
    const uint32_t *order       # NULL: as the rows come
    void *input                 # of the workspace: (capacity, input_ld), the batch converted
    void *spare_input
    int64_t input_ld
    cmlp_entries entries        # of the workspace: the batch when it is sparse
    double *losses              # of the workspace: (capacity,)
    int64_t batch, done, total  # in samples
    int64_t limit               # training stops at this sample
    int64_t place               # of the first sample in the epoch, for random numbers
    int64_t first_step, steps   # of the epoch: which comes first here, and all
    int64_t waiting             # samples whose update waits for the next forward product
    bint waits                  # whether updates do
    bint small                  # the batch is too small to be shared out
    bint by_columns             # a thread takes a part of each layer instead of rows
    bint prefetches
    bint training               # statistics of the batch count, not the running ones
    bint drops                  # elements are dropped, and noise is added
    Phase phase
    cmlp_noise noise
    cmlp_dropout input_dropout
    double input_noise          # standard deviation
    double max_norm             # of the weights into a unit; 0: any
    const double *rates         # of each step of the epoch; NULL: one for all
    double step                 # an update adds `step` times the mean gradient
    int64_t accumulate          # steps whose gradients make one step of the optimizer
    bint optimizes              # this step ends in one of the optimizer,
    bint follows                # which follows the gradient block by block
    double clip_norm            # of all gradients together; 0: any
    double *squares             # of blocks of the gradients, or of the weights
    bint penalized              # half of `penalty` times the weights' squares over the batch's
    double penalty              # weight is part of its loss
    double penalty_loss         # that, of this batch,
    double penalties            # and over all samples
    double average              # the part of the way that running means go
    double work                 # multiply-adds a sample
    double work_done            # since the clock was last read
    double deadline
    bint stop, diverged
    double loss, last_loss      # sum over all samples; mean of the last batch
    double weight               # sum of all samples' weights
    cmlp_tally *tally           # NULL: no metrics are wanted
    char *out                   # inference: rows of outputs, packed; NULL: none are wanted
    bint checks, not_finite     # inference: whether it looks for NaN and infinity, and found any
    int itemsize


# Bodies of a team, for a `Job`: training until it stops; one batch of inference.
cdef void train_team(void *arg, int thread, int threads) noexcept nogil
cdef void infer_team(void *arg, int thread, int threads) noexcept nogil

cdef bint has_targets(Job *job) noexcept nogil

# The outputs of m samples from this one on into the sums of metrics.
cdef void tally_outputs(Job *job, int64_t sample, int64_t m) noexcept nogil

# The sum of the weights of the m samples from this one on.
cdef double batch_weight(Job *job, int64_t sample, int64_t m) noexcept nogil

# What a batch's step multiplies its mean gradient by.
cdef double step_of(Job *job, int64_t sample) noexcept nogil

# Whether the rule gives a product of these dimensions to the BLAS, were there one.
cdef bint suits_blas(int64_t m, int64_t n, int64_t k) noexcept nogil

# How many blocks of gradients have a sum of squares of their own.
cdef int64_t squared_blocks(const Layer *layers, int depth) noexcept nogil


cdef inline char *at(const void *p, int64_t element, int itemsize) noexcept nogil:
    return <char *> p + element * itemsize

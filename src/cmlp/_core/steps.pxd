# A call of the engine as its team of threads sees it, and the loops over its batches.
from libc.stdint cimport int32_t, int64_t, uint32_t

from cmlp._core.blas cimport cblas_hooks
from cmlp._core.kernels cimport (
    CMLP_PAD, cmlp_entries, cmlp_head, cmlp_kernels, cmlp_optimizer, cmlp_rows,
    cmlp_targets)


# The most arrays of state that an optimizer keeps.
cdef enum:
    STATES = 3

ctypedef void *address

cdef struct Layer:
    int64_t inputs, outputs
    int64_t n                   # outputs with their padding
    int64_t ld                  # what is between two rows of the outputs and the deltas
    int32_t activation
    void *weight                # (inputs, n)
    void *bias                  # (n,)
    void *weight_into           # what an update is added to: the same, or a gradient
    void *bias_into
    address[STATES] weight_state    # of an optimizer that has some
    address[STATES] bias_state
    void *output                # of the workspace: (capacity, ld)
    void *spare                 # where updates wait: the outputs of the batch before
    void *slope                 # where the activation keeps them: derivatives of the outputs
    void *delta                 # gradient with respect to the layer's input sums
    const void *a               # where updates wait: the input that the update will be by
    int64_t lda


cdef struct Job:
    # One call of the engine: all that its team of threads shares.
    const cmlp_kernels *kernels
    const cblas_hooks *blas     # NULL where the rule says that our own kernels do it
    cmlp_optimizer *optimizer   # NULL: plain gradient descent
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
    int64_t waiting             # samples whose update waits for the next forward product
    bint waits                  # whether updates do
    bint small                  # the batch is too small to be shared out
    bint prefetches
    const double *rates         # of each step of the epoch; NULL: one for all
    double step                 # an update adds `step` times the mean gradient
    double work                 # multiply-adds a sample
    double work_done            # since the clock was last read
    double deadline
    bint stop, diverged
    double loss, last_loss      # sum over all samples; mean of the last batch
    double weight               # sum of all samples' weights
    char *out                   # inference: rows of outputs, packed
    bint checks, not_finite     # inference: whether it looks for NaN and infinity, and found any
    int itemsize


# Bodies of a team, for a `Job`: training until it stops; one batch of inference.
cdef void train_team(void *arg, int thread, int threads) noexcept nogil
cdef void infer_team(void *arg, int thread, int threads) noexcept nogil

cdef bint has_targets(Job *job) noexcept nogil

# The sum of the weights of the m samples from this one on.
cdef double batch_weight(Job *job, int64_t sample, int64_t m) noexcept nogil

# Whether the rule gives a product of these dimensions to the BLAS, were there one.
cdef bint suits_blas(int64_t m, int64_t n, int64_t k) noexcept nogil


cdef inline char *at(const void *p, int64_t element, int itemsize) noexcept nogil:
    return <char *> p + element * itemsize

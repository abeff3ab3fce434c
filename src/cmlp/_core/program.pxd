# A network in the form that the engine runs, and the memory that one call needs.
from libc.stdint cimport int64_t

from cmlp._core.inputs cimport Rows, Targets
from cmlp._core.kernels cimport (
    cmlp_encoder, cmlp_entries, cmlp_head, cmlp_input_layer, cmlp_kernels, cmlp_rows,
    cmlp_segments)
from cmlp._core.steps cimport Job, Layer, Tensor, TrainingJob


cdef class Workspace:
    cdef char *memory
    cdef size_t used            # bytes given out by `take`
    cdef Layer *layers          # copies of the program's, encoders included, with buffers
    cdef int64_t capacity       # samples of a batch
    cdef int64_t entries        # entries of a sparse batch; 0: batches are dense
    cdef int64_t input_ld
    cdef bint has_previous      # whether there are buffers for a deferred update
    cdef bint has_next          # whether there are buffers for a batch that is read ahead

    cdef void *take(self, size_t size) noexcept
    cdef void assign_entries(self, cmlp_entries *entries, int64_t inputs, int itemsize) noexcept
    cdef void assign_input(self, Job *job, int64_t inputs) noexcept
    cdef void assign_layer(self, Job *job, Layer *layer) noexcept
    cdef void assign_encoder(self, Job *job, Layer *layer) noexcept
    cdef void assign_units(self, Layer *layer) noexcept
    cdef void assign_buffers(self, Job *job) noexcept


cdef class Program:
    cdef const cmlp_kernels *kernels
    cdef cmlp_input_layer *input_layers
    cdef int input_layer_count
    cdef Layer *memory          # of `layers`, encoders included
    cdef Layer *layers          # dense layers; encoders come before: layers[-encoders]
    cdef int encoders, encoders_added
    cdef bint reads_codes       # whether columns hold the codes of categories, which are checked
    cdef cmlp_encoder *encoder_table
    cdef cmlp_segments segments  # of the encoders' outputs; no entries: they are dense
    cdef list references        # owners of the memory that encoders and segments point to
    cdef int depth
    cdef int itemsize           # bytes of a parameter
    cdef cmlp_head head
    cdef int64_t inputs         # of the network
    cdef bint normalizes_batches, limits_norms
    cdef bint rounds            # large layers compute in bfloat16
    cdef readonly object dtype
    cdef object parameters, statistics  # blocks of the tensors, used in place
    cdef object levels          # of the head: the quantile of each output, or None
    cdef list free_workspaces

    cdef Tensor describe_tensor(self, int64_t offset, int64_t rows, int64_t columns)
    cdef bint has_randomness(self) noexcept
    cdef bint can_defer_updates(self) noexcept
    cdef Workspace take_workspace(self, Job *job, int64_t longest)
    cdef void plan_job(self, Job *job, const cmlp_rows *rows, int64_t batch,
                       int64_t entries) noexcept
    cdef Workspace prepare_job(self, Job *job, const cmlp_rows *rows, Targets targets, order,
                               int64_t batch, int64_t longest, bint drops, int threads,
                               bint trains)
    cdef Workspace prepare_training(self, TrainingJob *training, Rows rows, Targets targets,
                                    order, int64_t batch, bint drops, bint is_small,
                                    int threads)
    cdef void release_workspace(self, Workspace workspace) noexcept
    cdef int choose_threads(self, const Job *job, int threads, bint trains) noexcept
    cdef char *address_block(self, str name, block) except NULL
    cdef bint are_finite(self, const void *data, int64_t count) noexcept
    cdef object infer_few(self, const cmlp_rows *rows)


# Train for one time slice, or run one part of a step whose loss is in Python.
cdef object run_training(TrainingJob *training)

# Compute the gradient of a batch that is divided into shards.
cdef object run_shard_gradient(TrainingJob *training)

# Return the address of a C-contiguous, writable array of float32 or float64.
cdef char *address_array(array, int ndim) except NULL

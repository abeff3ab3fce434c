# A network as the engine runs it, and the memory of a call.
from libc.stdint cimport int64_t

from cmlp._core.kernels cimport cmlp_dropout, cmlp_head, cmlp_kernels, cmlp_rows
from cmlp._core.samples cimport Targets
from cmlp._core.steps cimport Job, Layer


cdef class Workspace:
    cdef char *memory
    cdef size_t size, used
    cdef Layer *layers
    cdef int64_t capacity, entries, input_ld
    cdef bint spare

    cdef void *take(self, size_t size) noexcept
    cdef void lay_out(self, Job *job, Layer *layers) noexcept


cdef class Program:
    cdef const cmlp_kernels *kernels
    cdef Layer *layers
    cdef int depth, itemsize
    cdef cmlp_head head
    cdef cmlp_dropout input_dropout
    cdef double input_noise, max_norm
    cdef bint normalizes_batches
    cdef object kept, spare, dtype

    cdef int describe_layer(self, Layer *layer, dict given) except -1
    cdef bint drops(self) noexcept
    cdef bint lets_wait(self) noexcept
    cdef Workspace take_workspace(self, Job *job, int64_t longest)
    cdef void choose(self, Job *job, const cmlp_rows *rows, int64_t batch,
                     int64_t elements) noexcept
    cdef Workspace prepare(self, Job *job, const cmlp_rows *rows, Targets targets, order,
                           int64_t batch, int64_t longest, bint drops)
    cdef int team(self, Job *job, int threads) noexcept
    cdef void reset_updates(self, Job *job) noexcept
    cdef object small_outputs(self, const cmlp_rows *rows)


# One breath of training, or one part of a step whose loss is Python's.
cdef object run_team(Job *job, int team)

# Updates of a layer go into these arrays, which are like its parameters.
cdef int set_into(Layer *layer, arrays) except -1

# The address of a C-contiguous, writable array of reals, which stays the caller's.
cdef void *matrix(array) except NULL
cdef void *vector(array) except NULL

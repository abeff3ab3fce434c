# The compiled form of an optimizer, which other modules attach to their jobs.
from libc.stdint cimport int64_t

from cmlp._core.kernels cimport cmlp_optimizer
from cmlp._core.program cimport Program
from cmlp._core.steps cimport TrainingJob


cdef class OptimizerKernel:
    # Indexed by WEIGHTS, BIASES.
    cdef cmlp_optimizer[2] settings
    cdef readonly bint is_plain
    cdef double clip_norm, penalty, mean_rate
    cdef int64_t accumulate
    cdef object gradient, states, mean

    cdef int attach(self, TrainingJob *training, Program program) except -1

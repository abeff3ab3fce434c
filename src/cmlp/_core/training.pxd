# The compiled form of an optimizer, which other modules attach to their jobs.
from libc.stdint cimport int64_t

from cmlp._core.program cimport Program
from cmlp._core.steps cimport ParameterGroup, Tensor, TrainingJob


cdef class OptimizerKernel:
    cdef ParameterGroup *groups
    cdef int group_count
    cdef dict group_of          # offset of a tensor -> index of its group
    cdef readonly bint is_plain
    cdef double clip_norm, penalty, mean_rate
    cdef int64_t accumulate
    cdef object gradient, states, mean

    cdef int attach(self, TrainingJob *training, Program program) except -1
    cdef int attach_group(self, TrainingJob *training, Tensor *tensor, int layer) except -1

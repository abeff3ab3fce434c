# What a network reads: samples and what their outputs are compared with.
from libc.stdint cimport int32_t, int64_t

from cpython.buffer cimport Py_buffer

from cmlp._core.kernels cimport cmlp_rows, cmlp_tally, cmlp_targets


cdef class Rows:
    cdef cmlp_rows view
    cdef int64_t longest, nonzeros
    cdef Py_buffer buffer
    cdef bint holds
    cdef object kept


cdef class Targets:
    cdef cmlp_targets view
    cdef readonly Py_ssize_t n
    cdef const int32_t[::1] labels
    cdef const float[:, ::1] f4
    cdef const double[:, ::1] f8
    cdef const double[::1] weights


cdef class Tally:
    cdef cmlp_tally sums
    cdef readonly dict arrays


# Describes a 2-D buffer of uint8, float32 or float64 whose rows are contiguous; False
# where it is something else.
cdef bint describe(const Py_buffer *buffer, cmlp_rows *view) noexcept

# Samples, targets and metric sums, as the engine reads and writes them.
from libc.stdint cimport int32_t, int64_t

from cpython.buffer cimport Py_buffer

from cmlp._core.kernels cimport cmlp_metric_sums, cmlp_rows, cmlp_targets


cdef class Rows:
    cdef cmlp_rows view
    cdef int64_t longest                # entries of the longest sparse row
    cdef int64_t nonzeros               # entries of all sparse rows
    cdef Py_buffer buffer
    cdef bint holds_buffer
    cdef object references              # the arrays that `view` points into, if sparse


cdef class Targets:
    cdef cmlp_targets view
    cdef readonly Py_ssize_t n
    cdef readonly object array
    cdef const int32_t[::1] labels
    cdef const float[:, ::1] float_values
    cdef const double[:, ::1] double_values
    cdef const double[::1] weights


cdef class MetricSums:
    cdef cmlp_metric_sums sums
    cdef readonly dict arrays


# Fill in `view` from a 2-D buffer of uint8, float32 or float64 whose rows are contiguous.
# Return False if the buffer is anything else.
cdef bint describe_rows(const Py_buffer *buffer, cmlp_rows *view) noexcept

# Hold the buffer of an array, and fill in `view`. Return False, without a buffer, unless it is such
# a buffer of this width with at least one row; the caller converts the array then. Masked arrays
# are excluded.
cdef bint hold_rows(array, int64_t width, Py_buffer *buffer, cmlp_rows *view) except -1

# Raise the `ValueError` for sparse rows of this width whose column indices changed during a call.
cdef int raise_changed_columns(int64_t width) except -1

# Raise the `ValueError` for a row that find_not_finite returned.
cdef int raise_not_finite(const cmlp_rows *rows, int64_t row, name) except -1

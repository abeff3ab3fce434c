# Tuning constants; csrc/policy.h documents each.
from libc.stdint cimport int64_t


cdef extern from "policy.h" nogil:
    const int64_t ALIASED_BYTES
    const int64_t BLAS_MAX_VECTOR_BYTES
    const int64_t BLAS_MIN_ROWS
    const double BLAS_MIN_WORK
    const int64_t BLAS_ROWS
    const double CLOCK_WORK
    const int64_t COLUMN_BLOCK_BYTES
    const int64_t DENSITY_SAMPLE_ROWS
    const int64_t ENTRIES_PER_MARKS
    const int64_t GRADIENT_BLOCK_BYTES
    const int64_t INFERENCE_ROWS
    const int64_t KERNEL_ROWS
    const int64_t MARKED_ROW_BYTES
    const int64_t PREFETCH_BYTES
    const double SPARSE_COST
    const int64_t SQUARED_ROWS
    const double THREAD_WORK
    const double TIME_SLICE_SECONDS

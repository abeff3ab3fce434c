"""The training loop: the code that the threads of a call run, without the GIL.

A step takes one batch through these stages, each in a file of its own, which this module
includes so that calls between them are inlined::

    read rows, apply input layers                       batch_input.pxi
    (affine, normalize, activate, drop) * layers        layer_forward.pxi
    head: outputs, loss, gradient, metrics              head.pxi
    (affine, activate, normalize backward) * layers     layer_backward.pxi
    update: gradient of each tensor                     update.pxi
    optimizer, clipping, penalty, weight norms          optimizer.pxi

Two schedules divide the stages up to the update among the threads: by rows of the batch
(schedule_rows.pxi) or by columns of the layers (schedule_columns.pxi). The update is always
divided by parameters. Between the two phases all threads synchronize. No sum is ever split between
threads, so the results are the same bits for any number of threads.

If a batch is so small that reading and writing the weights bounds the speed, the update is
deferred: the next batch's forward product applies it, in a single pass over the weights.
"""
from libc.math cimport NAN, isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy, memset

from cmlp._core.blas cimport gemm, takes_stride
from cmlp._core.kernels cimport (
    CMLP_BLAS_BLOCK_ROWS, CMLP_BLAS_MIN_ROWS, CMLP_BLAS_MULTIPLY_ADDS,
    CMLP_CLOCK_POLL_MULTIPLY_ADDS, CMLP_COLUMN_BLOCK_BYTES, CMLP_F32, CMLP_F64,
    CMLP_GRADIENT_BLOCK_BYTES, CMLP_MARKED_ENTRIES_PER_WORD, CMLP_MARKED_ROW_BYTES, CMLP_MARKS,
    CMLP_PAD, CMLP_SQUARES_BLOCK_ROWS, CMLP_UPDATE_BLOCK_ROWS, cmlp_optimizer, cmlp_rng_key,
    cmlp_rows, cmlp_targets)
from cmlp._core.threads cimport Range, cmlp_barrier, split_range

cdef extern from "clock.h" nogil:
    double cmlp_now()

include "batch_input.pxi"
include "layer_forward.pxi"
include "layer_backward.pxi"
include "head.pxi"
include "optimizer.pxi"
include "update.pxi"
include "schedule_rows.pxi"
include "schedule_columns.pxi"
include "infer_batch.pxi"


cdef void train_small_batch(TrainingJob *training, int64_t sample, int64_t m, int thread,
                            int threads) noexcept nogil:
    # One step on a small batch. If updates are deferred, its update is too, unless the call ends
    # with this step or the next batch is smaller. A sparse first layer is updated at once: its
    # forward product does not pass over all weights.
    cdef Job *job = &training.job
    cdef bint is_deferred
    forward_backward_columns(training, sample, m, thread, threads)
    compute_penalty(training, sample, m, thread, threads)
    if thread == 0:
        training.deferred = 0
        finish_step(training, m)
        begin_update(training, sample)
    cmlp_barrier(threads)
    is_deferred = training.defers_updates and not training.stop and job.total - job.done >= m
    if not is_deferred:
        update_layers(training, sample, m, thread, threads)
        cmlp_barrier(threads)
        end_update(training, thread, threads)
    elif reads_sparse_rows(job, 0):
        update_sparse_weights(training, job.layers, m, thread, threads)
        if thread == 0:
            update_bias(training, job.layers, m)
    cmlp_barrier(threads)
    if is_deferred and thread == 0:
        defer_update(training, m)
    cmlp_barrier(threads)


cdef void train_batch(TrainingJob *training, int64_t sample, int64_t m, int thread,
                      int threads) noexcept nogil:
    # One step, or one phase of it if the loss is in Python.
    if training.splits_columns:
        forward_backward_columns(training, sample, m, thread, threads)
    else:
        forward_backward_rows(training, sample, m, thread, threads)
    if training.phase == FORWARD:
        return
    compute_penalty(training, sample, m, thread, threads)
    if thread == 0:
        begin_update(training, sample)
    cmlp_barrier(threads)
    update_layers(training, sample, m, thread, threads)
    cmlp_barrier(threads)
    end_update(training, thread, threads)
    if thread == 0:
        finish_step(training, m)
    cmlp_barrier(threads)


cdef void train_threads(void *arg, int thread, int threads) noexcept nogil:
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef int64_t sample, m
    while not training.stop:
        sample = job.done
        m = min(job.batch, job.total - sample)
        if training.is_small:
            train_small_batch(training, sample, m, thread, threads)
        else:
            train_batch(training, sample, m, thread, threads)
        if training.phase == FORWARD:
            return

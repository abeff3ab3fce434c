"""The training loop: the code that the threads of a call run, without the GIL.

A step takes one batch through these stages, each in a file of its own, which this module
includes so that calls between them are inlined::

    read rows, apply input layers                       batch_input.pxi, encoders.pxi
    (affine, normalize, activate, drop) * layers        layer_forward.pxi
    head: outputs, loss, gradient, metrics              head.pxi
    (affine, activate, normalize backward) * layers     layer_backward.pxi
    update: gradient of each tensor                     update.pxi, shards.pxi
    optimizer, clipping, penalty, weight norms          optimizer.pxi

The calling thread runs a step as a sequence of phases (phases.pxi). A phase divides one or several
stages into blocks, which the calling thread and the workers of its team compute: by columns of a
layer (schedule_columns.pxi), by rows of the batch (schedule_rows.pxi) or, in the update, by
parameters. No sum is ever split between blocks, so the results are the same bits for any number of
threads and blocks.

If a batch is so small that reading and writing the weights bounds the speed, the update is
deferred: the next batch's forward product applies it, in a single pass over the weights.
"""
from libc.math cimport NAN, isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from cmlp._core.blas cimport gemm, takes_stride
from cmlp._core.kernels cimport (
    CMLP_BLAS_BLOCK_ROWS, CMLP_BLAS_MIN_ROWS, CMLP_BLAS_MULTIPLY_ADDS,
    CMLP_CLOCK_POLL_MULTIPLY_ADDS, CMLP_COLUMN_BLOCK_BYTES, CMLP_COLUMN_STORAGE_STEPS,
    CMLP_EMBEDDING, CMLP_F32, CMLP_F64, CMLP_GRADIENT_BLOCK_BYTES, CMLP_LARGE_PHASE_BLOCKS,
    CMLP_LARGE_PHASE_MULTIPLY_ADDS, CMLP_MARKED_ENTRIES_PER_WORD, CMLP_MARKED_ROW_BYTES,
    CMLP_MARKS, CMLP_MAX_ENCODERS, CMLP_PAD,
    CMLP_PHASE_MULTIPLY_ADDS, CMLP_ROW_BLOCK_ROWS, CMLP_SCALE, CMLP_SQUARES_BLOCK_ROWS,
    CMLP_TANGENT_ROWS, CMLP_UPDATE_BLOCK_ROWS, cmlp_encoder, cmlp_entries, cmlp_rng_key, cmlp_rows,
    cmlp_targets, dropout_of)
from cmlp._core.pool cimport Range, run_phase, split_range

cdef extern from "clock.h" nogil:
    double cmlp_now()

include "phases.pxi"
include "column_storage.pxi"
include "encoders.pxi"
include "batch_input.pxi"
include "layer_forward.pxi"
include "layer_backward.pxi"
include "head.pxi"
include "optimizer.pxi"
include "update.pxi"
include "schedule_rows.pxi"
include "schedule_columns.pxi"
include "shards.pxi"
include "derivatives.pxi"
include "infer_batch.pxi"


cdef void finish_batch(TrainingJob *training) noexcept nogil:
    # After the backward pass: update the parameters. If updates are deferred, the next step applies
    # this one, unless the call ends with this step or the next batch is smaller. A sparse first
    # layer is updated at once: its forward product does not pass over all weights.
    cdef Job *job = &training.job
    training.deferred = 0
    begin_update(training)
    if training.defers_updates and not training.stop and job.total - job.done >= training.m:
        if reads_sparse_rows(job, 0):
            run_phase(job.team, update_first_layer, training, count_update_blocks(training))
        defer_update(training)
        return
    begin_reading_ahead(training)
    run_phase(job.team, update_and_read_ahead, training, count_update_blocks(training))
    finish_reading_ahead(training)
    end_update(training)


cdef void train_batch(TrainingJob *training) noexcept nogil:
    # One step, or one part of it if the loss is in Python.
    cdef Job *job = &training.job
    training.sample = job.done
    training.m = min(job.batch, job.total - job.done)
    if training.part != BACKWARD:
        if training.dropouts != NULL:
            scale_dropout(job, training.dropouts[training.sample // job.batch])
        forward_column_layers(training)
    run_row_layers(training)
    if training.part == FORWARD:
        return
    backward_column_layers(training)
    scale_column_deltas(training)
    compute_penalty(training)
    finish_step(training)
    finish_batch(training)


cdef void train(TrainingJob *training) noexcept nogil:
    training.stop = False
    training.read_ahead = -1
    begin_column_storage(training)
    while not training.stop:
        train_batch(training)
        if training.part == FORWARD:
            break
    end_column_storage(training)

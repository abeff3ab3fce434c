"""`Program`: a network in the form that the engine runs.

`steps.pyx` contains the code that its threads run, `training.pyx` trains a program.
"""
from libc.math cimport INFINITY, NAN, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from cpython.buffer cimport (
    Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.exc cimport PyErr_CheckSignals

import numpy as np

from cmlp._core.blas cimport enter_single_threaded, hooks, leave_single_threaded
from cmlp._core.inputs cimport (
    MetricSums, Rows, Targets, hold_rows, raise_changed_columns, raise_not_finite)
from cmlp._core.kernels cimport (
    CMLP_ALIASED_STRIDE_BYTES, CMLP_BF16_MIN_SIZE, CMLP_BLAS_MAX_VECTOR_BYTES,
    CMLP_CALL_MULTIPLY_ADDS, CMLP_COLUMN_BLOCK_BYTES, CMLP_COLUMN_STORAGE_BYTES,
    CMLP_COMPRESS_OVERRUN_ELEMENTS, CMLP_F32, CMLP_F64, CMLP_GRADIENT_BATCH_ROWS,
    CMLP_INFERENCE_BATCH_ROWS, CMLP_MAX_ENCODERS, CMLP_PAD, CMLP_PERIODIC,
    CMLP_PREFETCH_BATCH_BYTES, CMLP_SCALE, CMLP_SPARSE_ENTRY_COST, CMLP_SPARSE_MAX_DENSITY,
    CMLP_SPARSE_MIN_COLUMNS, CMLP_STEP_MULTIPLY_ADDS, CMLP_TIME_SLICE_SECONDS, CMLP_U8,
    CMLP_UPDATE_BLOCK_ROWS, cmlp_encoder, cmlp_entries, cmlp_input_layer, cmlp_optimizer,
    cmlp_rows, cmlp_span, dropout_of, head_of, table)
from cmlp._core.kernels import ENCODERS, INPUT_LAYERS, OPTIMIZERS
from cmlp._core.pool cimport begin_team, end_team
from cmlp._core.steps cimport (
    ALPHA, BIAS, BY_STATISTICS, MAX_TENSORS, NOT_NORMALIZED, OVER_BATCH, OVER_LAYER, SCALE, WEIGHT,
    BatchInput, DerivativeJob, InferenceJob, Job, Layer, Tensor, TrainingJob, accumulate_metrics,
    at, compute_shard_gradient, count_column_layers, count_row_blocks, differentiate, has_targets,
    infer_batch, suits_blas, sum_weights, train)

cdef extern from "clock.h" nogil:
    double cmlp_now()

include "addresses.pxi"
include "workspace.pxi"
include "inference.pxi"

cdef bint divides_all = False


def divide_all_work(bint enable):
    """Use the maximum number of threads for any amount of work: a hook for tests."""
    global divides_all
    divides_all = enable


cdef class Program:
    """A network in the form that the engine runs.

    Parameters
    ----------
    inputs : int
        Number of inputs of the network.
    layers : sequence of (specification, dict)
        The layers in order, input layers first. A specification has the attribute ``kind``,
        a key of `LAYERS`, and the attributes that this kind needs. The dict maps the names of
        the layer's tensors to the offset of their first element in `parameters`, and the names
        of its running statistics to their offset in `statistics`. Rows are padded with zeros to
        a multiple of `kernels.PAD` bytes, and tensors start on such a boundary.

        - ``"input_noise"``: ``deviation``, a standard deviation.
        - ``"input_dropout"``: ``rate``.
        - Encoders, of `kernels.ENCODERS`, after those: ``plan`` and the values of the C struct.
        - ``"dense"``: ``frozen``, whether it is normalized by running statistics in training
          too; ``units``; ``activation`` with ``code``, ``parameter`` and ``parametric``;
          ``dropout``, a rate; ``max_norm`` or None; ``normalization``: None, or with ``name``
          (``"batch"``, ``"layer"``), ``eps`` and, for batches, ``momentum``. Tensors:
          ``weight`` (inputs, padded units), ``bias`` (padded units,); ``scale`` (padded units,) if
          it is normalized, ``alpha`` (padded units,) if its activation is parametric. Statistics
          over batches: ``running_mean``, ``running_variance`` (padded units,).
    loss : cmlp.losses.Loss
        Has ``code``, -1 for a Python callable, and ``parameter``.
    parameters, statistics : ndarray of float32 or float64, shape (n_elements,)
        Blocks that start on a boundary of `kernels.PAD` bytes. They are used in place.
    rounds : bool, default False
        Whether the operands of products are rounded to bfloat16, in the layers that are large
        enough; float32 only.
    segments : sequence of (size, code_column), optional
        The columns that the encoders compute, as in the C struct `cmlp_segments`.

    Attributes
    ----------
    dtype : numpy.dtype
        dtype of the parameters and of all arithmetic.

    Raises
    ------
    KeyError
        If a layer has an unknown kind, or an offset is missing.
    ValueError
        If a block has another dtype or layout, or a tensor does not fit into it.
    """

    def __cinit__(self, int64_t inputs, layers, loss, parameters, statistics,
                  bint rounds=False, segments=()):
        self.dtype = parameters.dtype
        self.itemsize = parameters.itemsize
        self.kernels = table(self.itemsize)
        self.inputs = inputs
        self.rounds = rounds
        if rounds and self.kernels.bf16 == NULL:
            raise ValueError("rounds must be False for parameters of float64; got True")
        self.parameters, self.statistics = parameters, statistics
        self.free_workspaces = []
        self.input_layers = <cmlp_input_layer *> calloc(len(layers), sizeof(cmlp_input_layer))
        self.memory = <Layer *> calloc(len(layers), sizeof(Layer))
        self.encoder_table = <cmlp_encoder *> calloc(len(layers), sizeof(cmlp_encoder))
        if self.input_layers == NULL or self.memory == NULL or self.encoder_table == NULL:
            raise MemoryError
        self.encoders = sum(each.kind in ENCODERS for each, _ in layers)
        if self.encoders > CMLP_MAX_ENCODERS:
            raise ValueError(f"layers must have at most {CMLP_MAX_ENCODERS} encoders; "
                             f"got {self.encoders}")
        self.layers, self.references = self.memory + self.encoders, []
        for specification, offsets in layers:
            LAYERS[specification.kind](self, specification, offsets)
        if self.depth == 0:
            raise ValueError("layers must contain a dense layer; got none")
        describe_segments(self, segments)
        cdef Layer *last = &self.layers[self.depth - 1]
        self.head = head_of(last.activation, loss, last.outputs)
        if len(loss.quantiles) > 1:
            self.levels = np.zeros(last.n, self.dtype)
            self.levels[:last.outputs] = np.repeat(loss.quantiles, self.head.targets)
            self.head.levels = address_array(self.levels, 1)

    def __dealloc__(self):
        free(self.input_layers)
        free(self.encoder_table)
        free(self.memory)

    cdef Tensor describe_tensor(self, int64_t offset, int64_t rows, int64_t columns):
        # Return a tensor of `parameters`.
        cdef Tensor tensor
        memset(&tensor, 0, sizeof(tensor))
        tensor.offset, tensor.rows, tensor.columns = offset, rows, columns
        tensor.value = tensor.into = address_elements(self.parameters, offset, rows * columns)
        return tensor

    cdef bint has_randomness(self) noexcept:
        # Return whether training uses random numbers: dropout, or input layers.
        cdef int l
        for l in range(self.depth):
            if self.layers[l].dropout.dropped:
                return True
        return self.input_layer_count > 0

    cdef bint can_defer_updates(self) noexcept:
        # Return whether the next forward product can apply an update: of weights and biases alone.
        cdef int l
        for l in range(self.depth):
            if (self.layers[l].normalization != NOT_NORMALIZED
                    or self.layers[l].activation.parametric):
                return False
        return not (self.limits_norms or self.encoders)

    cdef Workspace take_workspace(self, Job *job, int64_t longest):
        # Return a free workspace if one is large enough, else a new one. Concurrent calls
        # each have their own. `longest`: entries of the longest sparse row.
        cdef Workspace w
        cdef int64_t entries = 0
        cdef bint fits
        if job.input.segments != NULL:
            entries = job.batch * self.segments.entries
        elif job.input.rows.start != NULL:
            entries = max(1, min(job.batch * longest, job.input.rows.start[job.input.rows.n]))
        while self.free_workspaces:
            w = self.free_workspaces.pop()
            fits = w.entries >= entries > 0 or w.entries == entries == 0
            if w.capacity >= job.batch and fits and (w.has_next or job.threads == 1):
                w.assign_buffers(job)
                return w
        return allocate_workspace(job, self.memory, self.inputs, entries)

    cdef void release_workspace(self, Workspace workspace) noexcept:
        # Keep a workspace for later calls, and detach its layers from the gradients and the
        # optimizer state of this call. Inference attaches none and appends to the list itself.
        cdef int l
        for l in range(self.encoders + self.depth):
            workspace.layers[l].tensors = self.memory[l].tensors
            workspace.layers[l].momentum = self.memory[l].momentum
            workspace.layers[l].dropout = self.memory[l].dropout
        self.free_workspaces.append(workspace)

    cdef void plan_job(self, Job *job, const cmlp_rows *rows, int64_t batch,
                       int64_t entries) noexcept:
        # Fill in everything that follows from the network and the shape of the samples.
        # `entries`: of all sparse rows together; 0: the rows are dense.
        cdef double first = self.layers[0].inputs
        cdef bint suits = False
        cdef int l
        memset(job, 0, sizeof(Job))
        job.kernels, job.depth, job.head = self.kernels, self.depth, self.head
        job.encoders = self.encoders
        job.itemsize = self.itemsize
        job.input.rows = rows[0]
        job.total = rows.n
        job.batch = min(batch, rows.n)
        if self.segments.entries:
            job.input.segments, first = &self.segments, self.segments.entries
        if entries:
            first = min(first, CMLP_SPARSE_ENTRY_COST * <double> entries / rows.n)
        for l in range(self.depth):
            if not self.layers[l].rounds:
                suits = suits or suits_blas(job.batch, self.layers[l].n, self.layers[l].inputs)
            job.work += (first if l == 0 else self.layers[l].inputs) * self.layers[l].n
        job.first_work = first * self.layers[0].n
        job.threads = 1
        job.divides_all = divides_all
        job.blas = hooks()
        if (not suits or job.blas.sgemm == NULL or self.normalizes_batches
                or self.kernels.vector_bytes > CMLP_BLAS_MAX_VECTOR_BYTES):
            job.blas = NULL

    cdef Workspace prepare_job(self, Job *job, const cmlp_rows *rows, Targets targets, order,
                               int64_t batch, int64_t longest, bint drops, int threads,
                               bint trains):
        # Fill in a job over these samples, in this order if one is given. `drops`: whether
        # dropout is active. `threads`: upper limit.
        cdef const uint32_t[::1] index
        self.plan_job(job, rows, batch,
                      rows.start[rows.n] - rows.start[0] if rows.start != NULL else 0)
        job.drops, job.trains = drops, trains
        if order is not None:
            index = order
            job.total = index.shape[0]
            if job.total:  # a rank may have no samples of a batch
                job.input.order = &index[0]
            job.input.prefetches = job.batch * rows.width * 8 <= CMLP_PREFETCH_BATCH_BYTES
        if targets is not None:
            job.targets = targets.view
        job.threads = self.choose_threads(job, threads, trains)
        return self.take_workspace(job, longest)

    cdef Workspace prepare_training(self, TrainingJob *training, Rows rows, Targets targets,
                                    order, int64_t batch, bint drops, bint is_small,
                                    int threads):
        # Fill in a training job. `drops`: whether dropout and input layers are active. `is_small`:
        # whether the update may share a pass with the forward product if the batch is small.
        cdef Job *job = &training.job
        cdef Workspace workspace
        memset(training, 0, sizeof(TrainingJob))
        workspace = self.prepare_job(job, &rows.view, targets, order, batch, rows.longest, drops,
                                     threads, True)
        training.is_small = (is_small and workspace.has_previous and not self.rounds
                             and job.batch <= self.kernels.shared_pass_rows)
        training.column_layers = count_column_layers(training)
        training.limits_norms = self.limits_norms
        training.limit = job.total
        training.optimizer.accumulate = 1
        training.scales_late = self.rounds
        training.first_trained = find_lowest_tensor(self)
        begin_running(job)
        if drops:
            job.input.layers = self.input_layers
            job.input.layer_count = self.input_layer_count
        return workspace

    cdef int choose_threads(self, const Job *job, int threads, bint trains) noexcept:
        # Return the number of threads of this job, at most `threads`: a step, and the whole
        # call, must have enough work for each of them. One row is not divided in inference.
        cdef double most = job.total * job.work / CMLP_CALL_MULTIPLY_ADDS
        if trains:
            most = min(most, job.batch * job.work / CMLP_STEP_MULTIPLY_ADDS)
            most = min(most, <double> count_blocks(self, job.batch))
        if job.divides_all:
            most = threads
        if not trains:
            most = min(most, <double> count_row_blocks(job, job.batch))
        return max(1, <int> min(<double> threads, most))

    cdef char *address_block(self, str name, block) except NULL:
        # Return the address of a block laid out like `parameters`.
        if block.dtype != self.dtype or block.shape != self.parameters.shape:
            raise ValueError(f"{name} must be {self.dtype} of shape {self.parameters.shape}; "
                             f"got {block.dtype} of shape {block.shape}")
        return address_array(block, 1)

    def gradient(self, Rows rows not None, Targets targets not None, gradient_block, int threads,
                 double momentum=0):
        """Add the gradient of the mean loss over all samples to a block.

        Dropout and input layers are inactive.

        Parameters
        ----------
        rows : Rows
        targets : Targets
        gradient_block : ndarray, shape of `parameters`
        threads : int
            Upper limit.
        momentum : float, default 0
            Batch normalization uses the statistics of all samples; the running statistics move
            by this fraction of the difference.

        Returns
        -------
        float
            The mean loss.
        """
        cdef TrainingJob training
        cdef Job *job = &training.job
        cdef char *into = self.address_block("gradient_block", gradient_block)
        cdef Workspace workspace
        cdef int64_t batch = min(rows.view.n, CMLP_GRADIENT_BATCH_ROWS)
        if self.normalizes_batches:
            batch = rows.view.n
        workspace = self.prepare_training(&training, rows, targets, None, batch, False, False,
                                          threads)
        try:
            attach_gradient(job, into, momentum)
            training.update_factor = training.steps = 1
            training.limits_norms = False
            training.whole_weight = sum_weights(job, 0, job.total)
            job.deadline = INFINITY
            run_training(&training)
        finally:
            self.release_workspace(workspace)
        return job.loss / training.whole_weight if training.whole_weight > 0 else 0.0

    def infer(self, Rows rows not None, Targets targets, order, out, int threads,
              bint check_finite=False, MetricSums sums=None, tick=None, int layers=0):
        """Compute the outputs of samples, their loss and metrics.

        Parameters
        ----------
        rows : Rows
        targets : Targets or None
            None: outputs only.
        order : ndarray of uint32 or None
            The samples to take, in this order; None: all, as stored.
        out : ndarray, shape (n_samples, n_outputs), or None
            Receives the outputs; C-contiguous, of the parameters' dtype. None: the outputs are
            not stored.
        threads : int
            Upper limit.
        check_finite : bool, default False
            Whether to stop at samples with NaN or infinity, and to look for such parameters.
            Cheaper than a separate pass over the samples, because they are in the cache.
        sums : MetricSums, optional
            Receives the metric sums; requires targets.
        tick : callable, optional
            Called with the number of samples processed, after each time slice.
        layers : int, default 0
            Number of layers to compute, whose last one gives the outputs; 0: all.

        Returns
        -------
        float or None
            The mean loss; 0 without targets; with `check_finite`, None if a sample and NaN if a
            parameter is not finite.
        """
        cdef InferenceJob inference
        cdef Job *job = &inference.job
        cdef Workspace workspace
        memset(&inference, 0, sizeof(inference))
        workspace = self.prepare_job(job, &rows.view, targets, order, CMLP_INFERENCE_BATCH_ROWS,
                                     rows.longest, False, threads, False)
        try:
            inference.layers = layers or self.depth
            if out is not None:
                inference.out = address_array(out, 2)
            if sums is not None:
                job.sums = &sums.sums
            if check_finite:
                begin_checks(&inference)
                if not job.checks_sums and not self.is_finite():
                    return NAN
            run_inference(&inference, tick)
        finally:
            self.free_workspaces.append(workspace)
        if inference.has_non_finite:
            return None
        if job.has_non_finite_sums and not self.is_finite():
            return NAN
        return compute_mean_loss(job)

    def is_finite(self):
        """Return whether all parameters and running statistics are finite."""
        for block in (self.parameters, self.statistics):
            if block.size and not self.are_finite(address_array(block, 1), block.size):
                return False
        return True

    cdef bint are_finite(self, const void *data, int64_t count) noexcept:
        # Return whether `count` elements of the parameters' dtype are finite.
        cdef cmlp_rows row
        memset(&row, 0, sizeof(row))
        row.kind = CMLP_F32 if self.itemsize == 4 else CMLP_F64
        row.n, row.width, row.data = 1, count, data
        return self.kernels.find_not_finite(&row) < 0

    def plan(self, int64_t batch_size, int threads):
        """Return the threads and products that the engine chooses for batches of dense samples.

        It assumes a call with many batches; one with few may use fewer threads.

        Parameters
        ----------
        batch_size : int
        threads : int
            Upper limit.

        Returns
        -------
        threads : int
            Number of threads that it uses in training.
        products : list of str
            Implementation of each layer's products: ``"kernels"``, ``"BLAS"``, or
            ``"kernels, bfloat16"`` or ``"kernels, update and forward in one pass"``.
        """
        cdef Job job
        cdef cmlp_rows rows
        cdef Layer *layer
        cdef int l
        memset(&rows, 0, sizeof(rows))
        rows.n, rows.width = batch_size, self.inputs
        self.plan_job(&job, &rows, batch_size, 0)
        job.total = 1 << 30  # many batches
        is_shared = (batch_size <= self.kernels.shared_pass_rows and not self.rounds
                     and self.can_defer_updates())
        products = []
        for l in range(self.depth):
            layer = &self.layers[l]
            if layer.rounds:
                products.append("kernels, bfloat16")
            elif job.blas != NULL and suits_blas(batch_size, layer.n, layer.inputs):
                products.append("BLAS")
            else:
                products.append("kernels" + ", update and forward in one pass" * is_shared)
        return self.choose_threads(&job, threads, True), products

    def predict_few(self, array):
        """Return the outputs of a few samples with little overhead, or None.

        Parameters
        ----------
        array : object
            A 2-D buffer of uint8, float32 or float64 with contiguous rows of the network's
            width, and with too little work for a second thread.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs), or None
            None for any other object, and if an output or a parameter is not finite; the caller
            converts it for `infer`, or reports the error.

        Raises
        ------
        ValueError
            If the array holds NaN, infinity, or a number beyond the range of the network's dtype.
        """
        cdef Py_buffer buffer
        cdef cmlp_rows rows
        if self.reads_codes or not hold_rows(array, self.inputs, &buffer, &rows):
            return None
        try:
            return self.infer_few(&rows)
        finally:
            PyBuffer_Release(&buffer)

    cdef object infer_few(self, const cmlp_rows *rows):
        cdef InferenceJob inference
        cdef Workspace workspace
        if rows.n > CMLP_INFERENCE_BATCH_ROWS:
            return None
        memset(&inference, 0, sizeof(inference))
        workspace = self.prepare_job(&inference.job, rows, None, None, CMLP_INFERENCE_BATCH_ROWS, 0,
                                     False, 2, False)
        try:
            if inference.job.threads > 1:
                return None
            inference.layers = self.depth
            out = np.empty((rows.n, self.head.outputs), self.dtype)
            inference.out = address_array(out, 2)
            begin_checks(&inference)
            if not inference.job.checks_sums and not self.is_finite():
                return None
            run_inference(&inference, None)
            if inference.has_non_finite:
                raise_not_finite(rows, self.kernels.find_not_finite(rows), "X")
            is_finite = self.are_finite(inference.out, rows.n * self.head.outputs)
            if not is_finite or inference.job.has_non_finite_sums and not self.is_finite():
                return None
            return out
        finally:
            self.free_workspaces.append(workspace)


include "layers.pxi"
include "calls.pxi"
include "gradients.pxi"

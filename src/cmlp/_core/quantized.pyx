"""`QuantizedProgram`: a network of 8-bit integers in the form that the engine predicts with.

csrc/quantized_table.h states the scheme. Each thread takes a share of the rows and computes all
layers for a batch of them at a time. Between two layers, activations are operands, 8-bit integers;
a layer whose activation is piecewise linear computes them directly from its sums, any other one
through float32 pre-activations, by the kernels of float32 networks.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from cpython.exc cimport PyErr_CheckSignals

import numpy as np

from cmlp._core.inputs cimport (
    MetricSums, Rows, Targets, hold_rows, raise_changed_columns, raise_not_finite)
from cmlp._core.kernels cimport (
    CMLP_ALIASED_STRIDE_BYTES, CMLP_F32, CMLP_PAD, CMLP_QUANTIZED_BATCH_ROWS,
    CMLP_QUANTIZED_MAX_INPUTS, CMLP_QUANTIZED_ROUND_ROWS, CMLP_QUANTIZED_SUM_MAX,
    CMLP_QUANTIZED_THREAD_MULTIPLY_ADDS, CMLP_TIME_SLICE_SECONDS, activation_of,
    cmlp_activation, cmlp_entries, cmlp_head, cmlp_kernels, cmlp_quantized_kernels,
    cmlp_quantized_weights, cmlp_quantizer, cmlp_rows, cmlp_span, head_of, table)
from cmlp._core.pool cimport Range, begin_team, cmlp_team, end_team, run_phase, split_range
from cmlp._core.program cimport address_array

cdef extern from "clock.h" nogil:
    double cmlp_now()

# Limits of a layer; csrc/quantized_table.h has the reason.
MAX_INPUTS = CMLP_QUANTIZED_MAX_INPUTS
SUM_MAX = CMLP_QUANTIZED_SUM_MAX

# Activations that are clip(z, low, high), with z multiplied by slope where it is negative ->
# function of the parameter that returns slope, low and high.
PIECEWISE_LINEAR = {
    "identity": lambda parameter: (1.0, -INFINITY, INFINITY),
    "relu": lambda parameter: (1.0, 0.0, INFINITY),
    "leaky_relu": lambda parameter: (parameter, -INFINITY, INFINITY),
    "hard_tanh": lambda parameter: (1.0, -1.0, 1.0),
}

include "quantized_batch.pxi"


cdef class Memory:
    """Memory that starts on a boundary of CMLP_PAD bytes; zero at first."""

    cdef char *data
    cdef int64_t size

    def __cinit__(self, int64_t size):
        self.size = max(size, 1)
        if posix_memalign(<void **> &self.data, CMLP_PAD, self.size) != 0:
            self.data = NULL
            raise MemoryError(f"cannot allocate {size} bytes")
        memset(self.data, 0, self.size)

    def __dealloc__(self):
        free(self.data)


cdef class QuantizedProgram:
    """A network of 8-bit integers in the form that the engine predicts with.

    Parameters
    ----------
    layers : sequence of QuantizedLayer
        As in _model/quantized.py. Their arrays are copied.
    """

    cdef const cmlp_kernels *kernels
    cdef QuantizedLayer *layers
    cdef cmlp_quantizer first   # of the rows
    cdef int depth
    cdef int64_t inputs
    cdef int64_t operands       # bytes of the widest layer's inputs, for one row
    cdef int64_t numbers        # elements of the widest layer's pre-activations
    cdef double work            # multiply-adds for one row
    cdef list memory            # that the layers use
    cdef list free_workspaces

    def __cinit__(self, layers):
        self.kernels = table(4)
        self.memory, self.free_workspaces = [], []
        self.layers = <QuantizedLayer *> calloc(len(layers), sizeof(QuantizedLayer))
        if self.layers == NULL:
            raise MemoryError
        self.first = describe_quantizer(layers[0].inputs)
        self.inputs = layers[0].weight.shape[1]
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            self.add_layer(layer, following)

    def __dealloc__(self):
        free(self.layers)

    cdef char *take(self, int64_t size) except NULL:
        # Return memory that lives as long as the program.
        cdef Memory memory = Memory(size)
        self.memory.append(memory)
        return memory.data

    cdef float *copy_numbers(self, array, int64_t n) except NULL:
        # Return an array as float32 with n elements, padded with zeros.
        cdef const float[::1] values = np.ascontiguousarray(array, np.float32)
        cdef float *copy = <float *> self.take(n * sizeof(float))
        memcpy(copy, &values[0], values.shape[0] * sizeof(float))
        return copy

    cdef int add_layer(self, layer, following) except -1:
        # Append a layer; `following` is the next one or None.
        cdef QuantizedLayer *to = &self.layers[self.depth]
        cdef const cmlp_quantized_kernels *quantized = self.kernels.quantized
        cdef const int8_t[:, ::1] weight = layer.weight
        cdef const int32_t[::1] start = layer.compute_start()
        cdef int64_t outputs = weight.shape[0], inputs = weight.shape[1], n
        cdef int64_t lanes = CMLP_PAD // sizeof(float), width
        cdef char *panels
        cdef char *starts
        n = round_up(outputs, lanes)
        to.weights.outputs, to.weights.n = outputs, n
        to.weights.groups = (inputs + quantized.group - 1) // quantized.group
        # A row of operands is written in whole vectors, at most CMLP_PAD of them beyond its end.
        to.ldq = round_up(round_up(inputs, lanes), CMLP_PAD)
        width = to.ldq * quantized.operand_bytes
        if width % CMLP_ALIASED_STRIDE_BYTES == 0:
            to.ldq += CMLP_PAD
        panels = self.take(4 * n * to.weights.groups)
        quantized.pack(outputs, inputs, &weight[0, 0], n, to.weights.groups, panels)
        starts = self.take(n * sizeof(int32_t))
        memcpy(starts, &start[0], outputs * sizeof(int32_t))
        to.weights.panels, to.weights.start = panels, <const int32_t *> starts
        to.activation.kind = layer.activation.code
        to.activation.parameter = layer.activation.parameter
        if layer.normalization is not None:
            to.is_normalized, to.epsilon = True, layer.normalization.eps
            to.scale = self.copy_numbers(layer.normalization.scale, n)
            to.shift = self.copy_numbers(layer.normalization.shift, n)
        to.is_piecewise_linear = layer.is_piecewise_linear
        if following is not None:
            to.next = describe_quantizer(following.inputs)
            if to.is_piecewise_linear:
                slope, low, high = PIECEWISE_LINEAR[layer.activation.name](
                    layer.activation.parameter)
                to.next.slope = slope
                to.next.low = max(to.next.low, <float> low * to.next.inverse)
                to.next.high = min(to.next.high, <float> high * to.next.inverse)
        is_fused = following is not None and to.is_piecewise_linear
        to.weights.factor = self.copy_numbers(
            layer.compute_factor(following.inputs if is_fused else None), n)
        self.operands = max(self.operands, to.ldq * quantized.operand_bytes)
        self.numbers = max(self.numbers, n)
        self.work += <double> inputs * n
        self.depth += 1
        return 0

    cdef int64_t plan_workspace(self, QuantizedJob *job, int64_t longest) noexcept:
        # Set the sizes of a thread's workspace; return its bytes.
        cdef int64_t entries = 0
        if job.rows.start != NULL:
            entries = max(1, min(job.capacity * longest, job.rows.start[job.rows.n]))
        job.entries, job.operands = entries, job.capacity * self.operands
        return (2 * job.operands + round_up(job.capacity * sizeof(cmlp_span), CMLP_PAD)
                + 2 * round_up(entries * sizeof(float), CMLP_PAD)
                + job.capacity * self.numbers * sizeof(float))

    cdef Memory prepare_job(self, QuantizedJob *job, const cmlp_rows *rows, int64_t longest,
                            int threads):
        # Fill in a job; return its workspace. Concurrent calls each have their own.
        cdef Memory workspace
        memset(job, 0, sizeof(QuantizedJob))
        job.kernels, job.layers, job.depth = self.kernels, self.layers, self.depth
        job.first, job.rows = &self.first, rows[0]
        job.capacity = min(CMLP_QUANTIZED_BATCH_ROWS, rows.n)
        # Padded, so that no two threads share a pair of cache lines.
        job.block_bytes = round_up(self.plan_workspace(job, longest), 2 * CMLP_PAD)
        while self.free_workspaces:
            workspace = self.free_workspaces.pop()
            if workspace.size >= threads * job.block_bytes:
                job.memory = workspace.data
                return workspace
        workspace = Memory(threads * job.block_bytes)
        job.memory = workspace.data
        return workspace

    cdef int choose_threads(self, const cmlp_rows *rows, int threads) noexcept:
        # Return the number of threads for these rows, at most `threads`.
        cdef double most = rows.n * self.work / CMLP_QUANTIZED_THREAD_MULTIPLY_ADDS
        return max(1, <int> min(<double> threads, min(most, <double> rows.n)))

    def infer(self, Rows rows not None, float[:, ::1] out not None, int threads, tick=None):
        """Compute the outputs of samples.

        Parameters
        ----------
        rows : Rows
            At least one, of the network's width.
        out : ndarray of float32, shape (n_samples, n_outputs)
            Receives the outputs.
        threads : int
            Upper limit.
        tick : callable, optional
            Called with the number of samples processed, after each time slice.

        Returns
        -------
        bool
            Whether all samples are finite; if not, the outputs are not complete.

        Raises
        ------
        ValueError
            If the column indices of sparse rows change meanwhile.
        """
        cdef QuantizedJob job
        cdef Memory workspace
        cdef double deadline = 0
        cdef bint continues = True
        threads = self.choose_threads(&rows.view, threads)
        workspace = self.prepare_job(&job, &rows.view, rows.longest, threads)
        job.out = &out[0, 0]
        try:
            while continues:
                with nogil:
                    job.team = begin_team(threads)
                    continues = infer_slice(&job, threads, &deadline)
                    end_team(job.team)
                if tick is not None:
                    tick(job.done)
                PyErr_CheckSignals()
        finally:
            self.free_workspaces.append(workspace)
        if job.has_invalid_columns:
            raise_changed_columns(rows.view.width)
        return not job.has_not_finite

    def plan(self, int64_t batch_size, int threads):
        """Return the threads and products for a batch of dense samples; see `Program.plan`."""
        cdef cmlp_rows rows
        cdef int l
        memset(&rows, 0, sizeof(rows))
        rows.n = batch_size
        products = []
        for l in range(self.depth):
            is_direct = self.layers[l].is_piecewise_linear and l < self.depth - 1
            products.append("8-bit integers" + ", activation in float32" * (not is_direct))
        return self.choose_threads(&rows, threads), products

    def predict_few(self, array):
        """Return the outputs of a few samples with little overhead, or None.

        Arguments, return value and errors are those of `Program.predict_few`.
        """
        cdef Py_buffer buffer
        cdef cmlp_rows rows
        if not hold_rows(array, self.inputs, &buffer, &rows):
            return None
        try:
            return self.infer_few(&rows)
        finally:
            PyBuffer_Release(&buffer)

    cdef object infer_few(self, const cmlp_rows *rows):
        cdef QuantizedJob job
        cdef Memory workspace
        cdef double deadline = 0
        if rows.n > CMLP_QUANTIZED_BATCH_ROWS or self.choose_threads(rows, 2) > 1:
            return None
        out = np.empty((rows.n, self.layers[self.depth - 1].weights.outputs), np.float32)
        workspace = self.prepare_job(&job, rows, 0, 1)
        try:
            job.out = <float *> address_array(out, 2)
            infer_slice(&job, 1, &deadline)
        finally:
            self.free_workspaces.append(workspace)
        if job.has_not_finite:
            raise_not_finite(rows, self.kernels.find_not_finite(rows), "X")
        return out if are_finite(out) else None


cdef bint are_finite(out):
    # Return whether all elements of an array of float32 are finite.
    cdef cmlp_rows row
    memset(&row, 0, sizeof(row))
    row.kind, row.n, row.width = CMLP_F32, 1, out.size
    row.data = address_array(out, 2)
    return table(4).find_not_finite(&row) < 0


cdef cmlp_quantizer describe_quantizer(inputs):
    # Return the compiled form of a Quantizer (_model/quantized.py).
    cdef cmlp_quantizer quantizer
    quantizer.inverse = inputs.inverse
    quantizer.slope = 1
    quantizer.zero_point = inputs.zero_point
    quantizer.low, quantizer.high = -inputs.zero_point, 255 - inputs.zero_point
    quantizer.takes_bytes = inputs.takes_bytes
    return quantizer


def sum_products(weight, start, operands):
    """Return the integers of a layer's pre-activations; for tests.

    Parameters
    ----------
    weight : ndarray of int8, shape (outputs, inputs)
    start : ndarray of int32, shape (outputs,)
    operands : ndarray of uint8, shape (m, inputs)

    Returns
    -------
    ndarray of int32, shape (m, outputs)
        ``start + operands weight^T``.
    """
    cdef const cmlp_quantized_kernels *quantized = table(4).quantized
    cdef const int8_t[:, ::1] w = weight
    cdef int64_t outputs = w.shape[0], inputs = w.shape[1], m = len(operands)
    cdef int64_t n = round_up(outputs, 16), ldq = round_up(inputs, CMLP_PAD)
    cdef int64_t groups = (inputs + quantized.group - 1) // quantized.group
    cdef Memory panels = Memory(4 * n * groups), starts = Memory(n * sizeof(int32_t))
    cdef Memory q = Memory(m * ldq * quantized.operand_bytes)
    cdef const int32_t[::1] begin = start
    sums = np.empty((m, n), np.int32)
    cdef int32_t[:, ::1] into = sums
    cdef cmlp_quantizer quantizer = cmlp_quantizer(255, 1, 0, 255, 0, True)
    cdef cmlp_quantized_weights weights
    cdef Rows rows = Rows(operands)
    memcpy(starts.data, &begin[0], outputs * sizeof(int32_t))
    quantized.pack(outputs, inputs, &w[0, 0], n, groups, panels.data)
    weights.outputs, weights.n, weights.groups = outputs, n, groups
    weights.panels, weights.start = panels.data, <const int32_t *> starts.data
    weights.factor = NULL
    quantized.quantize_rows(&quantizer, &rows.view, 0, m, q.data, ldq)
    quantized.sum(&weights, m, q.data, ldq, &into[0, 0], n)
    return sums[:, :outputs]


def compute_layer(activation, int outputs, float[:, ::1] x, float[:, ::1] w, float[::1] bias,
                  float[:, ::1] out, normalization=None):
    """Compute a layer in float32 for calibration.

    Parameters
    ----------
    activation : cmlp.activations.Activation
    outputs : int
        Number of units without padding.
    x : ndarray, shape (m, columns)
        The inputs; columns beyond the rows of w are ignored.
    w : ndarray, shape (inputs, n), padded
    bias : ndarray, shape (n,), padded
    out : ndarray, shape (at least m, n), padded
        Its first m rows receive the activations.
    normalization : (scale, shift, eps), optional
        Of a layer normalization; arrays of shape (n,), padded.
    """
    cdef const cmlp_kernels *kernels = table(4)
    cdef cmlp_activation f = activation_of(activation.code, activation.parameter)
    cdef int64_t m = x.shape[0], n = w.shape[1]
    cdef float[::1] scale, shift
    cdef const float *scales = NULL
    cdef const float *shifts = NULL
    cdef double epsilon = 0
    if normalization is not None:
        scale, shift, epsilon = normalization
        scales, shifts = &scale[0], &shift[0]
    with nogil:
        kernels.affine(m, n, w.shape[0], &x[0, 0], x.shape[1], &w[0, 0], n, &bias[0], NULL,
                       &out[0, 0], n)
        if scales != NULL:
            kernels.normalize_layer(m, n, outputs, epsilon, scales, shifts, &out[0, 0], n, NULL,
                                    NULL)
        kernels.activate(&f, m, n, outputs, &out[0, 0], n, NULL)


def accumulate_metrics(activation, loss, float[:, ::1] out, Targets targets not None,
                       MetricSums sums not None):
    """Add all samples to the sums of metrics.

    Parameters
    ----------
    activation : cmlp.activations.Activation
        Of the last layer.
    loss : cmlp.losses.Loss
    out : ndarray, shape (n_samples, n_outputs)
        The outputs; at least one row.
    targets : Targets
    sums : MetricSums
    """
    cdef cmlp_activation f = activation_of(activation.code, activation.parameter)
    cdef cmlp_head head = head_of(f, loss, out.shape[1])
    cdef const cmlp_kernels *kernels = table(4)
    with nogil:
        kernels.accumulate_metrics(&head, &targets.view, NULL, out.shape[0], &out[0, 0],
                                   out.shape[1], &sums.sums)

# Inference in 8-bit integers: one call, its threads, and the layers of a batch of rows.

cdef struct QuantizedLayer:
    cmlp_quantized_weights weights
    cmlp_activation activation
    cmlp_quantizer next         # of the activations, the next layer's inputs
    bint is_piecewise_linear    # whether the next layer's inputs are computed from the sums
    bint is_normalized          # over the layer
    double epsilon
    const float *scale          # (n,)
    const float *shift          # (n,)
    int64_t ldq                 # leading dimension of the inputs


cdef struct QuantizedJob:
    const cmlp_kernels *kernels
    const QuantizedLayer *layers
    const cmlp_quantizer *first  # of the rows
    int depth
    cmlp_rows rows
    float *out                  # (rows, outputs) of the caller
    cmlp_team *team             # NULL: the caller alone
    char *memory                # workspaces, one for each block of a round
    int64_t block_bytes         # size of each
    int64_t capacity, entries   # rows, and entries of sparse rows, of a batch
    int64_t operands            # bytes of a buffer for operands
    int64_t done, size          # rows that are done, rows of this round
    bint has_not_finite         # a row holds NaN or infinity
    bint has_invalid_columns    # the column indices of a sparse row have changed


cdef struct Buffers:
    # The workspace of a block.
    char *inputs                # operands of a layer
    char *outputs               # operands of the next layer
    float *numbers              # pre-activations of a layer
    cmlp_entries entries


cdef int64_t round_up(int64_t size, int64_t unit) noexcept nogil:
    return (size + unit - 1) // unit * unit


cdef Buffers divide_workspace(const QuantizedJob *job, int64_t block) noexcept nogil:
    # Return the buffers of a block.
    cdef char *memory = job.memory + block * job.block_bytes
    cdef Buffers buffers
    buffers.inputs = memory
    buffers.outputs = memory + job.operands
    memory += 2 * job.operands
    buffers.entries.spans = <cmlp_span *> memory
    memory += round_up(job.capacity * sizeof(cmlp_span), CMLP_PAD)
    buffers.entries.column = <int32_t *> memory
    memory += round_up(job.entries * sizeof(int32_t), CMLP_PAD)
    buffers.entries.value = memory
    buffers.entries.marks = NULL
    buffers.numbers = <float *> (memory + round_up(job.entries * sizeof(float), CMLP_PAD))
    return buffers


cdef void read_quantized(QuantizedJob *job, Buffers *buffers, int64_t first,
                         int64_t m) noexcept nogil:
    # Quantize rows first .. first + m.
    cdef const cmlp_quantized_kernels *quantized = job.kernels.quantized
    cdef cmlp_rows rows = job.rows
    rows.n = m
    if rows.start != NULL:
        rows.start += first
    else:
        rows.data = <const char *> rows.data + first * rows.stride
    if job.kernels.find_not_finite(&rows) >= 0:
        job.has_not_finite = True
    if rows.start == NULL:
        quantized.quantize_rows(job.first, &rows, 0, m, buffers.inputs, job.layers[0].ldq)
        return
    if not job.kernels.gather_sparse(&rows, NULL, 0, m, &buffers.entries):
        job.has_invalid_columns = True
    quantized.quantize_entries(job.first, &buffers.entries, m, rows.width, buffers.inputs,
                               job.layers[0].ldq)


cdef void compute_numbers(const QuantizedJob *job, const QuantizedLayer *layer, Buffers *buffers,
                          int64_t m) noexcept nogil:
    # Compute a layer's activations of m rows in float32.
    cdef const cmlp_kernels *kernels = job.kernels
    cdef int64_t n = layer.weights.n
    kernels.quantized.dequantize(&layer.weights, m, buffers.inputs, layer.ldq, buffers.numbers, n)
    if layer.is_normalized:
        kernels.normalize_layer(m, n, layer.weights.outputs, layer.epsilon, layer.scale,
                                layer.shift, buffers.numbers, n, NULL, NULL)
    kernels.activate(&layer.activation, m, n, layer.weights.outputs, buffers.numbers, n, NULL)


cdef void infer_rows(QuantizedJob *job, Buffers buffers, int64_t first, int64_t m) noexcept nogil:
    # Compute the outputs of rows first .. first + m.
    cdef const cmlp_quantized_kernels *quantized = job.kernels.quantized
    cdef const QuantizedLayer *layer
    cdef int64_t outputs, next, i
    cdef int l
    read_quantized(job, &buffers, first, m)
    for l in range(job.depth - 1):
        layer, next = &job.layers[l], job.layers[l + 1].ldq
        if layer.is_piecewise_linear:
            quantized.requantize(&layer.weights, &layer.next, m, buffers.inputs, layer.ldq,
                                 buffers.outputs, next)
        else:
            compute_numbers(job, layer, &buffers, m)
            quantized.quantize(&layer.next, m, layer.weights.n, buffers.numbers, layer.weights.n,
                               buffers.outputs, next)
        buffers.inputs, buffers.outputs = buffers.outputs, buffers.inputs
    layer = &job.layers[job.depth - 1]
    compute_numbers(job, layer, &buffers, m)
    outputs = layer.weights.outputs
    for i in range(m):
        memcpy(job.out + (first + i) * outputs, buffers.numbers + i * layer.weights.n,
               outputs * sizeof(float))


cdef void infer_quantized_block(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: compute the outputs of a block of the rows of a round.
    cdef QuantizedJob *job = <QuantizedJob *> arg
    cdef Range share = split_range(job.size, 1, block, blocks)
    cdef int64_t first = job.done + share.first, end = first + share.size, m
    while first < end:
        m = min(job.capacity, end - first)
        infer_rows(job, divide_workspace(job, block), first, m)
        first += m


cdef bint infer_slice(QuantizedJob *job, int threads, double *deadline) noexcept nogil:
    # Compute rounds until all rows are done or the time slice ends; return whether to continue.
    while True:
        job.size = min(job.rows.n - job.done, threads * CMLP_QUANTIZED_ROUND_ROWS)
        run_phase(job.team, infer_quantized_block, job, threads)
        job.done += job.size
        if job.done >= job.rows.n or job.has_not_finite or job.has_invalid_columns:
            return False
        if deadline[0] == 0:
            deadline[0] = cmlp_now() + CMLP_TIME_SLICE_SECONDS
        elif cmlp_now() > deadline[0]:
            deadline[0] = 0
            return True

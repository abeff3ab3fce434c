# Stage 2 of a step: one layer forward. By rows: m samples, all columns. By columns: n columns,
# all samples of the batch.

cdef bint suits_blas(int64_t m, int64_t n, int64_t k) noexcept nogil:
    return m >= CMLP_BLAS_MIN_ROWS and <double> m * n * k >= CMLP_BLAS_MULTIPLY_ADDS


cdef inline bint uses_blas(const Job *job, int64_t m, int64_t n, int64_t k) noexcept nogil:
    return job.blas != NULL and suits_blas(m, n, k)


cdef inline char *element(const Job *job, const void *buffer, const Layer *layer, int64_t row,
                          int64_t column) noexcept nogil:
    # Return the address of an element of a layer's buffer, or NULL if the buffer is NULL.
    return at(buffer, row * layer.ld + column, job.itemsize) if buffer != NULL else NULL


cdef inline Matrix get_output(const Layer *layer) noexcept nogil:
    return Matrix(layer.output, layer.ld)


cdef inline char *at_unit(const Job *job, const void *units, int64_t ld, int64_t row,
                          int64_t column) noexcept nogil:
    # Return the address of the units that begin with an even column of a row.
    return at(units, row * ld + column // 2 * job.kernels.bf16.units_per_pair, job.itemsize)


cdef void round_input(Job *job, Layer *layer, Matrix a, int64_t row, int64_t m, int64_t column,
                      int64_t n) noexcept nogil:
    # Round a block (m, n) of the layer's input a to bfloat16.
    job.kernels.bf16.round_rows(m, n, at(a.data, row * a.ld + column, job.itemsize), a.ld,
                                at_unit(job, layer.input_units, layer.input_ld, row, column),
                                layer.input_ld)


cdef const cmlp_activation *get_fused_activation(const Job *job, int l) noexcept nogil:
    # Return the activation function of layer l if the layer's product applies it, otherwise NULL.
    cdef const Layer *layer = &job.layers[l]
    if (l == job.depth - 1 or layer.normalization != NOT_NORMALIZED or job.checks_sums
            or (job.drops and layer.dropout.dropped) or job.blas != NULL
            or reads_sparse_rows(job, l) or layer.activation.parametric
            or not job.kernels.is_fused(layer.activation.kind)):
        return NULL
    return &layer.activation


cdef void round_affine(Job *job, int l, int64_t first, int64_t m, int64_t column, int64_t n,
                       const cmlp_activation *f) noexcept nogil:
    # Compute a block (m, n) of layer l's pre-activations, or activations, from its rounded input.
    cdef int s = job.itemsize
    cdef Layer *layer = &job.layers[l]
    cdef char *w = at(layer.tensors[WEIGHT].value, column, s)
    cdef char *start = at(layer.start, column, s)
    if reads_sparse_rows(job, l):
        job.kernels.bf16.sparse_affine(first, m, n, layer.inputs, &job.input.entries, w, layer.n,
                                       start, element(job, layer.output, layer, 0, column),
                                       layer.ld)
    else:
        job.kernels.bf16.affine(m, n, layer.inputs,
                                at_unit(job, layer.input_units, layer.input_ld, first, 0),
                                layer.input_ld, w, layer.n, start, f,
                                element(job, layer.output, layer, first, column), layer.ld)


cdef void affine_rows(Job *job, int l, Matrix a, int64_t first, int64_t m,
                      const cmlp_activation *f) noexcept nogil:
    # Compute rows first .. first + m of layer l's pre-activations from its input a, or, with f, the
    # function of get_fused_activation, of its activations.
    cdef int s = job.itemsize
    cdef Layer *layer = &job.layers[l]
    cdef const void *w = layer.tensors[WEIGHT].value
    cdef const char *x = at(a.data, first * a.ld, s)
    cdef char *z = at(layer.output, first * layer.ld, s)
    cdef int64_t i
    if layer.rounds:
        round_affine(job, l, first, m, 0, layer.n, f)
        return
    if reads_sparse_rows(job, l):
        job.kernels.sparse_affine(first, m, layer.n, layer.inputs, &job.input.entries, w, layer.n,
                                  layer.start, layer.output, layer.ld)
        return
    if uses_blas(job, m, layer.n, layer.inputs):
        for i in range(m):
            memcpy(z + i * layer.ld * s, layer.start, layer.n * s)
        if gemm(job.blas, s, False, False, m, layer.n, layer.inputs, x, a.ld, w, layer.n, 1, z,
                layer.ld):
            return
    job.kernels.affine(m, layer.outputs, layer.inputs, x, a.ld, w, layer.n, layer.start, f, z,
                       layer.ld)


cdef void affine_columns(TrainingJob *training, int l, Matrix a, int64_t m, int64_t column,
                         int64_t n, const cmlp_activation *f) noexcept nogil:
    # Compute columns column .. column + n of layer l's pre-activations or, with f, activations. If
    # an update is deferred, apply it to these columns first, in the same pass over the weights.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef Layer *layer = &job.layers[l]
    cdef char *z = at(layer.output, column, s)
    cdef char *d = at(layer.delta, column, s)
    cdef int64_t ldw
    cdef char *w = locate_weights(job, layer, layer.tensors[WEIGHT].value, 0, column, n, &ldw)
    cdef char *start = at(layer.start, column, s)
    if layer.rounds:
        round_affine(job, l, 0, m, column, n, f)
    elif reads_sparse_rows(job, l):
        job.kernels.sparse_affine(0, m, n, layer.inputs, &job.input.entries, w, ldw, start, z,
                                  layer.ld)
    elif training.deferred:
        # d still belongs to the previous batch. Updates are deferred only if no layer is
        # normalized, so `start` is the bias.
        job.kernels.accumulate_bias(m, n, d, layer.ld, start)
        job.kernels.accumulate_affine(
            m, n, layer.inputs, layer.previous_input.data, layer.previous_input.ld, d, layer.ld,
            w, ldw, a.data, a.ld, start, z, layer.ld)
    else:
        job.kernels.affine(m, min(n, layer.outputs - column), layer.inputs, a.data, a.ld, w, ldw,
                           start, f, z, layer.ld)


cdef inline char *get_normal(const Job *job, const Layer *layer, int64_t row,
                             int64_t column) noexcept nogil:
    # Return where a normalization by running statistics stores the normalized pre-activations: NULL
    # if the gradient with respect to the scale is not needed.
    if not job.trains or layer.tensors[SCALE].is_frozen:
        return NULL
    return element(job, layer.normal, layer, row, column)


cdef void normalize_rows(Job *job, Layer *layer, int64_t row, int64_t m) noexcept nogil:
    # Normalize rows of the pre-activations, independently of all others: over the layer, or,
    # in inference, by the running statistics of the batches.
    cdef char *z = element(job, layer.output, layer, row, 0)
    if layer.normalization == OVER_LAYER:
        job.kernels.normalize_layer(
            m, layer.n, layer.outputs, layer.epsilon, layer.tensors[SCALE].value,
            layer.tensors[BIAS].value, z, layer.ld, element(job, layer.normal, layer, row, 0),
            at(layer.inverse, row, job.itemsize))
    elif layer.normalization != NOT_NORMALIZED:
        job.kernels.normalize_by_running(
            m, layer.n, layer.epsilon, layer.tensors[SCALE].value, layer.tensors[BIAS].value,
            layer.running_mean, layer.running_variance, z, layer.ld,
            get_normal(job, layer, row, 0))


cdef void normalize_columns(Job *job, Layer *layer, int64_t m, int64_t column,
                            int64_t n) noexcept nogil:
    # Normalize columns of the pre-activations over the m samples of the batch, or by statistics.
    cdef int s = job.itemsize
    if layer.normalization == OVER_BATCH:
        job.kernels.normalize_batch(
            m, n, layer.epsilon, layer.momentum, at(layer.tensors[SCALE].value, column, s),
            at(layer.tensors[BIAS].value, column, s), at(layer.running_mean, column, s),
            at(layer.running_variance, column, s), at(layer.output, column, s), layer.ld,
            at(layer.normal, column, s), at(layer.inverse, column, s))
    elif layer.normalization == BY_STATISTICS:
        job.kernels.normalize_by_running(
            m, n, layer.epsilon, at(layer.tensors[SCALE].value, column, s),
            at(layer.tensors[BIAS].value, column, s), at(layer.running_mean, column, s),
            at(layer.running_variance, column, s), at(layer.output, column, s), layer.ld,
            get_normal(job, layer, 0, column))


cdef bint is_finite_block(const Job *job, const Layer *layer, const char *a, int64_t m,
                          int64_t n) noexcept nogil:
    # Return whether a block (m, n) of the layer's outputs is finite.
    cdef cmlp_rows rows
    memset(&rows, 0, sizeof(rows))
    rows.kind = CMLP_F32 if job.itemsize == 4 else CMLP_F64
    rows.n, rows.width = m, n
    rows.data, rows.stride = a, layer.ld * job.itemsize
    return job.kernels.find_not_finite(&rows) < 0


cdef void scale_dropout(Job *job, double factor) noexcept nogil:
    cdef Layer *layer
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        layer.dropout = dropout_of(layer.dropout_rate * factor)
        if not (layer.activation.parametric or job.kernels.stores_slope(layer.activation.kind)):
            layer.slope = layer.slopes if layer.dropout.dropped else NULL


cdef void drop_rows(Job *job, int l, int64_t sample, int64_t row, int64_t m, int64_t column,
                    int64_t n) noexcept nogil:
    # Apply dropout to a block (m, n) of layer l's activations.
    cdef Layer *layer = &job.layers[l]
    cdef cmlp_rng_key key = get_rng_key(job, l + 1)
    cdef int64_t end = row + m
    cdef Range found
    while row < end:
        found = find_positions(job, sample, row, end - row)
        job.kernels.drop(&layer.activation, &layer.dropout, &key, found.first, column, found.size,
                         n, element(job, layer.output, layer, row, column), layer.ld,
                         element(job, layer.slope, layer, row, column),
                         element(job, layer.alpha_delta, layer, row, column))
        row += found.size


cdef void activate(Job *job, int l, int64_t sample, int64_t row, int64_t m, int64_t column,
                   int64_t n) noexcept nogil:
    # Turn a block (m, n) of layer l's pre-activations into activations, and apply dropout.
    cdef Layer *layer = &job.layers[l]
    cdef char *a = element(job, layer.output, layer, row, column)
    cdef int64_t outputs = min(n, layer.outputs - column)
    if job.checks_sums and not is_finite_block(job, layer, a, m, outputs):
        job.has_non_finite_sums = True
    if layer.activation.parametric:
        job.kernels.activate_parametric(
            &layer.activation, m, n, at(layer.tensors[ALPHA].value, column, job.itemsize), a,
            layer.ld, element(job, layer.slope, layer, row, column),
            element(job, layer.alpha_delta, layer, row, column))
    else:
        job.kernels.activate(&layer.activation, m, n, outputs, a, layer.ld,
                             element(job, layer.slope, layer, row, column))
    if job.drops and layer.dropout.dropped:
        drop_rows(job, l, sample, row, m, column, n)


cdef void finish_outputs(Job *job, int l, int64_t sample, int64_t row, int64_t m, int64_t column,
                         int64_t n, const cmlp_activation *f) noexcept nogil:
    # Turn a block (m, n) of a hidden layer's pre-activations into outputs, unless the product has
    # applied f, and round them if the next layer reads them so.
    cdef Layer *layer = &job.layers[l]
    if f == NULL:
        activate(job, l, sample, row, m, column, n)
    if job.layers[l + 1].rounds:
        round_input(job, &job.layers[l + 1], get_output(layer), row, m, column,
                    min(n, layer.outputs - column))

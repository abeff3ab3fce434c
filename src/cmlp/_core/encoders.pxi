# Encoders: the input layers that compute the first dense layer's input, one after another.

cdef Matrix get_encoder_input(const Job *job, int l) noexcept nogil:
    # Return the batch that encoder l reads.
    if l == -job.encoders:
        return Matrix(job.input.converted, job.input.ld)
    return Matrix(job.layers[l - 1].output, job.layers[l - 1].ld)


cdef void list_values(const Layer *layer, void **values) noexcept nogil:
    cdef int t
    for t in range(MAX_TENSORS):
        values[t] = layer.tensors[t].value


cdef void encode_rows(Job *job, int64_t first, int64_t m) noexcept nogil:
    # Compute rows first .. first + m of the outputs of all encoders.
    cdef void *values[MAX_TENSORS]
    cdef Layer *layer
    cdef Matrix x
    cdef int l
    for l in range(-job.encoders, 0):
        layer = &job.layers[l]
        x = get_encoder_input(job, l)
        list_values(layer, values)
        job.kernels.encode(layer.encoder, values, m, at(x.data, first * x.ld, job.itemsize), x.ld,
                           at(layer.output, first * layer.ld, job.itemsize), layer.ld)


cdef void backward_encoders(TrainingJob *training, int64_t first, int64_t m) noexcept nogil:
    # Backpropagate rows first .. first + m of the first dense layer's delta to the lowest encoder
    # that is trained.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef void *values[MAX_TENSORS]
    cdef Layer *layer
    cdef Layer *below
    cdef Matrix x
    cdef int l
    layer, below = &job.layers[0], job.layers - 1
    if job.input.segments != NULL:
        job.kernels.backward_entries(first, m, layer.n, &job.input.entries, layer.delta, layer.ld,
                                     layer.tensors[WEIGHT].value, layer.n, below.delta, below.ld)
    else:
        affine_backward_rows(job, layer, below, first, m, NULL)
    for l in range(-1, training.first_trained, -1):
        layer, below = &job.layers[l], &job.layers[l - 1]
        x = get_encoder_input(job, l)
        list_values(layer, values)
        job.kernels.encode_backward(
            layer.encoder, values, m, at(x.data, first * x.ld, s), x.ld,
            element(job, layer.output, layer, first, 0), element(job, layer.delta, layer, first, 0),
            layer.ld, element(job, below.delta, below, first, 0), below.ld)


cdef void backward_encoder_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: the same for a block of the batch's rows.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Range rows = split_range(training.m, get_row_unit(&training.job), block, blocks)
    if rows.size:
        backward_encoders(training, rows.first, rows.size)


cdef Range get_share_rows(const Layer *layer, const Tensor *tensor, Range share) noexcept nogil:
    # Return the rows of a tensor that belong to selected columns of an encoder of numbers.
    cdef int64_t per_column = tensor.rows // layer.encoder.selected
    return Range(share.first * per_column, share.size * per_column)


cdef void optimize_encoder(TrainingJob *training, Layer *layer, Range share) noexcept nogil:
    # Take the optimizer's step for the parameters of the selected columns `share`.
    cdef const cmlp_encoder *encoder = layer.encoder
    cdef Tensor *tensor
    cdef int64_t end
    cdef Range rows
    cdef int t
    for t in range(MAX_TENSORS):
        tensor = &layer.tensors[t]
        if tensor.rows == 0 or tensor.is_frozen:
            continue
        if encoder.kind == CMLP_SCALE:
            optimize_block(training, tensor, 0, 1, share.first, share.size)
            continue
        if encoder.kind == CMLP_EMBEDDING:
            rows.first, end = encoder.first_row[share.first], share.first + share.size
            end = encoder.first_row[end] if end < encoder.selected else tensor.rows
            rows.size = end - rows.first
        else:
            rows = get_share_rows(layer, tensor, share)
        optimize_block(training, tensor, rows.first, rows.size, 0, tensor.columns)


cdef void keep_values(const Job *job, Layer *layer, Range share, void **values) noexcept nogil:
    # Let values point to copies of the parameters of selected columns: plain descent adds each
    # sample's gradient to the parameters, and the gradients of periodic encoders depend on them.
    cdef Tensor *tensor
    cdef Range rows
    cdef char *kept = <char *> layer.kept_values
    cdef int t
    for t in range(MAX_TENSORS):
        tensor = &layer.tensors[t]
        if tensor.rows == 0:
            continue
        rows = get_share_rows(layer, tensor, share)
        memcpy(at(kept, rows.first * tensor.columns, job.itemsize),
               at(tensor.value, rows.first * tensor.columns, job.itemsize),
               rows.size * tensor.columns * job.itemsize)
        values[t] = kept
        kept += tensor.rows * tensor.columns * job.itemsize


cdef void update_encoder(TrainingJob *training, int l, int64_t block,
                         int64_t blocks) noexcept nogil:
    # Update a block of the parameters of encoder l: some of its columns, each by all samples.
    cdef Job *job = &training.job
    cdef Layer *layer = &job.layers[l]
    cdef const cmlp_encoder *encoder = layer.encoder
    cdef Matrix x = get_encoder_input(job, l)
    cdef bint is_scale = encoder.kind == CMLP_SCALE
    cdef Range share
    cdef void *values[MAX_TENSORS]
    cdef void *into[MAX_TENSORS]
    cdef int t
    if is_scale:
        share = split_range(layer.n, CMLP_PAD // job.itemsize, block, blocks)
    else:
        share = split_range(encoder.selected, 1, block, blocks)
    if share.size == 0 or l < training.first_trained:
        return
    list_values(layer, values)
    for t in range(MAX_TENSORS):
        into[t] = NULL if layer.tensors[t].is_frozen else layer.tensors[t].into
    if layer.kept_values != NULL and training.optimizer.groups == NULL:
        keep_values(job, layer, share, values)
    job.kernels.encode_accumulate(encoder, values, share.first, share.size, training.m, x.data,
                                  x.ld, layer.output, layer.delta, layer.ld, into)
    if training.optimizer.is_fused:
        optimize_encoder(training, layer, share)

# Stage 1 of a step: read a batch, convert it, apply the input layers, prefetch the next one.

cdef inline bint reads_sparse_rows(const Job *job, int l) noexcept nogil:
    # Return whether the input of layer l is a sparse batch.
    return l == 0 and (job.input.rows.start != NULL or job.input.segments != NULL)


cdef cmlp_rng_key get_rng_key(const Job *job, uint32_t layer) noexcept nogil:
    # Return the key of a layer's random numbers. 0 is the input; dense layer l has l + 1.
    cdef cmlp_rng_key key = job.key
    key.layer = layer
    return key


cdef bint reads_rows_in_place(const Job *job) noexcept nogil:
    # Return whether the samples themselves serve as the converted batch: they are in order,
    # aligned and of the parameters' type, and no input layer reads them. A BLAS does not take
    # rows that overlap.
    cdef const cmlp_rows *rows = &job.input.rows
    cdef int64_t ld = rows.stride // job.itemsize
    return (job.input.order == NULL and job.input.layer_count == 0 and job.encoders == 0
            and rows.kind == <int32_t> (CMLP_F32 if job.itemsize == 4 else CMLP_F64)
            and rows.stride % job.itemsize == 0 and rows.stride >= 0
            and <size_t> rows.data % job.itemsize == 0
            and (job.blas == NULL or takes_stride(job.blas, rows.width, ld)))


cdef Matrix get_batch_input(const Job *job, int64_t sample) noexcept nogil:
    # Return the input of the first dense layer for the batch that begins with `sample`, once it has
    # been read.
    if job.encoders:
        return Matrix((job.layers - 1).output, (job.layers - 1).ld)
    if reads_sparse_rows(job, 0):
        return Matrix(NULL, 0)
    if reads_rows_in_place(job):
        return Matrix(<const char *> job.input.rows.data + sample * job.input.rows.stride,
                      job.input.rows.stride // job.itemsize)
    return Matrix(job.input.converted, job.input.ld)


cdef Range find_positions(const Job *job, int64_t sample, int64_t row, int64_t m) noexcept nogil:
    # Return the position in the epoch of a row of the batch that begins with `sample`, and how many
    # of the m rows from it on have consecutive positions.
    cdef int shard = 0
    if job.shards == 0:
        return Range(job.sample_offset + sample + row, m)
    while job.shard_rows[shard + 1] <= row:
        shard += 1
    return Range(job.shard_samples[shard] + row - job.shard_rows[shard],
                 min(m, job.shard_rows[shard + 1] - row))


cdef void transform_rows(Job *job, void *converted, const cmlp_entries *entries, int64_t first,
                         int64_t m, int64_t sample) noexcept nogil:
    # Apply the input layers to rows first .. first + m of a batch.
    cdef BatchInput *input = &job.input
    cdef cmlp_rng_key key = get_rng_key(job, 0)
    cdef int64_t end = first + m
    cdef Range found
    cdef int i
    while first < end:
        found = find_positions(job, sample, first, end - first)
        for i in range(input.layer_count):
            if input.rows.start != NULL:
                job.kernels.transform_sparse_input(&input.layers[i], &key, found.first, first,
                                                   found.size, entries)
            else:
                job.kernels.transform_input(
                    &input.layers[i], &key, found.first, found.size, input.rows.width,
                    at(converted, first * input.ld, job.itemsize), input.ld)
        first += found.size


cdef void read_rows_into(Job *job, void *converted, const cmlp_entries *entries, int64_t first,
                         int64_t m, int64_t sample) noexcept nogil:
    # Read rows first .. first + m of the batch that begins with `sample` into buffers of a batch.
    cdef BatchInput *input = &job.input
    cdef cmlp_rows rows = input.rows
    cdef const uint32_t *order = input.order + sample if input.order != NULL else NULL
    if rows.start != NULL:
        if order == NULL:
            rows.start += sample
        if not job.kernels.gather_sparse(&rows, order, first, m, entries):
            input.has_invalid_columns = True
    elif not reads_rows_in_place(job):
        if order == NULL:
            rows.data = <const char *> rows.data + (sample + first) * rows.stride
        else:
            order += first
        job.kernels.gather(&rows, order, m, at(converted, first * input.ld, job.itemsize),
                           input.ld)
    transform_rows(job, converted, entries, first, m, sample)


cdef void round_batch_input(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Round rows first .. first + m of the current batch to bfloat16.
    cdef Matrix a
    if reads_sparse_rows(job, 0):
        job.kernels.bf16.round_entries(first, m, &job.input.entries)
    else:
        a = get_batch_input(job, sample)
        round_input(job, &job.layers[0], a, first, m, 0, job.layers[0].inputs)


cdef void read_rows(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Read rows first .. first + m of the current batch, which begins with `sample`.
    cdef Matrix a
    read_rows_into(job, job.input.converted, &job.input.entries, first, m, sample)
    encode_rows(job, first, m)
    if job.input.segments != NULL:
        a = get_batch_input(job, sample)
        job.kernels.list_entries(job.input.segments, first, m, job.input.converted, job.input.ld,
                                 a.data, a.ld, &job.input.entries)
    if job.layers[0].rounds:
        round_batch_input(job, first, m, sample)


cdef void prefetch_rows(Job *job, int64_t first, int64_t end) noexcept nogil:
    # Prefetch samples first .. end, which a later batch will read.
    end = min(end, job.total)
    if job.input.prefetches and first < end:
        job.kernels.prefetch(&job.input.rows, job.input.order + first, end - first)


cdef bint has_dense_columns(const Job *job, const Layer *layer, int64_t m) noexcept nogil:
    # Return whether the update goes by column instead of by sample. By column, each row of the
    # weights is read and written once for many samples, which pays for enough entries per column.
    cdef int64_t words = (m + CMLP_MARKS - 1) // CMLP_MARKS
    cdef int64_t least = CMLP_MARKED_ENTRIES_PER_WORD * layer.inputs * words
    return (job.input.entries.marks != NULL and job.input.entries.spans[m - 1].end >= least
            and layer.n * job.itemsize >= CMLP_MARKED_ROW_BYTES)


cdef void mark_columns(Job *job, const Layer *layer, int64_t m, int64_t block,
                       int64_t blocks) noexcept nogil:
    # Mark a block of the columns of a sparse batch, if its update goes by column and the weights
    # are stored by column blocks.
    cdef Range columns = split_range(layer.inputs, CMLP_PAD // sizeof(uint64_t), block, blocks)
    if layer.column_blocks and has_dense_columns(job, layer, m):
        job.kernels.mark_batch(m, columns.first, columns.size, &job.input.entries)

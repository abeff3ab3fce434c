# The update of a batch that is divided into shards: the gradient of each shard is a sum over its
# samples, and the gradients of the shards are summed over a binary tree. The sums do not depend on
# how many of the shards this process has, as long as it has a whole subtree.

cdef cmlp_entries skip_rows(const cmlp_entries *entries, int64_t rows) noexcept nogil:
    # Return the entries of a sparse batch without its first rows.
    cdef cmlp_entries rest = entries[0]
    rest.spans += rows
    return rest


cdef void sum_shard(TrainingJob *training, Layer *layer, Matrix a, int shard, int64_t first,
                    int64_t rows, int64_t column, int64_t n, char *into, int64_t ld) noexcept nogil:
    # Add a shard's gradient with respect to a block of the weights.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef int64_t row = job.shard_rows[shard], m = job.shard_rows[shard + 1] - row
    cdef bint is_sparse = reads_sparse_rows(job, <int> (layer - job.layers))
    cdef cmlp_entries entries
    if m == 0:
        return
    if is_sparse:
        entries = skip_rows(&job.input.entries, row)
    if layer.rounds and is_sparse:
        job.kernels.bf16.sparse_accumulate(
            m, n, first, rows, &entries,
            at_unit(job, layer.delta_units, layer.delta_ld, row, column), layer.delta_ld, 1, into,
            ld)
    elif layer.rounds:
        job.kernels.bf16.accumulate(
            m, n, rows, at_unit(job, layer.input_units, layer.input_ld, row, first), layer.input_ld,
            at_unit(job, layer.delta_units, layer.delta_ld, row, column), layer.delta_ld, 1, into,
            ld)
    elif is_sparse:
        job.kernels.marked_accumulate(m, n, first, rows, &entries,
                                      element(job, layer.delta, layer, row, column), layer.ld, into,
                                      ld)
    else:
        job.kernels.accumulate(m, min(n, layer.outputs - column), rows,
                               at(a.data, row * a.ld + first, s), a.ld,
                               element(job, layer.delta, layer, row, column), layer.ld, into, ld)


cdef void sum_shards(TrainingJob *training, Layer *layer, Matrix a, int begin, int end,
                     int64_t first, int64_t rows, int64_t column, int64_t n, char *into, int64_t ld,
                     char *scratch) noexcept nogil:
    # Compute the gradients of shards begin .. end, a subtree, with respect to a block of the
    # weights, and add them to zeros.
    cdef Job *job = &training.job
    cdef int middle = (begin + end) // 2
    if end - begin == 1:
        sum_shard(training, layer, a, begin, first, rows, column, n, into, ld)
        return
    memset(scratch, 0, rows * n * job.itemsize)
    sum_shards(training, layer, a, begin, middle, first, rows, column, n, into, ld,
               scratch + training.shard_sum_bytes)
    sum_shards(training, layer, a, middle, end, first, rows, column, n, scratch, n,
               scratch + training.shard_sum_bytes)
    job.kernels.add(rows, n, scratch, n, into, ld)


cdef void sum_vector_shards(TrainingJob *training, Layer *layer, int begin, int end, int tensor,
                            int64_t column, int64_t n, char *into, char *scratch) noexcept nogil:
    # The same for columns column .. column + n of a tensor with one row.
    cdef Job *job = &training.job
    cdef int64_t row = job.shard_rows[begin], m = job.shard_rows[end] - row
    cdef int middle = (begin + end) // 2
    if end - begin > 1:
        memset(scratch, 0, n * job.itemsize)
        sum_vector_shards(training, layer, begin, middle, tensor, column, n, into,
                          scratch + training.shard_sum_bytes)
        sum_vector_shards(training, layer, middle, end, tensor, column, n, scratch,
                          scratch + training.shard_sum_bytes)
        job.kernels.add(1, n, scratch, n, into, n)
    elif m:
        accumulate_vector(job, layer, tensor, row, m, column, n, into)


cdef void clear_block(Job *job, Layer *layer, int64_t first, int64_t rows,
                      Range columns) noexcept nogil:
    # Set a block of the gradient with respect to the weights to 0.
    cdef int64_t row
    for row in range(first, first + rows):
        memset(at(layer.tensors[WEIGHT].into, row * layer.n + columns.first, job.itemsize), 0,
               columns.size * job.itemsize)


cdef void sum_layer_shards(TrainingJob *training, int l, Matrix a, int64_t block,
                           int64_t blocks) noexcept nogil:
    # Compute a block of the gradient of layer l, whose input is a.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef Layer *layer = &job.layers[l]
    cdef char *scratch = training.shard_sums
    cdef Range columns = Range(0, layer.n), share = Range(0, layer.inputs)
    cdef Range biases = Range(0, layer.n if block == l % blocks else 0)
    cdef int64_t row, rows, step
    cdef int tensor
    scratch += block * training.shard_sum_bytes * count_levels(job.shards)
    if reads_sparse_rows(job, l):
        share = split_range(layer.inputs, CMLP_UPDATE_BLOCK_ROWS, block, blocks)
    elif divides_columns(job, layer, blocks):
        columns = biases = split_columns(job, layer.n, block, blocks)
    else:
        share = split_range(layer.inputs, CMLP_UPDATE_BLOCK_ROWS, block, blocks)
    if columns.size == 0:
        return
    if layer.tensors[WEIGHT].is_frozen:
        share.size = 0
    # An even number of rows, as sparse units are pairs of columns.
    step = max(2, training.shard_sum_bytes // (columns.size * s) // 2 * 2)
    row = share.first
    while row < share.first + share.size:
        rows = min(step, share.first + share.size - row)
        clear_block(job, layer, row, rows, columns)
        sum_shards(training, layer, a, 0, job.shards, row, rows, columns.first, columns.size,
                   at(layer.tensors[WEIGHT].into, row * layer.n + columns.first, s), layer.n,
                   scratch)
        row += rows
    for tensor in range(BIAS, MAX_TENSORS):
        if biases.size and layer.tensors[tensor].rows and not layer.tensors[tensor].is_frozen:
            memset(at(layer.tensors[tensor].into, biases.first, s), 0, biases.size * s)
            sum_vector_shards(training, layer, 0, job.shards, tensor, biases.first, biases.size,
                              at(layer.tensors[tensor].into, biases.first, s), scratch)


cdef int count_levels(int shards) noexcept nogil:
    # Return the levels of the tree, at least 1.
    cdef int levels = 1
    while 1 << levels < shards:
        levels += 1
    return levels


cdef void sum_all_shards(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: compute the gradients of all layers.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Matrix a = get_batch_input(job, training.sample)
    cdef int l
    for l in range(job.depth):
        sum_layer_shards(training, l, a, block, blocks)
        a = get_output(&job.layers[l])


cdef void compute_shard_gradient(TrainingJob *training) noexcept nogil:
    cdef Job *job = &training.job
    training.sample, training.m = job.done, job.total - job.done
    training.read_ahead = -1
    forward_column_layers(training)
    run_row_layers(training)
    backward_column_layers(training)
    run_phase(job.team, sum_all_shards, training, count_update_blocks(training))
    if training.shard_metrics != NULL:
        sum_shard_metrics(training)


cdef void sum_shard_metrics(TrainingJob *training) noexcept nogil:
    # Add the outputs of the step to the metric sums of each shard.
    cdef Job *job = &training.job
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets
    cdef const uint32_t *index
    cdef int64_t row
    cdef int shard
    for shard in range(job.shards):
        row = job.shard_rows[shard]
        index = locate_targets(job, training.sample + row, &targets)
        job.kernels.accumulate_metrics(
            &job.head, &targets, index, job.shard_rows[shard + 1] - row,
            at(last.output, row * last.ld, job.itemsize), last.ld, training.shard_metrics[shard])


cdef void optimize_share(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: take the optimizer's step for a share of the parameters.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Range share = split_range(training.share.size, CMLP_PAD // job.itemsize, block, blocks)
    cdef int64_t first = training.share.first + share.first, end = first + share.size, begin
    cdef Tensor *tensor
    cdef Tensor part
    cdef int l, t
    for l in range(-job.encoders, job.depth):
        for t in range(MAX_TENSORS):
            tensor = &job.layers[l].tensors[t]
            begin = max(first, tensor.offset) - tensor.offset
            part = tensor[0]
            part.rows, part.columns = 1, min(end - tensor.offset, tensor.rows * tensor.columns)
            if begin < part.columns and not tensor.is_frozen:
                optimize_block(training, &part, 0, 1, begin, part.columns - begin)


cdef void apply_gradient(TrainingJob *training) noexcept nogil:
    cdef Job *job = &training.job
    cdef OptimizerPlan *plan = &training.optimizer
    cdef int group
    if training.penalty.is_active:
        compute_penalty(training)
    plan.is_due, plan.is_fused = True, False
    for group in range(plan.group_count):
        plan.groups[group].optimizer.scale = 1
    begin_optimizer_step(training)
    if training.share.size:
        run_phase(job.team, optimize_share, training, count_parameter_blocks(job))
    else:
        end_update(training)

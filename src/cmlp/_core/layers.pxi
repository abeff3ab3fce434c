# The kinds of layers: how a specification becomes a layer of a program.

cdef bint suits_bfloat16(int64_t inputs, int64_t outputs) noexcept:
    # Return whether the products of a dense layer are rounded to bfloat16, if the network's are:
    # a function of the layer's shape alone.
    return inputs >= CMLP_BF16_MIN_SIZE and outputs >= CMLP_BF16_MIN_SIZE


cdef int64_t count_units(Program program, int64_t elements) noexcept:
    # Return the leading dimension, in units, of rows of `elements` bfloat16 numbers.
    cdef int64_t vector = 2 * CMLP_PAD // program.itemsize
    cdef int64_t pairs = (elements + vector - 1) // vector * vector // 2
    return pad_leading(pairs * program.kernels.bf16.units_per_pair, program.itemsize)


def add_input_layer(Program program, specification, dict offsets):
    """Append an input layer."""
    cdef cmlp_input_layer *layer = &program.input_layers[program.input_layer_count]
    layer.kind = INPUT_LAYERS[specification.kind].code
    layer.parameter = getattr(specification, INPUT_PARAMETERS[specification.kind])
    program.input_layer_count += 1


def add_dense(Program program, specification, dict offsets):
    """Append a dense layer."""
    cdef Layer *layer = &program.layers[program.depth]
    cdef int64_t lanes = CMLP_PAD // program.itemsize
    normalization = specification.normalization
    layer.inputs = program.inputs
    if program.depth or program.encoders:
        layer.inputs = program.layers[program.depth - 1].outputs
    layer.outputs = specification.units
    layer.n = (layer.outputs + lanes - 1) // lanes * lanes
    layer.ld = pad_leading(layer.n, program.itemsize)
    layer.activation.kind = specification.activation.code
    layer.activation.parameter = specification.activation.parameter
    layer.activation.parametric = specification.activation.parametric
    layer.dropout_rate = specification.dropout
    layer.dropout = dropout_of(layer.dropout_rate)
    layer.max_norm = specification.max_norm or 0
    layer.rounds = program.rounds and suits_bfloat16(layer.inputs, layer.outputs)
    if layer.rounds:
        layer.input_ld = count_units(program, layer.inputs)
        layer.delta_ld = count_units(program, layer.n)
    layer.tensors[WEIGHT] = program.describe_tensor(offsets["weight"], layer.inputs, layer.n)
    layer.tensors[WEIGHT].is_weight = True
    layer.tensors[BIAS] = program.describe_tensor(offsets["bias"], 1, layer.n)
    if layer.activation.parametric:
        layer.tensors[ALPHA] = program.describe_tensor(offsets["alpha"], 1, layer.n)
    if normalization is not None:
        layer.tensors[SCALE] = program.describe_tensor(offsets["scale"], 1, layer.n)
        layer.epsilon = normalization.eps
        layer.normalization = OVER_LAYER
        if normalization.name == "batch":
            layer.normalization = BY_STATISTICS if specification.frozen else OVER_BATCH
            layer.momentum = normalization.momentum
            layer.running_mean = address_elements(program.statistics, offsets["running_mean"],
                                                  layer.n)
            layer.running_variance = address_elements(
                program.statistics, offsets["running_variance"], layer.n)
            program.normalizes_batches |= not specification.frozen
    program.limits_norms = program.limits_norms or layer.max_norm > 0
    program.depth += 1


def add_encoder(Program program, specification, dict offsets):
    """Append an encoder."""
    cdef Layer *layer = &program.layers[program.encoders_added - program.encoders]
    cdef cmlp_encoder *encoder = &program.encoder_table[program.encoders_added]
    cdef int64_t lanes = CMLP_PAD // program.itemsize
    cdef int t = 0
    inputs = program.inputs
    if program.encoders_added:
        inputs = program.layers[program.encoders_added - program.encoders - 1].outputs
    plan = specification.plan(inputs)
    program.references.append(plan)
    layer.encoder = encoder
    layer.inputs, layer.outputs = inputs, specification.count_outputs(inputs)
    layer.n = (layer.outputs + lanes - 1) // lanes * lanes
    layer.ld = pad_leading(layer.n, program.itemsize)
    encoder.kind = ENCODERS[specification.kind]
    encoder.inputs = inputs
    program.reads_codes = program.reads_codes or len(plan.categories) > 0
    if encoder.kind != CMLP_SCALE:
        describe_columns(encoder, plan)
    if encoder.kind == CMLP_PERIODIC:
        encoder.frequencies, encoder.features = specification.frequencies, specification.features
        encoder.has_phases, encoder.rectifies = specification.has_phases, specification.rectifies
        encoder.keeps_value = specification.keeps_value
    for name, (rows, columns) in specification.tensors(inputs).items():
        if name == "periodic_weight":
            t = 2  # without phases, tensor 1 is absent
        layer.tensors[t] = program.describe_tensor(offsets[name], columns,
                                                   (rows + lanes - 1) // lanes * lanes)
        t += 1
    program.encoders_added += 1


cdef int describe_columns(cmlp_encoder *encoder, plan) except -1:
    # Let an encoder point to the arrays of a plan; a named tuple `ColumnPlan`.
    encoder.selected, encoder.kept = len(plan.column), len(plan.kept_column)
    encoder.column = <const int32_t *> address_bytes(plan.column)
    encoder.target = <const int32_t *> address_bytes(plan.target)
    encoder.kept_column = <const int32_t *> address_bytes(plan.kept_column)
    encoder.kept_target = <const int32_t *> address_bytes(plan.kept_target)
    encoder.categories = <const int32_t *> address_bytes(plan.categories)
    encoder.first_row = <const int64_t *> address_bytes(plan.first_row)
    encoder.outputs_per_column = plan.outputs_per_column
    return 0


cdef int describe_segments(Program program, segments) except -1:
    # Let the first layer read the encoders' outputs as a sparse batch, if that is faster: a
    # function of the network alone, as deltas are then summed in another order.
    cdef int64_t entries = sum(size if column < 0 else 1 for size, column in segments)
    cdef int64_t inputs = program.layers[0].inputs
    if (not segments or program.layers[0].rounds or inputs < CMLP_SPARSE_MIN_COLUMNS
            or entries > CMLP_SPARSE_MAX_DENSITY * inputs):
        return 0
    sizes, columns = (np.array(values, np.int32) for values in zip(*segments, strict=True))
    program.references.append((sizes, columns))
    program.segments.size = <const int32_t *> address_bytes(sizes)
    program.segments.code_column = <const int32_t *> address_bytes(columns)
    program.segments.count, program.segments.entries = len(sizes), entries
    return 0


cdef int find_lowest_tensor(Program program) noexcept:
    # Return the lowest layer with parameters; encoders are below 0.
    cdef int l = -program.encoders, t
    while l < 0:
        for t in range(MAX_TENSORS):
            if program.layers[l].tensors[t].rows:
                return l
        l += 1
    return 0


cdef int64_t count_blocks(Program program, int64_t batch) noexcept:
    # Return the number of blocks of a step that pay for the exchange of data between cores:
    # of CMLP_UPDATE_BLOCK_ROWS rows of a batch or CMLP_COLUMN_BLOCK_BYTES of columns.
    cdef int64_t blocks = batch // CMLP_UPDATE_BLOCK_ROWS
    cdef int l
    for l in range(program.depth):
        blocks = max(blocks, program.layers[l].n * program.itemsize // CMLP_COLUMN_BLOCK_BYTES)
    return blocks


# Kind of an input layer -> attribute of its specification that is the kernel's parameter.
INPUT_PARAMETERS = {"input_noise": "deviation", "input_dropout": "rate"}

# Kind of a layer -> function that appends it to a program.
LAYERS = {"dense": add_dense, **dict.fromkeys(INPUT_PARAMETERS, add_input_layer),
          **dict.fromkeys(ENCODERS, add_encoder)}

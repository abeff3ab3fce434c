# The memory that one call needs: the batch and, for each layer, outputs and gradients.

cdef int64_t pad_leading(int64_t n, int itemsize) noexcept:
    # Return the leading dimension of a workspace buffer with rows of n elements: whole vectors,
    # but not a multiple of CMLP_ALIASED_STRIDE_BYTES, as such rows would share few cache sets.
    cdef int64_t lanes = CMLP_PAD // itemsize
    cdef int64_t ld = (n + lanes - 1) // lanes * lanes
    return ld + lanes if ld * itemsize % CMLP_ALIASED_STRIDE_BYTES == 0 else ld


cdef class Workspace:
    """The memory that one call of the engine needs.

    It is zeroed once. The elements between a row's width and its padded width stay finite,
    so that kernels may process whole vectors.
    """
    def __dealloc__(self):
        free(self.memory)
        free(self.layers)

    cdef void *take(self, size_t size) noexcept:
        # Return the next `size` bytes. Before the memory is allocated, only count them.
        cdef size_t offset = self.used
        self.used += (size + CMLP_PAD - 1) // CMLP_PAD * CMLP_PAD
        return self.memory + offset if self.memory != NULL else NULL

    cdef void assign_entries(self, cmlp_entries *entries, int64_t inputs, int itemsize) noexcept:
        entries.spans = <cmlp_span *> self.take(self.capacity * sizeof(cmlp_span))
        entries.column = <int32_t *> self.take(self.entries * sizeof(int32_t))
        entries.value = self.take(self.entries * itemsize)
        entries.marks = NULL
        if inputs <= self.entries:
            entries.marks = <uint64_t *> self.take(inputs * sizeof(uint64_t))

    cdef void assign_input(self, Job *job, int64_t inputs) noexcept:
        cdef size_t size = self.capacity * self.input_ld * job.itemsize
        cdef BatchInput *input = &job.input
        input.ld = self.input_ld
        if self.entries:
            self.assign_entries(&input.entries, inputs, job.itemsize)
            if self.has_next:
                self.assign_entries(&input.next_entries, inputs, job.itemsize)
        if self.entries and job.encoders == 0:
            return
        input.converted = self.take(size)
        input.previous = self.take(size) if self.has_previous else NULL
        input.next = self.take(size) if self.has_next else NULL

    cdef void assign_layer(self, Job *job, Layer *layer) noexcept:
        cdef int s = job.itemsize
        cdef size_t size = self.capacity * layer.ld * s
        cdef bint is_parametric = layer.activation.parametric
        cdef bint stores_slope = is_parametric or job.kernels.stores_slope(layer.activation.kind)
        layer.output = self.take(size)
        layer.previous_output = self.take(size) if self.has_previous else NULL
        layer.slopes = NULL
        if stores_slope or dropout_of(layer.dropout_rate).dropped:
            layer.slopes = self.take(size)
        # Inference reads only the slopes of the last layer, for losses.
        if not job.trains and layer != &self.layers[job.encoders + job.depth - 1]:
            stores_slope = False
        layer.slope = layer.slopes if stores_slope or job.drops else NULL
        layer.delta = self.take(size)
        layer.alpha_delta = self.take(size) if is_parametric else NULL
        layer.by_columns = NULL
        if (self.has_next and layer == &self.layers[job.encoders]
                and layer.n * s <= CMLP_COLUMN_STORAGE_BYTES):
            layer.by_columns = self.take(layer.inputs * layer.n * s)
        layer.start = layer.tensors[BIAS].value
        self.assign_units(layer)
        if layer.normalization != NOT_NORMALIZED:
            layer.start = self.take(layer.n * s)
            layer.normal = self.take(size)
            layer.shift_delta = self.take(size)
            layer.inverse = self.take(max(self.capacity, layer.n) * s)

    cdef void assign_encoder(self, Job *job, Layer *layer) noexcept:
        cdef size_t size = self.capacity * layer.ld * job.itemsize
        cdef size_t values = 0
        cdef int t
        layer.output, layer.delta = self.take(size), self.take(size)
        for t in range(MAX_TENSORS):
            values += layer.tensors[t].rows * layer.tensors[t].columns * job.itemsize
        layer.kept_values = NULL
        if layer.encoder.kind == CMLP_PERIODIC:
            layer.kept_values = self.take(values)

    cdef void assign_units(self, Layer *layer) noexcept:
        # The kernels may read one vector beyond the last unit.
        layer.input_units = layer.delta_units = NULL
        if layer.rounds:
            if not (self.entries and layer == self.layers):
                layer.input_units = self.take(self.capacity * layer.input_ld * 4 + CMLP_PAD)
            layer.delta_units = self.take(self.capacity * layer.delta_ld * 4 + CMLP_PAD)

    cdef void assign_buffers(self, Job *job) noexcept:
        # Point the job, and the layers, to their buffers. The layout depends only on the
        # workspace and the program, never on the job.
        cdef int l
        self.used = 0
        self.assign_input(job, self.layers[job.encoders].inputs)
        for l in range(job.encoders):
            self.assign_encoder(job, &self.layers[l])
        for l in range(job.encoders, job.encoders + job.depth):
            self.assign_layer(job, &self.layers[l])
        job.losses = <double *> self.take(self.capacity * sizeof(double))
        job.layers = self.layers + job.encoders


cdef Workspace allocate_workspace(Job *job, const Layer *layers, int64_t inputs,
                                  int64_t entries):
    # Return a new workspace for batches of job.batch samples and `entries` sparse entries.
    cdef Workspace w = Workspace()
    w.capacity, w.entries = job.batch, entries
    w.input_ld = pad_leading(inputs, job.itemsize)
    w.has_previous = job.batch <= job.kernels.shared_pass_rows
    w.has_next = job.threads > 1
    w.layers = <Layer *> calloc(job.encoders + job.depth, sizeof(Layer))
    if w.layers == NULL:
        raise MemoryError
    memcpy(w.layers, layers, (job.encoders + job.depth) * sizeof(Layer))
    w.assign_buffers(job)
    if posix_memalign(<void **> &w.memory, CMLP_PAD, w.used) != 0:
        w.memory = NULL
        raise MemoryError(f"cannot allocate {w.used} bytes for a batch of {job.batch} samples")
    memset(w.memory, 0, w.used)
    w.assign_buffers(job)
    return w

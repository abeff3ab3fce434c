# Stage 4 of a step: one layer backward, from its delta (the gradient with respect to its
# pre-activations) to the delta of the layer below.

cdef const cmlp_activation *get_fused_derivative(const Job *job,
                                                 const Layer *below) noexcept nogil:
    # Return the activation function of the layer below if the backward product multiplies by its
    # derivative, otherwise NULL.
    if (below.slope != NULL or job.blas != NULL
            or not job.kernels.is_fused(below.activation.kind)):
        return NULL
    return &below.activation


cdef void affine_backward_rows(Job *job, Layer *layer, Layer *below, int64_t first, int64_t m,
                               const cmlp_activation *f) noexcept nogil:
    # Compute rows first .. first + m of the gradient with respect to the outputs of `below` or,
    # with f, the function of get_fused_derivative, to the values before it.
    cdef int s = job.itemsize
    cdef const void *w = layer.tensors[WEIGHT].value
    cdef char *d = at(layer.delta, first * layer.ld, s)
    cdef char *c = at(below.delta, first * below.ld, s)
    cdef const void *outputs = at(below.output, first * below.ld, s)
    if layer.rounds:
        job.kernels.bf16.affine_backward(
            m, layer.outputs, layer.inputs,
            at_unit(job, layer.delta_units, layer.delta_ld, first, 0), layer.delta_ld, w, layer.n,
            f, outputs, c, below.ld)
    elif not (uses_blas(job, m, layer.n, layer.inputs)
            and gemm(job.blas, s, False, True, m, layer.inputs, layer.outputs, d, layer.ld, w,
                     layer.n, 0, c, below.ld)):
        job.kernels.affine_backward(m, layer.outputs, layer.inputs, d, layer.ld, w, layer.n, f,
                                    outputs, c, below.ld)


cdef void affine_backward_columns(Job *job, Layer *layer, Layer *below, int64_t m, int64_t column,
                                  int64_t n, const cmlp_activation *f) noexcept nogil:
    # Compute columns column .. column + n of the same gradient for all m samples of the batch.
    cdef int s = job.itemsize
    cdef char *w = at(layer.tensors[WEIGHT].value, column * layer.n, s)
    cdef char *c = at(below.delta, column, s)
    cdef const void *outputs = at(below.output, column, s)
    if layer.rounds:
        job.kernels.bf16.affine_backward(m, layer.outputs, n, layer.delta_units, layer.delta_ld, w,
                                         layer.n, f, outputs, c, below.ld)
    else:
        job.kernels.affine_backward(m, layer.outputs, n, layer.delta, layer.ld, w, layer.n, f,
                                    outputs, c, below.ld)


cdef void round_delta(Job *job, Layer *layer, int64_t row, int64_t m, int64_t column,
                      int64_t n) noexcept nogil:
    # If the layer's products are rounded, round a block (m, n) of its delta to bfloat16.
    if layer.rounds:
        job.kernels.bf16.round_rows(
            m, min(n, layer.outputs - column), element(job, layer.delta, layer, row, column),
            layer.ld, at_unit(job, layer.delta_units, layer.delta_ld, row, column),
            layer.delta_ld)


cdef void activate_backward(Job *job, Layer *layer, int64_t row, int64_t m, int64_t column,
                            int64_t n) noexcept nogil:
    # Multiply a block (m, n) of the gradient with respect to the layer's outputs by the derivative
    # of dropout and activation, and compute the samples' gradients with respect to alpha.
    cdef char *d = element(job, layer.delta, layer, row, column)
    if layer.activation.parametric:
        job.kernels.multiply(m, n, d, layer.ld, element(job, layer.alpha_delta, layer, row, column),
                             layer.ld)
    if layer.slope != NULL:
        job.kernels.multiply(m, n, element(job, layer.slope, layer, row, column), layer.ld, d,
                             layer.ld)
    else:
        job.kernels.activate_backward(&layer.activation, m, n,
                                      element(job, layer.output, layer, row, column), layer.ld,
                                      d, layer.ld)


cdef void scale_by_statistics(Job *job, Layer *layer, int64_t row, int64_t m, int64_t column,
                              int64_t n) noexcept nogil:
    # Backpropagate a block (m, n) of the delta through a normalization by running statistics.
    cdef int64_t i
    if not layer.tensors[BIAS].is_frozen:
        for i in range(row, row + m):
            memcpy(element(job, layer.shift_delta, layer, i, column),
                   element(job, layer.delta, layer, i, column), n * job.itemsize)
    job.kernels.multiply(m, n, at(layer.inverse, column, job.itemsize), 0,
                         element(job, layer.delta, layer, row, column), layer.ld)


cdef void normalize_rows_backward(Job *job, Layer *layer, int64_t row, int64_t m) noexcept nogil:
    # Backpropagate rows of the delta through a normalization over the layer or by running
    # statistics, if there is one. The delta is then complete.
    if layer.normalization == OVER_BATCH or layer.normalization == BY_STATISTICS:
        scale_by_statistics(job, layer, row, m, 0, layer.n)
    if layer.normalization == OVER_LAYER:
        job.kernels.normalize_layer_backward(
            m, layer.n, layer.outputs, layer.tensors[SCALE].value,
            element(job, layer.normal, layer, row, 0), at(layer.inverse, row, job.itemsize),
            element(job, layer.delta, layer, row, 0), layer.ld,
            element(job, layer.shift_delta, layer, row, 0))
    round_delta(job, layer, row, m, 0, layer.n)


cdef void normalize_columns_backward(Job *job, Layer *layer, int64_t m, int64_t column,
                                     int64_t n) noexcept nogil:
    # Backpropagate columns of the delta through a normalization over the batch or by statistics, if
    # there is one. The delta is then complete, unless the layer is normalized by rows.
    cdef int s = job.itemsize
    if layer.normalization == OVER_BATCH:
        job.kernels.normalize_batch_backward(
            m, n, at(layer.tensors[SCALE].value, column, s), at(layer.normal, column, s),
            at(layer.inverse, column, s), at(layer.delta, column, s), layer.ld,
            at(layer.shift_delta, column, s))
    elif layer.normalization == BY_STATISTICS:
        scale_by_statistics(job, layer, 0, m, column, n)
    if layer.normalization != OVER_LAYER:
        round_delta(job, layer, 0, m, column, n)

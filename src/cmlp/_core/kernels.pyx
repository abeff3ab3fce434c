"""The kernel table of the chosen ISA, the components that it declares, and entry points for tests.

The entry points call one kernel each. Their matrices are C-contiguous arrays of one real type.
Where csrc/kernels.h says "padded", the length of a row must be a multiple of `PAD` bytes and the
data must start at such a multiple.
"""
import os
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from cpython.buffer cimport PyBuffer_FillInfo

ctypedef fused real:
    float
    double

cdef extern from "isa.h" nogil:
    const cmlp_kernels *cmlp_table(const char *isa, int itemsize)
    int cmlp_cpu_runs(const char *isa)

ctypedef const cmlp_kernels *table_pointer

# The tables in use: for float32 and for float64.
cdef table_pointer[2] chosen

# All ISAs, each with the instructions of those before it. "avx512_bf16" adds AVX512_BF16 and
# AVX512_VNNI, the dot products of bfloat16 and int8; "amx" adds AMX-BF16, products of tiles.
NAMES = ("baseline", "avx2", "avx512", "avx512_bf16", "amx")
PAD = CMLP_PAD

# How parametric activations use their learned factors; see csrc/parametric.h.
BLEND, INVERSE_BLEND = CMLP_BLEND, CMLP_INVERSE_BLEND


def list_available():
    """Return the ISAs that this build contains and this CPU runs, in the order of `NAMES`."""
    return tuple(name for name in NAMES
                 if cmlp_table(name.encode(), 4) != NULL and cmlp_cpu_runs(name.encode()))


def choose(wanted=None):
    """Use the ISA called `wanted`, or the last one available if it is None.

    Raises
    ------
    ValueError
        If the ISA is unknown or not available.
    """
    global ISA
    cdef bytes name
    found = list_available()
    if wanted and wanted not in NAMES:
        raise ValueError(f"CMLP_ISA must be one of {', '.join(NAMES)}; got {wanted!r}")
    if wanted and wanted not in found:
        raise ValueError(f"CMLP_ISA must be one that this build and CPU support "
                         f"({', '.join(found)}); got {wanted!r}")
    ISA = wanted or max(found, key=NAMES.index)
    name = ISA.encode()
    chosen[0] = cmlp_table(name, 4)
    chosen[1] = cmlp_table(name, 8)


ISA = None
choose(os.environ.get("CMLP_ISA"))

include "memory.pxi"


cdef const cmlp_kernels *table(int itemsize) except NULL:
    if itemsize not in (4, 8):
        raise ValueError(f"itemsize must be 4 or 8; got {itemsize}")
    return chosen[itemsize == 8]


cdef class ActivationInfo:
    """An activation function as the kernels declare it.

    Attributes
    ----------
    code : int
        Its number in compiled code.
    parameters : int
        Number of parameters: 0 or 1.
    stores_slope : bool
        Whether the derivative needs the input, so that the forward pass stores the slope.
    threshold : float
        A classifier with a single output predicts class 1 if the output is at least this.
    """

    cdef readonly int code, parameters
    cdef readonly bint stores_slope
    cdef readonly double threshold

    def __init__(self, int code, int parameters, bint stores_slope, double threshold):
        self.code, self.parameters = code, parameters
        self.stores_slope, self.threshold = stores_slope, threshold


cdef class LossInfo:
    """A loss function as the kernels declare it.

    Attributes
    ----------
    code : int
        Its number in compiled code.
    parameters : int
        Number of parameters: 0 or 1.
    log_link : bool
        Whether an output is the logarithm of the prediction.
    blocks : int
        Number of outputs for each value of a target; of pinball, for each quantile.
    """

    cdef readonly int code, parameters, blocks
    cdef readonly bint log_link

    def __init__(self, int code, int parameters, bint log_link, int blocks):
        self.code, self.parameters, self.log_link = code, parameters, log_link
        self.blocks = blocks


cdef class OptimizerInfo:
    """An optimizer with state as the kernels declare it.

    Attributes
    ----------
    code : int
        Its number in compiled code.
    states : int
        Number of state arrays per parameter tensor.
    """

    cdef readonly int code, states

    def __init__(self, int code, int states):
        self.code, self.states = code, states


cdef class InputLayerInfo:
    """A kind of input layer as the kernels declare it.

    Attributes
    ----------
    code : int
        Its number in compiled code.
    has_sparse_form : bool
        Whether it can transform sparse rows.
    """

    cdef readonly int code
    cdef readonly bint has_sparse_form

    def __init__(self, int code, bint has_sparse_form):
        self.code, self.has_sparse_form = code, has_sparse_form


cdef class SparsePolicy:
    """When dense input is compressed into sparse rows; see csrc/policy.h.

    Attributes
    ----------
    max_density : float
        Maximum fraction of non-zeros.
    min_columns : int
        Minimum number of columns.
    wide_max_density : float
        Maximum fraction of non-zeros if ISA, first layer and batch have at least the following
        sizes.
    wide_vector_bytes : int
        Width of the ISA's vectors in bytes.
    wide_layer_bytes : int
        Size of a row of the first layer's weights in bytes.
    wide_batch_rows : int
        Batch size.
    tiles_max_density : float
        Maximum fraction of non-zeros if AMX multiplies dense rows by the first layer.
    """

    cdef readonly double max_density, wide_max_density, tiles_max_density
    cdef readonly int min_columns, wide_vector_bytes, wide_layer_bytes, wide_batch_rows

    def __init__(self, double max_density, int min_columns, double wide_max_density,
                 int wide_vector_bytes, int wide_layer_bytes, int wide_batch_rows,
                 double tiles_max_density):
        self.max_density, self.min_columns = max_density, min_columns
        self.tiles_max_density = tiles_max_density
        self.wide_max_density, self.wide_vector_bytes = wide_max_density, wide_vector_bytes
        self.wide_layer_bytes, self.wide_batch_rows = wide_layer_bytes, wide_batch_rows


POLICY = SparsePolicy(CMLP_SPARSE_MAX_DENSITY, CMLP_SPARSE_MIN_COLUMNS, CMLP_WIDE_MAX_DENSITY,
                      CMLP_WIDE_VECTOR_BYTES, CMLP_WIDE_LAYER_BYTES, CMLP_WIDE_BATCH_ROWS,
                      CMLP_TILES_MAX_DENSITY)


cdef dict list_activations(const cmlp_activation_info *infos):
    cdef dict found = {}
    while infos.name != NULL:
        found[infos.name.decode()] = ActivationInfo(
            len(found), infos.parameters, bool(infos.stores_slope), infos.threshold)
        infos += 1
    return found


cdef dict list_losses(const cmlp_loss_info *infos):
    cdef dict found = {}
    while infos.name != NULL:
        found[infos.name.decode()] = LossInfo(
            len(found), infos.parameters, bool(infos.log_link), infos.blocks)
        infos += 1
    return found


cdef dict list_optimizers(const cmlp_optimizer_info *infos):
    cdef dict found = {}
    while infos.name != NULL:
        found[infos.name.decode()] = OptimizerInfo(len(found), infos.states)
        infos += 1
    return found


cdef dict list_input_layers(const cmlp_input_layer_info *infos):
    cdef dict found = {}
    while infos.name != NULL:
        found[infos.name.decode()] = InputLayerInfo(len(found), infos.has_sparse_form)
        infos += 1
    return found


# The components by name, in the order of their codes; all tables declare the same ones.
ACTIVATIONS = list_activations(chosen[0].activations)
LOSSES = list_losses(chosen[0].losses)
OPTIMIZERS = list_optimizers(chosen[0].optimizers)
# Kinds of encoders -> their codes.
ENCODERS = {"scale": CMLP_SCALE, "one_hot": CMLP_ONE_HOT, "embedding": CMLP_EMBEDDING,
            "periodic": CMLP_PERIODIC}
MAX_ENCODERS = CMLP_MAX_ENCODERS
PERIODIC_FREQUENCIES = CMLP_PERIODIC_FREQUENCIES

INPUT_LAYERS = list_input_layers(chosen[0].input_layers)


def get_vector_bytes():
    """Return the width of the chosen ISA's vectors in bytes."""
    return chosen[0].vector_bytes


def get_shared_pass_rows():
    """Return the largest batch size that `accumulate_affine` supports."""
    return chosen[0].shared_pass_rows


def multiply_adds(int itemsize, int rounds):
    """Run `rounds` rounds of independent multiply-adds; return the number of multiply-adds."""
    return table(itemsize).multiply_adds(rounds)


cdef inline const cmlp_kernels *table_of(real *_) noexcept:
    return chosen[sizeof(real) == 8]


def affine(real[:, ::1] a, real[:, ::1] w, real[::1] bias, real[:, ::1] c, int64_t columns=0,
           bint relu=False):
    """Compute C = A W + bias, or relu of it; the rows of C are those of A.

    Extra columns of A are ignored. `columns` is the number of columns of W that are not padding; 0:
    all.
    """
    cdef cmlp_activation f = activation_of(ACTIVATIONS["relu"].code, 0)
    table_of(&c[0, 0]).affine(c.shape[0], columns or w.shape[1], w.shape[0], &a[0, 0], a.shape[1],
                              &w[0, 0], w.shape[1], &bias[0], &f if relu else NULL, &c[0, 0],
                              c.shape[1])


def affine_backward(real[:, ::1] d, real[:, ::1] w, real[:, ::1] c, real[:, ::1] outputs=None):
    """Compute C = D W^T; columns of C beyond the number of rows of W are padding.

    `outputs`, laid out like C, are those of a relu, whose derivative is a factor of C then.
    """
    cdef cmlp_activation f = activation_of(ACTIVATIONS["relu"].code, 0)
    cdef bint has_outputs = outputs is not None
    table_of(&c[0, 0]).affine_backward(
        c.shape[0], w.shape[1], w.shape[0], &d[0, 0], d.shape[1], &w[0, 0], w.shape[1],
        &f if has_outputs else NULL, &outputs[0, 0] if has_outputs else NULL, &c[0, 0],
        c.shape[1])


def accumulate(real[:, ::1] a, real[:, ::1] d, real[:, ::1] w, int64_t columns=0):
    """Add A^T D to W; columns of A beyond the number of rows of W are ignored.

    `columns` is the number of columns of W that are not padding; 0: all.
    """
    table_of(&w[0, 0]).accumulate(a.shape[0], columns or w.shape[1], w.shape[0], &a[0, 0],
                                  a.shape[1], &d[0, 0], d.shape[1], &w[0, 0], w.shape[1])


def accumulate_affine(real[:, ::1] a, real[:, ::1] d, real[:, ::1] w, real[:, ::1] next_,
                      real[::1] bias, real[:, ::1] c):
    """Add A^T D to W and then compute C = N W + bias, with N = `next_`, in one pass over W."""
    table_of(&w[0, 0]).accumulate_affine(
        a.shape[0], w.shape[1], w.shape[0], &a[0, 0], a.shape[1], &d[0, 0], d.shape[1],
        &w[0, 0], w.shape[1], &next_[0, 0], next_.shape[1], &bias[0], &c[0, 0], c.shape[1])


def accumulate_bias(real[:, ::1] d, real[::1] bias):
    """Add the sum over the rows of D to `bias`."""
    table_of(&bias[0]).accumulate_bias(d.shape[0], d.shape[1], &d[0, 0], d.shape[1], &bias[0])


def has_bfloat16():
    """Return whether the chosen ISA has instructions for products of bfloat16 numbers."""
    return chosen[0].bf16.units_per_pair == 1


def uses_tiles(int64_t inputs, int64_t outputs):
    """Return whether AMX computes the rounded products of a dense layer."""
    return ISA == "amx" and inputs >= CMLP_BF16_MIN_SIZE and outputs >= CMLP_BF16_MIN_SIZE


def count_units(int64_t elements):
    """Return the number of units of a padded row of `elements` bfloat16 numbers; see kernels.h."""
    cdef int64_t pair = 2 * CMLP_PAD // 4
    return (elements + pair - 1) // pair * pair // 2 * chosen[0].bf16.units_per_pair


def round_rows(float[:, ::1] a, float[:, ::1] out):
    """Round the rows of A to bfloat16; OUT receives their units, `count_units` a row."""
    chosen[0].bf16.round_rows(a.shape[0], a.shape[1], &a[0, 0], a.shape[1], &out[0, 0],
                              out.shape[1])


def bf16_affine(int64_t k, float[:, ::1] a, float[:, ::1] w, float[::1] bias, float[:, ::1] c):
    """Compute C = A W + bias for rows of units A; k is the number of rows of W."""
    chosen[0].bf16.affine(c.shape[0], w.shape[1], k, &a[0, 0], a.shape[1], &w[0, 0], w.shape[1],
                          &bias[0], NULL, &c[0, 0], c.shape[1])


def bf16_affine_backward(int64_t n, float[:, ::1] d, float[:, ::1] w, float[:, ::1] c):
    """Compute C = D W^T for rows of units D; n is the length of the sum."""
    chosen[0].bf16.affine_backward(c.shape[0], n, w.shape[0], &d[0, 0], d.shape[1], &w[0, 0],
                                   w.shape[1], NULL, NULL, &c[0, 0], c.shape[1])


def bf16_accumulate(float[:, ::1] a, float[:, ::1] d, double factor, float[:, ::1] w):
    """Add factor * A^T D to W for rows of units A and D."""
    chosen[0].bf16.accumulate(a.shape[0], w.shape[1], w.shape[0], &a[0, 0], a.shape[1], &d[0, 0],
                              d.shape[1], factor, &w[0, 0], w.shape[1])


def stores_slope(str activation):
    """Return whether the forward pass of this activation stores its slope."""
    return bool(chosen[0].stores_slope(ACTIVATIONS[activation].code))


def activate(str activation, int outputs, real[:, ::1] a, real[:, ::1] slopes=None,
             double parameter=0):
    """Compute A = f(A) in place and, if f stores slopes and they are given, slopes = f'(A)."""
    cdef cmlp_activation f = activation_of(ACTIVATIONS[activation].code, parameter)
    cdef void *stored = &slopes[0, 0] if slopes is not None else NULL
    table_of(&a[0, 0]).activate(&f, a.shape[0], a.shape[1], outputs, &a[0, 0], a.shape[1], stored)


def activate_backward(str activation, real[:, ::1] a, real[:, ::1] d, double parameter=0):
    """Multiply D by f' in place, given the outputs A or, if f stores slopes, the slopes A."""
    cdef cmlp_activation f = activation_of(ACTIVATIONS[activation].code, parameter)
    cdef const cmlp_kernels *kernels = table_of(&a[0, 0])
    if kernels.stores_slope(f.kind):
        kernels.multiply(a.shape[0], a.shape[1], &a[0, 0], a.shape[1], &d[0, 0], d.shape[1])
    else:
        kernels.activate_backward(&f, a.shape[0], a.shape[1], &a[0, 0], a.shape[1], &d[0, 0],
                                  d.shape[1])


cdef void transform_input(str kind, double parameter, cmlp_rng_key key, sample,
                          real[:, ::1] x) except *:
    cdef cmlp_input_layer layer = cmlp_input_layer(INPUT_LAYERS[kind].code, parameter)
    table_of(&x[0, 0]).transform_input(&layer, &key, sample, x.shape[0], x.shape[1], &x[0, 0],
                                       x.shape[1])


def drop(double rate, seed, epoch, layer, sample, real[:, ::1] x):
    """Apply dropout to X in place; row i is the sample at offset `sample` + i of the epoch."""
    transform_input("input_dropout", rate, cmlp_rng_key(seed, epoch, layer), sample, x)


def add_noise(double deviation, seed, epoch, sample, real[:, ::1] x):
    """Add normal noise to X in place; row i is the sample at offset `sample` + i of the epoch."""
    transform_input("input_noise", deviation, cmlp_rng_key(seed, epoch, 0), sample, x)


def head(str activation, str loss, int outputs, const int32_t[::1] labels, double scale,
         real[:, ::1] z, real[:, ::1] d, double[::1] losses):
    """Replace Z by the outputs, and set D to the gradient of the loss with respect to Z.

    Parameters
    ----------
    labels : ndarray of int32 of shape (m,)
        Class labels.
    scale : float
        Factor of the gradient.
    z, d : ndarray of shape (m, n), padded
        Pre-activations in, outputs out; and the gradient.
    losses : ndarray of float64 of shape (m,)
        Receives the loss of each sample.
    """
    cdef cmlp_head kind = cmlp_head(activation_of(ACTIVATIONS[activation].code, 0),
                                    LOSSES[loss].code, 0, outputs, outputs, 0, 0, NULL)
    cdef cmlp_targets targets = cmlp_targets(&labels[0], NULL, 0, NULL)
    table_of(&z[0, 0]).head(&kind, &targets, NULL, z.shape[0], scale, &z[0, 0], NULL, &d[0, 0],
                            z.shape[1], &losses[0])

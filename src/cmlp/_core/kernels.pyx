"""The kernel table of the chosen ISA, and the tests' doorway to single kernels.

Matrices at this doorway are C-contiguous arrays of one real type whose row
lengths, where csrc/kernels.h says "padded", are multiples of `PAD` bytes and
whose data starts on such a boundary.
"""
import os

from libc.stdint cimport int32_t, uint32_t

ctypedef fused real:
    float
    double

# Each ISA has a table where this machine's compiler could build it (see setup.py).
cdef extern from "isa.h" nogil:
    const cmlp_kernels *cmlp_table(const char *isa, int itemsize)
    int cmlp_cpu_runs(const char *isa)

ctypedef const cmlp_kernels *table_pointer

# The tables in use, for 4 and for 8 bytes.
cdef table_pointer[2] chosen

# From the plainest to the widest.
NAMES = ("baseline", "avx2", "avx512")
PAD = CMLP_PAD


def available():
    """The ISAs that this build has and this CPU runs, from the plainest to the widest."""
    return tuple(name for name in NAMES
                 if cmlp_table(name.encode(), 4) != NULL and cmlp_cpu_runs(name.encode()))


def choose(wanted=None):
    """Use the ISA called `wanted`, or the widest that there is."""
    global ISA
    cdef bytes name
    found = available()
    if wanted and wanted not in NAMES:
        raise ValueError(f"CMLP_ISA={wanted!r} is unknown; allowed are {', '.join(NAMES)}")
    if wanted and wanted not in found:
        raise ValueError(f"CMLP_ISA={wanted!r} does not run here; this build and CPU allow "
                         f"{', '.join(found)}")
    ISA = wanted or max(found, key=NAMES.index)
    name = ISA.encode()
    chosen[0] = cmlp_table(name, 4)
    chosen[1] = cmlp_table(name, 8)


ISA = None
choose(os.environ.get("CMLP_ISA"))


cdef const cmlp_kernels *table(int itemsize) except NULL:
    """The kernels for reals of `itemsize` bytes, 4 or 8."""
    if itemsize not in (4, 8):
        raise ValueError(f"no kernels for reals of {itemsize} bytes")
    return chosen[itemsize == 8]


cdef tuple names(const char *const *list_):
    found = []
    while list_[len(found)] != NULL:
        found.append((<bytes> list_[len(found)]).decode())
    return tuple(found)


# A name's place is its code.
ACTIVATIONS = names(chosen[0].activations)
LOSSES = names(chosen[0].losses)
OPTIMIZERS = names(chosen[0].optimizers)


def vector_bytes():
    """The width in bytes of the chosen ISA's vectors."""
    return chosen[0].vector_bytes


cdef inline const cmlp_kernels *table_of(real *_) noexcept:
    return chosen[sizeof(real) == 8]


def affine(real[:, ::1] a, real[:, ::1] w, real[::1] bias, real[:, ::1] c):
    """C = A W + bias; what A and C have beyond the rows and columns of W is left alone."""
    table_of(&c[0, 0]).affine(c.shape[0], w.shape[1], w.shape[0], &a[0, 0], a.shape[1],
                              &w[0, 0], w.shape[1], &bias[0], &c[0, 0], c.shape[1])


def affine_backward(real[:, ::1] d, real[:, ::1] w, real[:, ::1] c):
    """C = D W^T, for the rows of W; what C has beyond them is padding."""
    table_of(&c[0, 0]).affine_backward(c.shape[0], w.shape[1], w.shape[0], &d[0, 0], d.shape[1],
                                       &w[0, 0], w.shape[1], &c[0, 0], c.shape[1])


def accumulate(real[:, ::1] a, real[:, ::1] d, real[:, ::1] w):
    """W += A^T D, for the first columns of A, as many as W has rows."""
    table_of(&w[0, 0]).accumulate(a.shape[0], w.shape[1], w.shape[0], &a[0, 0], a.shape[1],
                                  &d[0, 0], d.shape[1], &w[0, 0], w.shape[1])


def accumulate_bias(real[:, ::1] d, real[::1] bias):
    """bias += the sum over the rows of D."""
    table_of(&bias[0]).accumulate_bias(d.shape[0], d.shape[1], &d[0, 0], d.shape[1], &bias[0])


def multiply_adds(int itemsize, int rounds):
    """Run multiply-adds at the peak of the core; returns how many there were."""
    return table(itemsize).multiply_adds(rounds)


def shared_pass_rows():
    """The most rows of A that `accumulate_affine` takes."""
    return chosen[0].shared_pass_rows


def accumulate_affine(real[:, ::1] a, real[:, ::1] d, real[:, ::1] w, real[:, ::1] next_,
                      real[::1] bias, real[:, ::1] c):
    """W += A^T D, then C = N W + bias."""
    table_of(&w[0, 0]).accumulate_affine(
        a.shape[0], w.shape[1], w.shape[0], &a[0, 0], a.shape[1], &d[0, 0], d.shape[1],
        &w[0, 0], w.shape[1], &next_[0, 0], next_.shape[1], &bias[0], &c[0, 0], c.shape[1])


def keeps_slope(str activation):
    """Whether the derivative takes the input, and is kept, as the slope, with the output."""
    return bool(chosen[0].keeps_slope(ACTIVATIONS.index(activation)))


def activate(str activation, int outputs, real[:, ::1] a, real[:, ::1] slopes=None,
             double parameter=0):
    """A = f(A), in place, and the slopes, where they are kept, f'(A)."""
    cdef cmlp_activation f = cmlp_activation(ACTIVATIONS.index(activation), parameter)
    cdef void *kept = &slopes[0, 0] if slopes is not None else NULL
    table_of(&a[0, 0]).activate(&f, a.shape[0], a.shape[1], outputs, &a[0, 0], a.shape[1], kept)


def activate_backward(str activation, real[:, ::1] a, real[:, ::1] d, double parameter=0):
    """D *= f'(A), in place, from the outputs A; where slopes are kept, A is those."""
    cdef cmlp_activation f = cmlp_activation(ACTIVATIONS.index(activation), parameter)
    cdef const cmlp_kernels *kernels = table_of(&a[0, 0])
    if kernels.keeps_slope(f.kind):
        kernels.multiply(a.shape[0], a.shape[1], &a[0, 0], a.shape[1], &d[0, 0], d.shape[1])
    else:
        kernels.activate_backward(&f, a.shape[0], a.shape[1], &a[0, 0], a.shape[1], &d[0, 0],
                                  d.shape[1])


def drop(double rate, seed, epoch, layer, place, real[:, ::1] x):
    """X as dropout leaves it, in place: the samples from this place in an epoch on."""
    cdef cmlp_noise noise = cmlp_noise(seed, epoch, layer)
    cdef cmlp_dropout dropout = dropout_of(rate)
    table_of(&x[0, 0]).drop_input(&dropout, &noise, place, x.shape[0], x.shape[1], &x[0, 0],
                                  x.shape[1])


def add_noise(double deviation, seed, epoch, place, real[:, ::1] x):
    """X += noise, in place: the samples from this place in an epoch on."""
    cdef cmlp_noise noise = cmlp_noise(seed, epoch, 0)
    table_of(&x[0, 0]).add_noise(deviation, &noise, place, x.shape[0], x.shape[1], &x[0, 0],
                                 x.shape[1])


cdef cmlp_dropout dropout_of(double rate) noexcept:
    # The nearest of 65536 parts, and the scale that makes the mean right for that.
    cdef uint32_t dropped = <uint32_t> min(rate * 65536 + 0.5, 65535)
    return cmlp_dropout(dropped, 65536.0 / (65536 - dropped))


def head(str activation, str loss, int outputs, const int32_t[::1] labels, double scale,
         real[:, ::1] z, real[:, ::1] d, double[::1] losses):
    """Z to outputs, D to the gradient of the loss with respect to Z, for class labels."""
    cdef cmlp_head kind = cmlp_head(cmlp_activation(ACTIVATIONS.index(activation), 0),
                                    LOSSES.index(loss), outputs, 0)
    cdef cmlp_targets targets = cmlp_targets(&labels[0], NULL, 0, NULL)
    table_of(&z[0, 0]).head(&kind, &targets, NULL, z.shape[0], scale, &z[0, 0], NULL, &d[0, 0],
                            z.shape[1], &losses[0])

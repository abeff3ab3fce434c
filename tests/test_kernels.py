"""Single kernels, for every ISA, against the oracle and against wider types.

The tests of components run over the kernel table: a new activation is tested by being listed, and
fails until `oracle.ACTIVATIONS`, `oracle.DERIVATIVES` and `EXACT` below have its formulas.
"""

import math

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmlp import activations, losses, optimizers
from cmlp._core import kernels
from cmlp._model.layers import LAYERS
from cmlp._model.parameters import aligned_zeros

DTYPES = (np.float32, np.float64)
# Around multiples of the vector width, and around the 256 rows of a panel in float64.
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 128, 255, 256, 257, 300]))


def pad(array, dtype):
    """Return an aligned copy (m, n rounded up to kernels.PAD bytes), padded with zeros."""
    lanes = kernels.PAD // np.dtype(dtype).itemsize
    m, n = array.shape
    width = -(-n // lanes) * lanes
    out = aligned_zeros(m * width, np.dtype(dtype)).reshape(m, width)
    out[:, :n] = array
    return out


def assert_close(got, want, dtype, terms):
    """Check a sum of `terms` products, relative to its largest element."""
    tolerance = np.finfo(dtype).eps * (4 + terms)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1, np.abs(want).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@given(m=SIZES, n=SIZES, k=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_products(isa_name, dtype, m, n, k, seed):
    rng = np.random.default_rng(seed)
    a, w, d = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
    bias = rng.normal(size=(1, n)).astype(dtype)
    wide = {name: array.astype(float) for name, array in (("a", a), ("w", w), ("d", d))}

    c = pad(np.zeros((m, n)), dtype)
    kernels.affine(a, pad(w, dtype), pad(bias, dtype)[0], c, n)
    assert_close(c[:, :n], wide["a"] @ wide["w"] + bias, dtype, k)
    assert not c[:, n:].any()
    relu = pad(np.ones(c.shape), dtype)  # replaced, the padding too
    kernels.affine(a, pad(w, dtype), pad(bias, dtype)[0], relu, n, relu=True)
    assert (relu == np.maximum(c, 0)).all()

    below = pad(np.zeros((m, k)), dtype)
    kernels.affine_backward(pad(d, dtype), pad(w, dtype), below)
    assert_close(below[:, :k], wide["d"] @ wide["w"].T, dtype, n)
    assert not below[:, k:].any()
    outputs, masked = pad(rng.normal(size=(m, k)).clip(0), dtype), pad(below, dtype)
    kernels.affine_backward(pad(d, dtype), pad(w, dtype), masked, outputs)
    assert (masked == below * (outputs > 0)).all()

    into = pad(w, dtype)
    kernels.accumulate(a, pad(d, dtype), into, n)
    assert_close(into[:, :n], wide["w"] + wide["a"].T @ wide["d"], dtype, m)
    assert not into[:, n:].any()

    into = pad(bias, dtype)[0]
    kernels.accumulate_bias(pad(d, dtype), into)
    assert_close(into[:n], bias[0] + wide["d"].sum(axis=0), dtype, m)


@pytest.mark.parametrize("dtype", DTYPES)
@given(m=st.integers(1, 5), n=SIZES, k=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_shared_pass_is_an_update_and_then_a_forward_product(isa_name, dtype, m, n, k, seed):
    m = min(m, kernels.get_shared_pass_rows())
    rng = np.random.default_rng(seed)
    a, following = rng.normal(size=(2, m, k)).astype(dtype)
    d, bias = pad(rng.normal(size=(m, n)), dtype), pad(rng.normal(size=(1, n)), dtype)[0]
    separate = pad(rng.normal(size=(k, n)), dtype)
    shared = pad(separate, dtype)
    want, got = pad(np.zeros(d.shape), dtype), pad(np.zeros(d.shape), dtype)
    kernels.accumulate(a, d, separate)
    kernels.affine(following, separate, bias, want)
    kernels.accumulate_affine(a, d, shared, following, bias, got)
    assert (shared == separate).all()
    assert (got == want).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [2, 5, 23, 24, 40])
def test_blocks_and_panels_do_not_change_a_bit(isa, rng, dtype, m):
    # W is larger than LARGE_MATRIX_BYTES of policy.h, and its sums have more than one panel.
    k, n = 1100, 700
    a, d = (rng.normal(size=s).astype(dtype) for s in ((m, k), (m, n)))
    w, d = pad(rng.normal(size=(k, n)), dtype), pad(d, dtype)
    bias, c_row = (pad(rng.normal(size=(1, n)), dtype) for _ in range(2))
    c, below, below_row = pad(np.zeros((m, n)), dtype), pad(a, dtype), pad(a[:1], dtype)
    kernels.affine(a, w, bias[0], c)
    kernels.affine_backward(d, w, below)
    for i in range(m):
        kernels.affine(a[i : i + 1], w, bias[0], c_row)
        kernels.affine_backward(pad(d[i : i + 1], dtype), w, below_row)
        assert (c[i] == c_row[0]).all()
        assert (below[i] == below_row[0]).all()
    together, one_by_one = pad(w, dtype), pad(w, dtype)
    kernels.accumulate(a, d, together)
    for i in range(m):
        kernels.accumulate(a[i : i + 1], pad(d[i : i + 1], dtype), one_by_one)
    assert (together == one_by_one).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(m=SIZES, n=st.integers(1, 20), k=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_an_update_of_few_outputs_has_the_same_bits(isa_name, dtype, m, n, k, seed):
    rng = np.random.default_rng(seed)
    a, d = (pad(rng.normal(size=s), dtype) for s in ((m, k), (m, n)))
    by_outputs = pad(rng.normal(size=(k, n)), dtype)
    by_inputs = pad(by_outputs, dtype)
    kernels.accumulate(a, d, by_outputs)
    kernels.accumulate(a, d, by_inputs, n)
    assert (by_inputs == by_outputs).all()


# A head of up to two vectors of outputs processes several rows at a time.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("activation", "loss"),
    [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("identity", "mse")],
)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 10, 16, 17, 32, 33])
def test_a_head_computes_each_row_alone(isa, rng, dtype, activation, loss, n):
    m = 37
    logits = rng.normal(size=(m, n)) * 20
    logits[5] = np.nan
    labels = rng.integers(0, n, m).astype(np.int32)
    z = pad(logits, dtype)
    d, losses_ = np.empty_like(z), np.empty(m)
    d = pad(d, dtype)
    kernels.head(activation, loss, n, labels, 0.3, z, d, losses_)
    for i in range(m):
        z_row = pad(logits[i : i + 1], dtype)
        d_row, loss_row = pad(np.zeros((1, n)), dtype), np.empty(1)
        kernels.head(activation, loss, n, labels[i : i + 1], 0.3, z_row, d_row, loss_row)
        np.testing.assert_array_equal(z[i, :n], z_row[0, :n])
        np.testing.assert_array_equal(d[i, :n], d_row[0, :n])
        assert losses_[i] == loss_row[0] or (i == 5 and np.isnan([losses_[i], loss_row[0]]).all())
    assert not np.delete(z[:, n:], 5, axis=0).any()
    assert not np.delete(d[:, n:], 5, axis=0).any()


def test_the_kernel_table_and_the_components_agree():
    for infos in (kernels.ACTIVATIONS, kernels.LOSSES, kernels.OPTIMIZERS):
        assert [info.code for info in infos.values()] == list(range(len(infos)))
    assert set(kernels.ACTIVATIONS) == set(activations.ACTIVATIONS)
    assert set(kernels.LOSSES) == set(losses.LOSSES)
    used = {make().kernel for make in optimizers.OPTIMIZERS.values()}
    assert set(kernels.OPTIMIZERS) >= used - {"sgd"}
    assert kernels.INPUT_LAYERS.keys() | kernels.ENCODERS.keys() == set(LAYERS) - {"dense"}
    with_parameter = [name for name, info in kernels.ACTIVATIONS.items() if info.parameters]
    assert with_parameter == [name for name, a in activations.ACTIVATIONS.items() if a.parameter]
    for name, info in kernels.ACTIVATIONS.items():
        assert kernels.stores_slope(name) == info.stores_slope
        # A probability is compared with 1/2, any other output with 0.
        assert info.threshold == (0.5 if name in ("sigmoid", "softmax") else 0)
    assert all(0 <= info.states <= 3 for info in kernels.OPTIMIZERS.values())


# A kernel gets the default parameter of its activation; of one that activations.py lacks, 0.
PARAMETERS = {name: a.parameter for name, a in activations.ACTIVATIONS.items()}


def max_ulps(got, want, dtype):
    """Return the largest error in units in the last place of the exact value."""
    with np.errstate(invalid="ignore"):
        spacing = np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
        error = np.abs(got.astype(np.longdouble) - want) / spacing
    return np.nanmax(error)


@np.vectorize(otypes=[np.longdouble])
def normal_cdf(z):
    """Return the normal distribution function, by erfc in float64.

    The rounding error of its argument is corrected to first order.
    """
    t = -z / np.sqrt(np.longdouble(2))
    error = t - float(t)
    slope = -2 / np.sqrt(np.pi) * np.exp(-(np.longdouble(float(t)) ** 2))
    return (math.erfc(float(t)) + slope * error) / 2


def expm1_below_0(z):
    return np.expm1(np.minimum(z, 0))


def sigmoid(z):
    return np.where(z < 0, np.exp(-np.abs(z)), 1) / (1 + np.exp(-np.abs(z)))


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


SELU_LAMBDA = np.longdouble("1.0507009873554804934193349852946")
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")
GELU_SCALE = np.longdouble("1.5957691216057307117597842397375")  # 2 sqrt(2 / pi)

# The values of all activations but softmax, with their default parameters, for long doubles.
EXACT = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, np.longdouble("0.01") * z, z),
    "elu": lambda z: np.where(z < 0, expm1_below_0(z), z),
    "selu": lambda z: SELU_LAMBDA * np.where(z < 0, SELU_ALPHA * expm1_below_0(z), z),
    "celu": lambda z: np.where(z < 0, expm1_below_0(z), z),
    "softplus": softplus,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "gelu": lambda z: z * normal_cdf(z),
    "gelu_tanh": lambda z: z * sigmoid(GELU_SCALE * (z + np.longdouble("0.044715") * z**3)),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * np.tanh(softplus(z)),
}

# The largest error in ulp, where it may exceed 4.
MAX_ULPS = {
    "gelu": 6,
    "gelu_tanh": 2000,  # the rounding error of a large argument of exp is amplified
    "hard_sigmoid": 32,  # cancels near -3
    "mish": 64,  # exp(z) is subnormal where z exp(z) is not
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in kernels.ACTIVATIONS if name != "softmax"])
def test_activations_are_accurate_over_the_whole_range(isa, dtype, name):
    info = np.finfo(dtype)
    size = np.geomspace(info.tiny, 1000, 4000)
    z = np.concatenate([-size[::-1], [0], size, np.linspace(-20, 20, 4095)]).astype(dtype)[None]
    a = pad(z, dtype)
    kernels.activate(name, z.shape[1], a, None, PARAMETERS.get(name, 0))
    want = EXACT[name](z.astype(np.longdouble))
    assert np.isfinite(a).all()
    assert max_ulps(a[:, : z.shape[1]], want, dtype) <= MAX_ULPS.get(name, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
@pytest.mark.parametrize("n", [1, 7, 16, 33])
def test_activations_and_their_derivatives(isa, dtype, name, n, rng):
    z, g = rng.normal(size=(2, 5, n))
    a, d = pad(z, dtype), pad(g, dtype)
    slopes = pad(z, dtype) if kernels.stores_slope(name) else None
    parameter = PARAMETERS.get(name, 0)
    kernels.activate(name, n, a, slopes, parameter)
    want = oracle.ACTIVATIONS[name](z)
    np.testing.assert_allclose(a[:, :n], want, rtol=2e-6 if dtype == np.float32 else 1e-14)
    kernels.activate_backward(name, a if slopes is None else slopes, d, parameter)
    if name == "softmax":
        back = want * (g - (g * want).sum(axis=1, keepdims=True))
    else:
        back = g * oracle.DERIVATIVES[name](z, want)
    np.testing.assert_allclose(d[:, :n], back, atol=2e-6 if dtype == np.float32 else 1e-14)
    assert not d[:, n:].any()


@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
def test_not_a_number_shows(isa, name):
    a = pad(np.array([[np.nan, 1.0, 2.0]]), np.float32)
    kernels.activate(name, 3, a, None, PARAMETERS.get(name, 0))
    assert np.isnan(a[0, 0])


@pytest.mark.parametrize("size", [1, 50, 300])
def test_extreme_logits_have_finite_losses(isa, size):
    z = pad(np.array([[1000.0, -1000, 0], [-1000, 1000, 0]]), np.float32)
    d, losses = np.zeros_like(z), np.zeros(2)
    d = pad(d, np.float32)
    kernels.head("softmax", "cross_entropy", 3, np.array([1, 1], np.int32), 1, z, d, losses)
    np.testing.assert_allclose(losses, [2000, 0])
    np.testing.assert_allclose(d[:, :3], [[1, -1, 0], [0, 0, 0]], atol=1e-7)


def test_unknown_isa_is_refused():
    before = kernels.ISA
    with pytest.raises(ValueError, match=r"CMLP_ISA must be one of baseline, .*; got 'sse9'"):
        kernels.choose("sse9")
    assert before == kernels.ISA

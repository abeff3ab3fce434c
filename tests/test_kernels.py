"""Single kernels, for every ISA, against the oracle and against float64."""

import math

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmlp import activations
from cmlp._core import kernels
from cmlp._model.parameters import aligned_zeros

DTYPES = (np.float32, np.float64)
# Around the vector widths, and across the 256 rows of a transposed panel.
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 128, 255, 256, 257, 300]))


def padded(array, dtype):
    """Return an aligned copy with its rows padded by zeros, and the width of a row."""
    lanes = kernels.PAD // np.dtype(dtype).itemsize
    m, n = array.shape
    width = -(-n // lanes) * lanes
    out = aligned_zeros(m * width, np.dtype(dtype)).reshape(m, width)
    out[:, :n] = array
    return out


def close(got, want, dtype, terms):
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

    c = padded(np.zeros((m, n)), dtype)
    kernels.affine(a, padded(w, dtype), padded(bias, dtype)[0], c)
    close(c[:, :n], wide["a"] @ wide["w"] + bias, dtype, k)
    assert not c[:, n:].any()

    below = padded(np.zeros((m, k)), dtype)
    kernels.affine_backward(padded(d, dtype), padded(w, dtype), below)
    close(below[:, :k], wide["d"] @ wide["w"].T, dtype, n)
    assert not below[:, k:].any()

    into = padded(w, dtype)
    kernels.accumulate(a, padded(d, dtype), into)
    close(into[:, :n], wide["w"] + wide["a"].T @ wide["d"], dtype, m)
    assert not into[:, n:].any()

    into = padded(bias, dtype)[0]
    kernels.accumulate_bias(padded(d, dtype), into)
    close(into[:n], bias[0] + wide["d"].sum(axis=0), dtype, m)


@pytest.mark.parametrize("dtype", DTYPES)
@given(m=st.integers(1, 5), n=SIZES, k=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_shared_pass_is_an_update_and_then_a_forward_product(isa_name, dtype, m, n, k, seed):
    m = min(m, kernels.shared_pass_rows())
    rng = np.random.default_rng(seed)
    a, next_, w, d = (rng.normal(size=s).astype(dtype) for s in ((m, k), (m, k), (k, n), (m, n)))
    w, d, bias = padded(w, dtype), padded(d, dtype), padded(rng.normal(size=(1, n)), dtype)[0]
    separate, shared = w.copy(), padded(w, dtype)
    separate = padded(separate, dtype)
    want, got = np.zeros((2, *d.shape), dtype)
    want, got = padded(want, dtype), padded(got, dtype)
    kernels.accumulate(a, d, separate)
    kernels.affine(next_, separate, bias, want)
    kernels.accumulate_affine(a, d, shared, next_, bias, got)
    assert (shared == separate).all()
    assert (got == want).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [2, 5, 23, 24, 40])
def test_blocks_and_panels_do_not_change_a_bit(isa, rng, dtype, m):
    # Weights that no second cache holds, summed over more than one panel.
    k, n = 1100, 700
    a, d = (rng.normal(size=s).astype(dtype) for s in ((m, k), (m, n)))
    w, d = padded(rng.normal(size=(k, n)), dtype), padded(d, dtype)
    bias, c, row = (padded(rng.normal(size=(1, n)), dtype) for _ in range(3))
    c, below, back = padded(np.zeros((m, n)), dtype), padded(a, dtype), padded(a[:1], dtype)
    kernels.affine(a, w, bias[0], c)
    kernels.affine_backward(d, w, below)
    for i in range(m):
        kernels.affine(a[i : i + 1], w, bias[0], row)
        kernels.affine_backward(padded(d[i : i + 1], dtype), w, back)
        assert (c[i] == row[0]).all()
        assert (below[i] == back[0]).all()
    together, apart = padded(w, dtype), padded(w, dtype)
    kernels.accumulate(a, d, together)
    for i in range(m):
        kernels.accumulate(a[i : i + 1], padded(d[i : i + 1], dtype), apart)
    assert (together == apart).all()


PARAMETERS = {name: a.parameter for name, a in activations.ACTIVATIONS.items()}


def ulps(got, want, dtype):
    """Return the greatest error in units in the last place of the true value."""
    with np.errstate(invalid="ignore"):
        spacing = np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
        error = np.abs(got.astype(np.longdouble) - want) / spacing
    return np.nanmax(error)


@np.vectorize(otypes=[np.longdouble])
def normal(z):
    """The normal distribution function; what rounding z / sqrt 2 loses is put back."""
    t = -z / np.sqrt(np.longdouble(2))
    lost = t - float(t)
    slope = -2 / np.sqrt(np.pi) * np.exp(-(np.longdouble(float(t)) ** 2))
    return (math.erfc(float(t)) + slope * lost) / 2


EXACT = {
    "sigmoid": lambda z: np.where(z < 0, np.exp(-np.abs(z)), 1) / (1 + np.exp(-np.abs(z))),
    "tanh": np.tanh,
    "elu": lambda z: np.where(z < 0, np.expm1(np.minimum(z, 0)), z),
    "selu": lambda z: np.longdouble("1.0507009873554804934193349852946") * np.where(
        z < 0, np.longdouble("1.6732632423543772848170429916717") * np.expm1(np.minimum(z, 0)), z
    ),
    "softplus": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "silu": lambda z: z * EXACT["sigmoid"](z),
    "gelu": lambda z: z * normal(z),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_functions_are_accurate_over_the_whole_range(isa, dtype, name):
    info = np.finfo(dtype)
    size = np.geomspace(info.tiny, 1000, 4000)
    z = np.concatenate([-size[::-1], [0], size, np.linspace(-20, 20, 4095)]).astype(dtype)[None]
    a = padded(z, dtype)
    kernels.activate(name, z.shape[1], a, None, PARAMETERS.get(name, 0))
    want = EXACT[name](z.astype(np.longdouble))
    assert np.isfinite(a).all()
    most = 6 if (name, dtype) == ("gelu", np.float64) else 4
    assert ulps(a[:, : z.shape[1]], want, dtype) <= most


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
@pytest.mark.parametrize("n", [1, 7, 16, 33])
def test_activations(isa, dtype, name, n, rng):
    z, g = rng.normal(size=(2, 5, n))
    a, d = padded(z, dtype), padded(g, dtype)
    slopes = padded(z, dtype) if kernels.stores_slope(name) else None
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
    a = padded(np.array([[np.nan, 1.0, 2.0]]), np.float32)
    kernels.activate(name, 3, a, None, PARAMETERS.get(name, 0))
    assert np.isnan(a[0, 0])


@pytest.mark.parametrize("size", [1, 50, 300])
def test_extreme_logits_have_finite_losses(isa, size):
    z = padded(np.array([[1000.0, -1000, 0], [-1000, 1000, 0]]), np.float32)
    d, losses = np.zeros_like(z), np.zeros(2)
    d = padded(d, np.float32)
    kernels.head("softmax", "cross_entropy", 3, np.array([1, 1], np.int32), 1, z, d, losses)
    np.testing.assert_allclose(losses, [2000, 0])
    np.testing.assert_allclose(d[:, :3], [[1, -1, 0], [0, 0, 0]], atol=1e-7)


def test_unknown_isa_is_refused():
    before = kernels.ISA
    with pytest.raises(ValueError, match=r"CMLP_ISA must be one of baseline, .*; got 'sse9'"):
        kernels.choose("sse9")
    assert before == kernels.ISA


# Hypothesis wants no function-scoped fixture around its examples: the ISAs as parameters.
@pytest.fixture(params=kernels.available(), scope="module")
def isa_name(request):
    before = kernels.ISA
    kernels.choose(request.param)
    yield request.param
    kernels.choose(before)

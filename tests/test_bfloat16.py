"""Products of bfloat16 operands: their bits on every ISA, and networks that compute in bfloat16."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cmlp._core import kernels
from cmlp._model.parameters import aligned_zeros

# Around multiples of pairs, vectors and panels; 1030 is above the samples of one sum.
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 127, 128, 129, 200]))
SAMPLES = st.one_of(SIZES, st.sampled_from([511, 512, 513, 1030]))
FLOAT32 = np.dtype(np.float32)


def align(array):
    """Return an aligned copy whose rows are padded with zeros to 64 bytes."""
    m, n = array.shape
    width = -(-n // 16) * 16
    out = aligned_zeros(m * width, FLOAT32).reshape(m, width)
    out[:, :n] = array
    return out


def round_rows(array):
    """Return the rows of units of an array."""
    m, n = array.shape
    units = kernels.count_units(n) + 16
    out = aligned_zeros(m * units, FLOAT32).reshape(m, units)
    kernels.round_rows(np.ascontiguousarray(array), out)
    return out


def draw(rng, shape, magnitude):
    """Return normal numbers, a tenth of them zero, with exponents of -magnitude .. magnitude."""
    x = rng.normal(size=shape) * 2.0 ** rng.integers(-magnitude, magnitude + 1, shape)
    return np.where(rng.random(shape) < 0.1, 0, x).astype(np.float32)


@given(m=SIZES, n=SIZES, k=SIZES, seed=st.integers(0, 2**32), magnitude=st.sampled_from([2, 60]))
@settings(max_examples=40)
def test_forward_and_backward(isa_name, m, n, k, seed, magnitude):
    rng = np.random.default_rng(seed)
    a, w, d = (draw(rng, shape, magnitude) for shape in ((m, k), (k, n), (m, n)))
    bias = draw(rng, (1, n), magnitude)

    c = align(np.zeros((m, n)))
    kernels.bf16_affine(k, round_rows(a), align(w), align(bias)[0], c)
    assert_array_equal(c[:, :n], oracle.multiply_bfloat16(a, w, bias))

    below = align(np.zeros((m, k)))
    kernels.bf16_affine_backward(n, round_rows(d), align(w), below)
    assert_array_equal(below[:, :k], oracle.multiply_bfloat16(d, w.T, 0))
    assert not below[:, k:].any()


@given(m=SAMPLES, n=SIZES, k=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_update(isa_name, m, n, k, seed):
    rng = np.random.default_rng(seed)
    a, d, w = (draw(rng, shape, 2) for shape in ((m, k), (m, n), (k, n)))
    factor = np.float32(rng.normal())
    into, want = align(w), w
    kernels.bf16_accumulate(round_rows(a), round_rows(d), factor, into)
    for i in range(0, m, 512):
        sums = oracle.multiply_bfloat16(a[i : i + 512].T, d[i : i + 512], 0)
        want = (want + factor.astype(np.longdouble) * sums).astype(np.float32)
    if isa_name == "baseline":  # without fused multiply-adds
        np.testing.assert_allclose(into[:, :n], want, rtol=1e-5, atol=1e-5)
    else:
        assert_array_equal(into[:, :n], want)
    assert not into[:, n:].any()


def test_rounding(isa):
    """Ties, subnormal numbers, overflow, infinity and NaN, against every unit that is stored."""
    bits = np.array([0x3F808000, 0x3F818000, 0x3F80FFFF, 0x3F807FFF, 0x00000001, 0x807FFFFF,
                     0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0x7FC00000,
                     0xFFFFFFFF, 0x80000000, 0x3DCCCCCD], np.uint32)  # fmt: skip
    row = np.tile(bits.view(np.float32), 5)[None]
    units = round_rows(row).view(np.uint32)[0, : kernels.count_units(row.shape[1])]
    if kernels.count_units(32) == 16:
        elements = np.stack([units << 16, units & 0xFFFF0000], 1).ravel()
    else:
        elements = units.reshape(-1, 2)[:, ::-1].ravel()
    got = elements[: row.shape[1]].view(np.float32)
    assert_array_equal(got, oracle.round_bfloat16(row)[0])
    assert_array_equal(np.signbit(got), np.signbit(row[0]))
    assert not elements[row.shape[1] :].any()


def test_subnormal_results_are_flushed(isa):
    tiny = np.full((1, 2), 1.5 * 2.0**-70, np.float32)
    c = align(np.zeros((1, 1)))
    kernels.bf16_affine(2, round_rows(tiny), align(tiny.T), align(np.zeros((1, 1)))[0], c)
    assert c[0, 0] == 0
    # The caller's mode is restored.
    small = np.float32(2.0**-126)
    assert small / np.float32(2) != 0



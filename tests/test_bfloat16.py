"""Products of bfloat16 operands: their bits on every ISA, and networks that compute in bfloat16."""

import pickle
import warnings

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone

import cmlp
from cmlp import SGD, Adam, Network
from cmlp._core import kernels
from cmlp._model.parameters import aligned_zeros
from cmlp.callbacks import Checkpoint
from cmlp.schedules import Cosine
from cmlp.sklearn import MLPClassifier

# Around multiples of pairs, vectors and panels; 1030 is above the samples of one sum.
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 127, 128, 129, 200]))
SAMPLES = st.one_of(SIZES, st.sampled_from([511, 512, 513, 1030]))
FLOAT32 = np.dtype(np.float32)


def multiply(a, b, start):
    """Return what the chosen ISA computes for start + a @ b."""
    oracles = {"amx": oracle.multiply_bfloat16_tiles}
    return oracles.get(kernels.ISA, oracle.multiply_bfloat16)(a, b, start)


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
    assert_array_equal(c[:, :n], multiply(a, w, bias))

    below = align(np.zeros((m, k)))
    kernels.bf16_affine_backward(n, round_rows(d), align(w), below)
    assert_array_equal(below[:, :k], multiply(d, w.T, 0))
    assert not below[:, k:].any()


@given(m=SAMPLES, n=SIZES, k=SIZES, seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_update(isa_name, m, n, k, seed):
    rng = np.random.default_rng(seed)
    a, d, w = (draw(rng, shape, 2) for shape in ((m, k), (m, n), (k, n)))
    factor = np.float32(rng.normal())
    into, fused, unfused = align(w), w, w
    kernels.bf16_accumulate(round_rows(a), round_rows(d), factor, into)
    for i in range(0, m, 512):
        sums = multiply(a[i : i + 512].T, d[i : i + 512], 0)
        fused = (fused + factor.astype(np.longdouble) * sums).astype(np.float32)
        unfused = unfused + factor * sums
    # Baseline kernels and builds without optimization do not fuse the last multiply-add.
    if not np.array_equal(into[:, :n], unfused):
        assert_array_equal(into[:, :n], fused)
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


# Networks.


def make_data(n=150, inputs=130, density=1.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, inputs)) * (rng.random((n, inputs)) < density)
    return X.astype(np.float32), rng.integers(0, 5, n)


def make_network(sizes=(130, 97, 66, 5), **options):
    options = {"activation": "tanh", "loss": "cross_entropy", "seed": 3, **options}
    return Network(list(sizes), compute_dtype="bfloat16", **options)


def get_bits(network):
    return network.state.parameters.block.tobytes() + network.state.statistics.block.tobytes()


def run_oracle(network, X, y, lr):
    """Return the layers' weights and biases after one step of gradient descent on all of X.

    The three products of the layers with at least 64 inputs and 64 outputs have rounded operands.
    The deltas of the others are multiplied by the learning rate before the products.
    """
    weights = [w.astype(np.float32) for w in network.weight]
    outputs, a = [X], X
    rounds = [min(w.shape) >= 64 for w in weights]
    products = [multiply if r else lambda a, b, start: a @ b + start for r in rounds]
    for l, (w, b) in enumerate(zip(weights, network.bias, strict=True)):
        z = products[l](a, w.T, b.T)
        a = np.tanh(z) if l < len(weights) - 1 else oracle.softmax(z)
        outputs.append(a.astype(np.float32))
    delta = ((a - np.eye(a.shape[1])[y]) / len(X)).astype(np.float32)
    result = []
    for l in reversed(range(len(weights))):
        below = outputs[l]
        update = products[l](delta.T, below, 0)
        result.insert(0, (weights[l] - lr * update,
                          network.bias[l] - lr * delta.sum(axis=0)[:, None]))  # fmt: skip
        if l:
            delta = products[l](delta, weights[l], 0) * (1 - below**2)
            delta = delta.astype(np.float32)
    return result


def test_a_step_against_the_oracle(isa):
    X, y = make_data()
    network = make_network()
    want = run_oracle(network, X, y, 0.5)
    before = [w.copy() for w in network.weight]
    network.fit(X, y, epochs=1, batch_size=len(X), optimizer=SGD(lr=0.5), shuffle=False)
    for w, b, old, (w_want, b_want) in zip(network.weight, network.bias, before, want, strict=True):
        # tanh differs in the last bit, and a rounding to bfloat16 turns such a difference into
        # 2^-8 of one product; float32 products would differ by as much in all of them.
        step = np.abs(w_want - old).max()
        assert np.abs(w - w_want).max() < 2e-3 * step
        np.testing.assert_allclose(b, b_want, rtol=1e-4, atol=1e-6)


def test_the_delta_is_rounded_before_the_learning_rate():
    """The updates of two learning rates are proportional, but for the rounding of the weights."""
    X, y = make_data()
    updates = []
    for lr in (1.0, 1.7):
        network = make_network()
        before = [w.copy() for w in network.weight]
        network.fit(X, y, epochs=1, batch_size=len(X), optimizer=SGD(lr=lr), shuffle=False)
        updates.append([(w - old) / lr for w, old in zip(network.weight, before, strict=True)])
    for first, second in zip(*updates, strict=True):
        np.testing.assert_allclose(first, second, atol=3e-7)


# Options of `make_network` and of `fit` that use different code.
VARIANTS = {
    "sgd": ({}, {}),
    "batch 1": ({}, {"batch_size": 1}),
    "batch 3": ({"activation": "relu"}, {"batch_size": 3}),
    "odd sizes": ({"sizes": (65, 129, 67, 71, 3)}, {"batch_size": 17}),
    "batch 600": ({}, {"batch_size": 600}),
    "momentum": ({}, {"optimizer": SGD(0.05, momentum=0.9, clip_norm=0.5)}),
    "adam": ({"activation": "gelu"}, {"optimizer": Adam(1e-3)}),
    "accumulate": ({}, {"optimizer": Adam(1e-3, accumulate=3)}),
    "dropout": ({"dropout": 0.3, "input_dropout": 0.2, "activation": "silu"}, {}),
    "batch norm": ({"normalization": "batch"}, {}),
    "layer norm": ({"normalization": "layer", "max_norm": 1.0}, {}),
    "both": ({"normalization": ["batch", "layer"]}, {"optimizer": Adam(1e-3)}),
    "wide output": ({"sizes": (70, 80, 64)}, {"schedule": Cosine()}),
}


def train(variant, threads, X=None, **more):
    options, fit = VARIANTS[variant]
    network = make_network(**options)
    if X is None:
        X = make_data(650 if variant == "batch 600" else 150, network.size[0])[0]
    y = np.random.default_rng(1).integers(0, network.size[-1], X.shape[0])
    fit = {"batch_size": 32, "optimizer": SGD(lr=0.1), **fit, **more}
    history = network.fit(X, y, epochs=2, threads=threads, **fit)
    assert np.isfinite(history["loss"]).all()
    return get_bits(network) + network.predict_proba(X, threads=threads).tobytes()


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits_for_any_number_of_threads(variant):
    want = train(variant, 1)
    for threads in (2, 3):
        assert train(variant, threads) == want


# Dropout of inputs drops other elements of sparse rows.
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "dropout"])
@pytest.mark.parametrize("density", [0.05, 0.3])
def test_same_bits_with_zeros_skipped(variant, density):
    inputs = VARIANTS[variant][0].get("sizes", (130,))[0]
    X, _ = make_data(650 if variant == "batch 600" else 150, inputs, density)
    X[3] = 0
    want = train(variant, 1, X, sparse=False)
    assert train(variant, 1, csr_array(X)) == want
    assert train(variant, 2, X, sparse=True) == want


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits_on_avx512(variant):
    """vdpbf16ps computes the bits of its emulation: whole networks agree."""
    names = [name for name in kernels.list_available() if name.startswith("avx512")]  # not AMX
    if len(names) < 2:
        pytest.skip("the CPU has no AVX512_BF16")
    before, bits = kernels.ISA, {}
    try:
        for name in names:
            kernels.choose(name)
            bits[name] = train(variant, 1)
    finally:
        kernels.choose(before)
    assert len(set(bits.values())) == 1


def test_rounding_depends_on_the_shape_alone():
    """Layers with fewer than 64 inputs or outputs have the bits of float32."""
    X, y = make_data(inputs=63)
    networks = [Network([63, 100, 63, 5], activation="relu", seed=0, compute_dtype=dtype)
                for dtype in (None, "bfloat16")]  # fmt: skip
    outputs = [network.fit(X, y, optimizer=Adam()) and network(X) for network in networks]
    assert_array_equal(*outputs)
    X, y = make_data(inputs=64)
    networks = [Network([64, 64, 5], activation="relu", seed=0, compute_dtype=dtype)
                for dtype in (None, "bfloat16")]  # fmt: skip
    assert not np.array_equal(networks[0](X), networks[1](X))


def test_predictions_do_not_depend_on_the_batch():
    X, _ = make_data(600)
    network = make_network(activation="relu")
    whole = network(X)
    for n in (1, 2, 23, 24, 257):
        assert_array_equal(network(X[:n]), whole[:n])
        assert_array_equal(network(csr_array(X[:n])), whole[:n])


def test_a_loss_in_python():
    def quadratic(a, y):
        return ((a - y) ** 2).sum() / 2 / len(a), (a - y) / len(a)

    X, _ = make_data()
    y = np.random.default_rng(2).random((len(X), 5)).astype(np.float32)
    options = {"activation": "relu", "output": "identity"}
    compiled = make_network(loss="quadratic", **options)
    called = make_network(loss=quadratic, **options)
    for network in (compiled, called):
        network.fit(X, y, epochs=2, optimizer=SGD(lr=0.01))
    for one, other in zip(compiled.weight, called.weight, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("extension", ["npz", "safetensors"])
def test_files_keep_it(extension, tmp_path):
    X, y = make_data()
    network = make_network()
    network.fit(X, y)
    network.save(tmp_path / f"n.{extension}")
    loaded = Network.load(tmp_path / f"n.{extension}")
    for each in (loaded, network.copy(), pickle.loads(pickle.dumps(network))):
        assert each.compute_dtype == "bfloat16"
        assert_array_equal(each(X), network(X))


def test_training_resumes_with_the_same_bits(tmp_path):
    X, y = make_data()
    path = tmp_path / "run.npz"

    def fit(network, epochs):
        network.fit(
            X,
            y,
            epochs=epochs,
            optimizer=Adam(1e-3),
            callbacks=[Checkpoint(path, every=1, unit="epochs")],
        )

    whole = make_network()
    fit(whole, 4)
    fit(make_network(), 2)
    resumed = Network.resume(path)
    fit(resumed, 4)
    assert get_bits(resumed) == get_bits(whole)


def test_estimators_take_it():
    X, y = make_data()
    for data in (X, X.astype(np.float64)):
        model = MLPClassifier((80, 70), compute_dtype="bfloat16", max_iter=5, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(data, y)
        assert model.network_.compute_dtype == "bfloat16"
        assert model.network_.dtype == np.float32
        assert clone(model).compute_dtype == "bfloat16"
    with pytest.raises(ValueError, match="compute_dtype must be 'float64'"):
        MLPClassifier(compute_dtype="bfloat16", dtype="float64").fit(X, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"compute_dtype": "float16"}, ValueError, "'bfloat16' or 'float32'.*'float16'"),
        ({"compute_dtype": "float64"}, ValueError, "'bfloat16' or 'float32'.*'float64'"),
        ({"compute_dtype": "bfloat16", "dtype": "float64"}, ValueError, "must be 'float64'"),
        ({"compute_dtype": 16}, TypeError, "compute_dtype must be.*16"),
    ],
)
def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=message):
        Network([70, 70, 2], **options)


def test_it_is_shown(capsys):
    network = make_network()
    assert "compute_dtype='bfloat16'" in repr(network)
    network.summary()
    cmlp.show_config(network)
    shown = capsys.readouterr().out
    assert "compute_dtype bfloat16" in shown
    assert shown.count("kernels, bfloat16") == 2
    with pytest.raises(AttributeError, match="compute_dtype cannot be assigned"):
        network.compute_dtype = "float32"

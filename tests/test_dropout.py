"""Dropout and input noise: generator, statistics, and training against the oracle."""

import numpy as np
import oracle
import pytest
from conftest import assert_same_state
from scipy import sparse

from cmlp import SGD, Adam, Network
from cmlp._core import kernels
from cmlp._model.parameters import aligned_zeros

SIZES = [21, 37, 18, 3]
RATES = (0.3, 0.5)


def padded(array, dtype):
    width = -(-array.shape[1] // 16) * 16
    return np.pad(array, ((0, 0), (0, width - array.shape[1]))).astype(dtype)


def test_philox_gives_the_known_answers():
    # The file kat_vectors of Random123, rows of philox4x32 with 10 rounds.
    none = oracle.philox(0, [(0, 0, 0, 0)])[0]
    assert none.tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = oracle.philox(2**64 - 1, [(2**32 - 1,) * 4])[0]
    assert ones.tolist() == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 16, 130, 300])
def test_masks_are_the_oracles(isa, dtype, columns):
    x = aligned(np.ones((5, columns)), dtype)
    kernels.drop(0.3, 2**63 + 5, 7, 2, 11, x)
    want = oracle.mask(0.3, columns, 2**63 + 5, 7, 2, 11, 5)
    np.testing.assert_array_equal(x[:, :columns], want.astype(dtype))


def aligned(array, dtype):
    """Return a padded copy whose rows are aligned to the widest vector."""
    wide = padded(array, dtype)
    out = aligned_zeros(wide.size, np.dtype(dtype)).reshape(wide.shape)
    out[:] = wide
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_the_oracles(isa, dtype):
    x = aligned(np.zeros((4, 200)), dtype)
    kernels.add_noise(0.5, 3, 1, 9, x)
    want = 0.5 * oracle.normal_noise(200, 3, 1, 9, 4)
    np.testing.assert_allclose(x[:, :200], want, atol=3e-6 if dtype == np.float32 else 5e-7)


def test_statistics():
    # 645,120 numbers; each tolerance is at least four standard deviations of the estimate.
    x = aligned(np.ones((640, 1008)), np.float64)
    kernels.drop(0.25, 0, 0, 1, 0, x)
    dropped = (x == 0).mean()
    assert abs(dropped - 0.25) < 0.0025
    assert set(np.unique(x)) == {0.0, 4 / 3}
    assert abs((x == 0).mean(axis=0).std() - np.sqrt(0.25 * 0.75 / 640)) < 0.002
    assert abs(np.corrcoef(x[:-1].ravel(), x[1:].ravel())[0, 1]) < 0.006
    assert abs(np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1]) < 0.006
    noise = aligned(np.zeros((640, 1008)), np.float64)
    kernels.add_noise(2.0, 0, 0, 0, noise)
    assert abs(noise.mean()) < 0.012
    assert abs(noise.std() - 2) < 0.008
    assert abs((noise**4).mean() / noise.var() ** 2 - 3) < 0.06
    assert abs((np.abs(noise) > 4).mean() - 0.0455) < 0.0012


def options(**changed):
    return {"activation": ["tanh", "mish"], "loss": "cross_entropy", "dropout": RATES,
            "input_dropout": 0.2, "dtype": "float64", "seed": 6, **changed}  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 3, 16, 40])
@pytest.mark.parametrize("compressed", [False, True])
def test_training_is_the_oracles_with_its_masks(isa, rng, batch_size, compressed):
    X = rng.normal(size=(40, 21)) * (rng.random((40, 21)) < 0.4)
    y = rng.integers(0, 3, 40)
    net = Network(SIZES, **options())
    weights, biases = ([np.array(a) for a in arrays] for arrays in (net.weight, net.bias))
    net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=SGD(0.05), shuffle=False,
            sparse=compressed)  # fmt: skip
    for epoch in range(2):
        for start in range(0, 40, batch_size):
            part = slice(start, min(start + batch_size, 40))
            rates = (0.2, *RATES)
            masks = [
                oracle.mask(rate, width, 6, epoch, layer, start, part.stop - start)
                for layer, (rate, width) in enumerate(zip(rates, SIZES[:-1], strict=True))
            ]
            _, nablas = oracle.regularized_gradient(
                weights, biases, [None] * 3, [*net.activation, "softmax"], "cross_entropy",
                X[part], np.eye(3)[y[part]], masks, [None, None], 0,
            )  # fmt: skip
            for layer, (nabla_w, nabla_b, _) in enumerate(nablas):
                weights[layer] -= 0.05 * nabla_w
                biases[layer] -= 0.05 * nabla_b
    for got, want in zip([*net.weight, *net.bias], [*weights, *biases], strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


def trained(X, y, threads=None, epochs=2, **changed):
    net = Network(SIZES, **options(dtype="float32", input_noise=0.1, **changed))
    net.fit(X, y, epochs=epochs, batch_size=17, optimizer=Adam(), threads=threads)
    return np.concatenate([w.ravel() for w in net.weight])


def test_masks_depend_on_seed_and_epoch(rng):
    X, y = rng.normal(size=(60, 21)), rng.integers(0, 3, 60)
    assert (trained(X, y) == trained(X, y)).all()
    assert (trained(X, y) != trained(X, y, seed=7)).any()
    net = Network(SIZES, **options())
    net.fit(X, y, epochs=2, shuffle=False, optimizer=SGD())
    again = Network(SIZES, **options())
    for _ in range(2):
        again.fit(X, y, epochs=1, shuffle=False, optimizer=SGD())
    assert all((a == b).all() for a, b in zip(net.weight, again.weight, strict=True))


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("batch_size", [2, 300])
def test_any_number_of_threads_gives_the_same_bits(rng, batch_size):
    X, y = rng.random((300, 500), dtype=np.float32), rng.integers(0, 10, 300)
    nets = [Network([500, 1200, 700, 10], activation="relu", loss="cross_entropy", dropout=0.4,
                    input_dropout=0.1, input_noise=0.2, seed=0) for _ in range(4)]  # fmt: skip
    for threads, net in enumerate(nets, 1):
        net.fit(X, y, epochs=1, batch_size=batch_size, optimizer=SGD(0.01), threads=threads)
        assert all((a == b).all() for a, b in zip(net.weight, nets[0].weight, strict=True))


def test_predictions_and_gradients_are_without_dropout(rng):
    X, y = rng.normal(size=(9, 21)), rng.integers(0, 3, 9)
    dropping = Network(SIZES, **options())
    plain = Network(SIZES, **options(dropout=0.0, input_dropout=0.0))
    assert (dropping(X) == plain(X)).all()
    (got_w, got_b, got), (want_w, want_b, want) = (
        net.backprop(X[0], y[0]) for net in (dropping, plain)
    )
    assert got == want
    assert all((a == b).all() for a, b in zip(got_w + got_b, want_w + want_b, strict=True))


def test_dropout_preserves_the_mean(rng):
    # The outputs of a linear network have the mean of those without dropout, so the expected loss
    # exceeds its loss by the variance of the outputs.
    X, y = rng.normal(size=(1, 30)), rng.normal(size=(1, 1))
    net = Network([30, 50, 1], activation="identity", loss="mse", dropout=0.5, dtype="float64",
                  seed=0)  # fmt: skip
    before = net(X)[0, 0]
    rows = np.repeat(X, 20_000, axis=0)
    history = net.fit(rows, np.repeat(y, 20_000, axis=0), epochs=1, batch_size=20_000,
                      optimizer=SGD(1e-12))  # fmt: skip
    hidden = X @ net.weight[0].T
    variance = (hidden**2 * net.weight[1] ** 2).sum()
    expected = (before - y[0, 0]) ** 2 + variance
    assert history["loss"][0] == pytest.approx(expected, rel=0.05)


def test_sparse_samples_take_input_dropout_but_no_noise():
    X = sparse.random(20, 21, 0.2, format="csr", random_state=0)
    y = np.arange(20) % 3
    with pytest.raises(ValueError, match="must be dense with input_noise"):
        Network(SIZES, input_noise=0.1).fit(X, y)
    nets = [Network(SIZES, input_dropout=0.1, loss="cross_entropy", seed=0) for _ in range(2)]
    for net, data in zip(nets, (X, X.toarray()), strict=True):
        net.fit(data, y, epochs=1)
    assert_same_state(*nets)
    plain = Network(SIZES, loss="cross_entropy", seed=0)
    plain.fit(X, y, epochs=1)
    assert (plain.weight[0] != nets[0].weight[0]).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, "dropout must be at least 0 and below 1; got 1.0"),
        ({"dropout": -0.1}, ValueError, "dropout must be at least 0"),
        ({"dropout": "half"}, TypeError, "dropout must be a number; got 'half'"),
        ({"dropout": [0.5]}, ValueError, "dropout must be one for all or one for each of 2 hidden"),
        ({"dropout": [0.5, np.nan]}, ValueError, "dropout must be at least 0"),
        ({"input_dropout": 1}, ValueError, "input_dropout must be at least 0 and below 1"),
        ({"input_noise": -1}, ValueError, "input_noise must be finite and not negative"),
        ({"input_noise": None}, TypeError, "input_noise must be a number"),
        ({"max_norm": 0}, ValueError, "max_norm must be positive and finite; got 0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Network(SIZES, **arguments)


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("optimizer", [SGD(1.0), Adam(0.1)], ids=lambda o: type(o).__name__)
def test_max_norm_bounds_the_weights_into_each_unit(isa, rng, batch_size, optimizer):
    X, y = rng.normal(size=(24, 21)), rng.integers(0, 3, 24)
    net = Network(SIZES, loss="cross_entropy", activation="relu", max_norm=0.7, seed=0)
    net.fit(X, y, epochs=3, batch_size=batch_size, optimizer=optimizer)
    norms = [np.linalg.norm(w, axis=1) for w in net.weight]
    assert all((n <= 0.7 + 1e-6).all() for n in norms)
    assert np.concatenate(norms).max() == pytest.approx(0.7, abs=1e-6)
    free = Network(SIZES, loss="cross_entropy", activation="relu", max_norm=1e9, seed=0)
    plain = Network(SIZES, loss="cross_entropy", activation="relu", seed=0)
    for each in (free, plain):
        each.fit(X, y, epochs=1, batch_size=batch_size, optimizer=optimizer)
    assert all((a == b).all() for a, b in zip(free.weight, plain.weight, strict=True))

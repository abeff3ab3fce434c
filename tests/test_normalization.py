"""Normalization: gradients, running statistics, threads, and PyTorch's results."""

import numpy as np
import oracle
import pytest
from conftest import assert_same_state, read_data

from cmlp import SGD, Adam, BatchNorm, LayerNorm, Network

SIZES = [9, 21, 14, 3]
KINDS = ["batch", "layer", ["batch", "layer"], ["layer", None], [None, BatchNorm(0.3, 1e-3)]]
ACTIVATION = ["tanh", "silu"]


def network(normalization, **changed):
    given = {"activation": ACTIVATION, "loss": "cross_entropy", "dtype": "float64", "seed": 2}
    net = Network(SIZES, normalization=normalization, **{**given, **changed})
    rng = np.random.default_rng(5)
    for scale in net.scale:
        if scale is not None:
            scale[:] = rng.uniform(0.5, 1.5, scale.shape)
    return net


def settings(normalization):
    """Return the kind of normalization of each hidden layer, and epsilon."""
    kinds = normalization if isinstance(normalization, list) else [normalization] * 2
    names = [k.name if isinstance(k, (BatchNorm, LayerNorm)) else k for k in kinds]
    return names, 1e-3 if isinstance(kinds[1], BatchNorm) else 1e-5


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("normalization", KINDS, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_gradient(isa, rng, normalization, threads):
    net = network(normalization)
    X, y = rng.normal(size=(13, 9)), rng.integers(0, 3, 13)
    gradient = net.state.parameters.make_zeros()
    before = net.state.statistics.block.copy()
    loss = net.state.program.gradient(*read_data(net, X, y), gradient.block, threads)
    assert (net.state.statistics.block == before).all()
    norms, eps = settings(normalization)
    want, nablas = oracle.regularized_gradient(
        list(net.weight), list(net.bias), list(net.scale), [*ACTIVATION, "softmax"],
        "cross_entropy", X, np.eye(3)[y], [1.0] * 3, norms, eps,
    )  # fmt: skip
    assert loss == pytest.approx(want, rel=1e-12)
    found = {(tensor.layer, tensor.name): view for tensor, view in gradient.views.items()}
    expected = {
        (layer, name): nabla
        for layer, nablas_of_layer in enumerate(nablas)
        for name, nabla in zip(("weight", "bias", "scale"), nablas_of_layer, strict=True)
        if nabla is not None
    }
    assert set(found) == set(expected)
    for key, nabla in expected.items():
        np.testing.assert_allclose(found[key], nabla, atol=1e-12)


@pytest.mark.parametrize("normalization", KINDS, ids=str)
def test_gradient_by_finite_differences(rng, normalization):
    net = network(normalization)
    X, y = rng.normal(size=(6, 9)), rng.integers(0, 3, 6)
    rows, targets = read_data(net, X, y)
    parameters, program = net.state.parameters, net.state.program
    gradient = parameters.make_zeros()
    program.gradient(rows, targets, gradient.block, 1)

    def loss():
        return program.gradient(rows, targets, parameters.make_zeros().block, 1)

    pairs = list(zip(parameters.views.values(), gradient.views.values(), strict=True))
    assert len(pairs) == 6 + sum(kind is not None for kind in settings(normalization)[0])
    for values, nablas in pairs:
        for _ in range(4):
            index = tuple(rng.integers(0, n) for n in values.shape)
            center = values[index]
            values[index] = center + 1e-5
            above = loss()
            values[index] = center - 1e-5
            below = loss()
            values[index] = center
            assert nablas[index] == pytest.approx((above - below) / 2e-5, abs=1e-8)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("normalization", KINDS, ids=str)
@pytest.mark.parametrize("batch_size", [1, 4, 10])
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)], ids=lambda o: type(o).__name__)
def test_any_number_of_threads_gives_the_same_bits(rng, normalization, batch_size, optimizer):
    X, y = rng.normal(size=(42, 900)), rng.integers(0, 3, 42)
    nets = []
    for threads in (1, 2, 3):
        net = Network([900, 700, 600, 3], activation=ACTIVATION, loss="cross_entropy",
                      normalization=normalization, seed=1)  # fmt: skip
        net.fit(X, y, epochs=1, batch_size=batch_size * 10, optimizer=optimizer, threads=threads)
        nets.append(np.concatenate([*net.state.snapshot(), net(X, threads=threads).ravel()]))
        assert (nets[0] == nets[-1]).all()


@pytest.mark.parametrize("normalization", KINDS, ids=str)
@pytest.mark.parametrize("batch_size", [2, 8, 20])
def test_training_equals_pytorch(rng, normalization, batch_size):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = rng.normal(size=(40, 9)), rng.integers(0, 3, 40)
    net = network(normalization)
    layers, (norms, eps) = [], settings(normalization)
    for l in range(3):
        i, o = SIZES[l : l + 2]
        normal = norms[l] if l < 2 else None
        linear = torch.nn.Linear(i, o, bias=normal is None, dtype=torch.float64)
        linear.weight.data = torch.tensor(net.weight[l])
        layers.append(linear)
        bias = torch.tensor(net.bias[l][:, 0])
        if normal is None:
            linear.bias.data = bias
        else:
            momentum = 0.3 if eps == 1e-3 else 0.1
            kinds = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}
            options = {"momentum": momentum} if normal == "batch" else {}
            made = kinds[normal](o, eps=eps, dtype=torch.float64, **options)
            made.weight.data, made.bias.data = torch.tensor(net.scale[l][:, 0]), bias
            layers.append(made)
        if l < 2:
            layers.append([torch.nn.Tanh(), torch.nn.SiLU()][l])
    theirs = torch.nn.Sequential(*layers)
    descent = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for start in range(0, 40, batch_size):
        batch = slice(start, start + batch_size)
        descent.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(X[batch])),
                                          torch.tensor(y[batch])).backward()  # fmt: skip
        descent.step()
    net.fit(X, y, epochs=1, batch_size=batch_size, optimizer=SGD(0.1), shuffle=False)
    theirs.eval()
    with torch.no_grad():
        want = torch.softmax(theirs(torch.tensor(X)), 1).numpy()
    np.testing.assert_allclose(net(X), want, atol=1e-9)


def test_predictions_use_the_running_statistics(rng):
    X, y = rng.normal(size=(64, 9)) + 3, rng.integers(0, 3, 64)
    net = network("batch", activation="relu")
    z = X @ net.weight[0].T
    net.fit(X, y, epochs=1, batch_size=64, optimizer=SGD(1e-9))
    np.testing.assert_allclose(net.running_mean[0][:, 0], 0.1 * z.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        net.running_variance[0][:, 0], 0.9 + 0.1 * z.var(axis=0, ddof=1), rtol=1e-6
    )
    one, all_ = net(X[:1]), net(X)
    assert (one == all_[:1]).all()
    assert (net.forward(X[0])[:, 0] == one[0]).all()


def test_a_batch_of_one_sample_normalizes_to_zero(rng):
    X, y = rng.normal(size=(7, 9)), np.arange(7) % 3
    net = network("batch")
    net.fit(X, y, batch_size=3, epochs=2)
    assert np.isfinite(net.state.parameters.block).all()
    # One sample is its own mean: the layer's weights and scales have no gradient.
    before = network(["batch", None])
    net = before.copy()
    net.fit(X[:1], y[:1], epochs=1)
    np.testing.assert_array_equal(net.weight[0], before.weight[0])
    np.testing.assert_array_equal(net.scale[0], before.scale[0])
    assert (net.bias[0] != before.bias[0]).all()


@pytest.mark.parametrize("normalization", KINDS, ids=str)
def test_files_copies_repr_and_summary(tmp_path, capsys, rng, normalization):
    net = network(normalization, dropout=0.2, input_noise=0.1, max_norm=3)
    X, y = rng.normal(size=(30, 9)), rng.integers(0, 3, 30)
    net.fit(X, y, epochs=2)
    net.save(tmp_path / "net.npz")
    for other in (Network.load(tmp_path / "net.npz"), net.copy()):
        assert (other(X) == net(X)).all()
        assert repr(other) == repr(net)
        twin = net.copy()
        for each in (other, twin):
            each.fit(X, y, epochs=1)
        assert_same_state(other, twin)
    assert "normalization=" in repr(net)
    net.summary()
    assert "max_norm 3.0" in capsys.readouterr().out


def test_normalized_networks_learn(digits):
    (X, y), (X_test, y_test) = digits
    for normalization in ("batch", "layer"):
        net = Network([784, 64, 32, 10], activation="relu", loss="cross_entropy",
                      normalization=normalization, dropout=0.1, seed=0)  # fmt: skip
        net.fit(X[:10_000], y[:10_000], epochs=3, optimizer=Adam())
        assert net.score(X_test, y_test) > 0.92


@pytest.mark.parametrize(
    ("normalization", "error", "message"),
    [
        ("bacth", ValueError, "normalization must be one of .*; got 'bacth' .did you mean 'batch'"),
        (3, TypeError, "normalization must be a name; got 3"),
        (["batch"], ValueError, "normalization must be one for all or one for each of 2 hidden"),
        (["batch", "none"], ValueError, "normalization must be one of .*; got 'none'"),
    ],
)
def test_bad_normalizations(normalization, error, message):
    with pytest.raises(error, match=message):
        Network(SIZES, normalization=normalization)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(momentum=1.0), "momentum must be at least 0 and below 1"),
        (lambda: BatchNorm(eps=0), "eps must be positive"),
        (lambda: LayerNorm(eps=-1e-5), "eps must be positive"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layers_without_scales_say_so():
    net = network(["layer", None])
    assert net.scale[1] is None
    with pytest.raises(ValueError, match="scale cannot be assigned for a layer that has none"):
        net.scale[1] = np.ones((14, 1))
    net.scale[0] = np.ones((21, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pre_activations_without_variance(isa, rng, dtype):
    # All samples of the batch are equal, and so are all units of the layer.
    X, y = np.tile(rng.normal(size=9), (8, 1)), rng.integers(0, 3, 8)
    for kind in ("batch", "layer"):
        net = Network([9, 5, 3], activation="tanh", loss="cross_entropy", normalization=kind,
                      dtype=dtype, seed=0)  # fmt: skip
        net.weight[0][:] = net.weight[0][:1]
        net.bias[0][:] = np.linspace(-1, 1, 5)[:, None]
        hidden = np.tanh(np.linspace(-1, 1, 5))
        want = oracle.forward([net.weight[1]], [net.bias[1]], ["softmax"], hidden[None])[1][-1]
        rows, targets = read_data(net, X, y)
        gradient = net.state.parameters.make_zeros()
        loss = net.state.program.gradient(rows, targets, gradient.block, 1)
        assert loss == pytest.approx(-np.log(want[0, y]).mean(), rel=1e-3)
        assert np.isfinite(gradient.block).all()
        net.fit(X, y, epochs=2, optimizer=SGD(0.1))
        assert np.isfinite(net(X)).all()


def test_a_batch_of_one_sample_has_no_variance(isa, rng):
    net = Network([9, 7, 5, 3], normalization="batch", loss="cross_entropy", seed=0)
    weights, biases = [np.array(w) for w in net.weight], [np.array(b) for b in net.bias]
    net.fit(rng.normal(size=(1, 9)), [2], epochs=1, optimizer=SGD(0.1))
    after = [*net.weight, *net.bias]
    moved = [(a != b).any() for a, b in zip(after, weights + biases, strict=True)]
    assert moved == [False, False, True, False, True, True]
    assert all((scale == 1).all() for scale in net.scale[:2])


@pytest.mark.parametrize("kind", [BatchNorm, LayerNorm])
def test_an_eps_that_vanishes_in_the_dtype_is_refused(kind):
    message = f"eps of {kind.__name__} must be from 1.18e-38 to 3.4e.38, the range of float32"
    with pytest.raises(ValueError, match=message):
        Network(SIZES, normalization=kind(eps=1e-39))
    Network(SIZES, normalization=kind(eps=1e-39), dtype="float64")

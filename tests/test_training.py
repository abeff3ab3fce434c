"""Losses in Python, L-BFGS, partial_fit, iterables, data larger than memory, history."""

import subprocess
import sys

import matplotlib
import numpy as np
import oracle
import pytest
from conftest import PRINT_PEAK_MEMORY, assert_same_state, measures_memory

from cmlp import LBFGS, SGD, Adam, Network, TrainingDiverged, callbacks, schedules

SIZES = [6, 9, 3]


@pytest.fixture
def data(rng):
    return rng.normal(size=(50, 6)), rng.integers(0, 3, 50)


matplotlib.use("Agg")


def network(seed=1, **options):
    return Network(SIZES, **{"activation": "tanh", "loss": "cross_entropy", "dtype": "float64",
                             "seed": seed, **options})  # fmt: skip


def squares(outputs, targets):
    error = outputs - targets
    return (error**2).mean(), 2 * error / error.size


@pytest.mark.parametrize("batch_size", [1, 8, 50])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (SGD(0.1), {}),
        (Adam(0.01, accumulate=2), {"dropout": 0.3}),
        (SGD(0.1, clip_norm=0.1), {"normalization": "batch"}),
        (SGD(0.1), {"normalization": "layer", "output": "gelu"}),
    ],
)
def test_a_loss_in_python_trains_as_the_same_loss_in_c(rng, data, batch_size, optimizer, options):
    X, y = data[0], rng.normal(size=(50, 3))
    ours = network(loss="mse", **options)
    theirs = network(loss=squares, **options)
    fit = {"epochs": 2, "batch_size": batch_size, "optimizer": optimizer, "threads": 2}
    want = ours.fit(X, y, validation_data=(X, y), metrics="mae", **fit)
    got = theirs.fit(X, y, validation_data=(X, y), metrics="mae", **fit)
    for a, b in zip(theirs.weight + theirs.bias, ours.weight + ours.bias, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    for name in ("loss", "mae", "val_loss", "val_mae"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-10)


def test_a_loss_in_python_may_take_any_targets(data):
    seen = []

    def ranking(outputs, targets):
        seen.append(targets)
        return float(outputs.sum()), np.ones_like(outputs)

    net = network(loss=ranking)
    words = np.array(["a", "b"] * 25)
    net.fit(data[0], words, epochs=1, batch_size=20)
    assert sorted(np.concatenate(seen)) == sorted(words)
    with pytest.raises(ValueError, match="must not be given with a loss that is a callable"):
        net.fit(*data, sample_weight=np.ones(50))
    with pytest.raises(TypeError, match="methods do not support a loss that is a callable"):
        net.backprop(data[0][0], 1)


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_targets_of_a_loss_in_python_have_the_shape_of_one_output(rng, data, shape):
    def pinball(outputs, targets):
        assert targets.shape == outputs.shape
        error = targets - outputs
        gradient = np.where(error > 0, -0.9, 0.1) / error.size
        return np.maximum(0.9 * error, -0.1 * error).mean(), gradient

    X, y = data[0], rng.normal(size=50)
    net = Network([X.shape[1], 16, 1], activation="tanh", loss=pinball, seed=0)
    history = net.fit(X, y.reshape(shape), epochs=300, batch_size=10, optimizer=Adam(0.01),
                      validation_split=0.2, metrics="mae")  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]
    assert 0.7 < (y <= net.predict(X)).mean() <= 1
    net.fit([(X, y.reshape(shape))], epochs=1)


def test_metrics_need_targets_that_can_be_compared(data):
    net = network(loss=lambda outputs, targets: (0.0, np.zeros_like(outputs)))
    words = np.array(["a", "b"] * 25)
    for call in (net.score, lambda X, y: net.fit(X, y, metrics="r2")):
        with pytest.raises(ValueError, match=r"y must hold real numbers of shape \(50,\)"):
            call(data[0], words)


def test_a_loss_in_python_in_files(tmp_path, data):
    net = network(loss=squares)
    net.fit(data[0], np.eye(3)[data[1]], epochs=1)
    net.save(tmp_path / "net.npz")
    other = Network.load(tmp_path / "net.npz")
    assert (other(data[0]) == net(data[0])).all()
    with pytest.raises(TypeError, match=r"give it to Network\.load"):
        other.fit(data[0], np.eye(3)[data[1]])
    other = Network.load(tmp_path / "net.npz", loss=squares)
    for each in (net, other):
        each.fit(data[0], np.eye(3)[data[1]], epochs=1)
    assert_same_state(net, other)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda a, y: a.sum(), ValueError, r"loss must return a pair \(loss, gradient\)"),
        (lambda a, y: (0.0, a[:, :1]), ValueError, "gradient of the outputs' shape"),
        (lambda a, y: 1 / 0, ZeroDivisionError, "division"),
        (lambda a, y: (np.nan, a), TrainingDiverged, "not finite in epoch 0, step 0"),
    ],
)
def test_bad_losses_in_python(data, loss, error, message):
    with pytest.raises(error, match=message):
        network(loss=loss).fit(*data)


def test_lbfgs_equals_scipy(data):
    from scipy.optimize import minimize

    X, y = data
    net = network()
    shapes = [w.shape for w in net.weight] + [b.shape for b in net.bias]
    cuts = np.cumsum([np.prod(s) for s in shapes])[:-1]

    def objective(x):
        arrays = [a.reshape(s) for a, s in zip(np.split(x, cuts), shapes, strict=True)]
        loss, nabla_w, nabla_b = oracle.gradient(
            arrays[:2], arrays[2:], ["tanh", "softmax"], "cross_entropy", X, np.eye(3)[y]
        )
        decay = sum((a**2).sum() for a in arrays[:2])
        nablas = [*(g + 0.1 * a for g, a in zip(nabla_w, arrays[:2], strict=True)), *nabla_b]
        return loss + 0.05 * decay, np.concatenate([g.ravel() for g in nablas])

    start = np.concatenate([a.ravel() for a in (*net.weight, *net.bias)])
    want = minimize(objective, start, method="L-BFGS-B", jac=True, options={"maxiter": 8})
    history = net.fit(X, y, epochs=8, validation_data=(X, y),
                      optimizer=LBFGS(weight_decay=0.1, decay_bias=False))  # fmt: skip
    got = np.concatenate([a.ravel() for a in (*net.weight, *net.bias)])
    np.testing.assert_allclose(got, want.x, atol=1e-6)
    assert len(history.epochs) == 8
    assert history["loss"][-1] == pytest.approx(want.fun, rel=1e-8)
    assert history["val_accuracy"][-1] == net.score(X, y)


def test_lbfgs_converges_and_stops(data):
    net = network()
    history = net.fit(*data, epochs=1000, optimizer=LBFGS(weight_decay=0.5))
    assert len(history.epochs) < 200
    # The gradient of the loss and of the penalty 0.5 / 2 |parameters|^2 vanishes.
    weights, biases = list(net.weight), list(net.bias)
    _, nabla_w, nabla_b = oracle.gradient(
        weights, biases, ["tanh", "softmax"], "cross_entropy", data[0], np.eye(3)[data[1]]
    )
    for parameter, nabla in zip(weights + biases, nabla_w + nabla_b, strict=True):
        np.testing.assert_allclose(nabla, -0.5 * parameter, atol=1e-3)
    stop = lambda network, epoch, record: epoch == 4  # noqa: E731
    history = network().fit(*data, epochs=20, optimizer=LBFGS(), callbacks=stop)
    assert len(history.epochs) == 5


def test_lbfgs_sets_the_running_statistics(data):
    X, y = data
    net = network(normalization="batch")
    net.fit(X, y, epochs=30, optimizer=LBFGS(), validation_data=data)
    z = X @ net.weight[0].T
    np.testing.assert_allclose(net.running_mean[0][:, 0], z.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(net.running_variance[0][:, 0], z.var(axis=0, ddof=1), rtol=1e-9)
    assert net.score(X, y) > 0.9


def test_an_error_leaves_the_last_iteration_of_lbfgs(data):
    net, kept = network(), []

    def fail(net, epoch, record):
        kept.append(net.state.parameters.block.copy())
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(*data, epochs=20, optimizer=LBFGS(), callbacks=fail)
    assert (net.state.parameters.block == kept[3]).all()
    with pytest.raises(ValueError, match="partial_fit does not support LBFGS"):
        net.partial_fit(*data, optimizer=LBFGS())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": schedules.Cosine()}, "LBFGS supports neither schedules nor metrics"),
        ({"validation_split": 0.2}, "LBFGS supports validation_data, but not validation_split"),
        ({"metrics": "f1"}, "LBFGS supports neither schedules nor metrics"),
        ({"restore_good": True}, "LBFGS supports neither max_norm nor restore_good"),
        (
            {"callbacks": callbacks.Checkpoint("run.npz")},
            "does not support per-batch callbacks",
        ),
    ],
)
def test_lbfgs_rejects_options_of_batches(data, options, message):
    with pytest.raises(ValueError, match=message):
        network().fit(*data, optimizer=LBFGS(), **options)
    with pytest.raises(ValueError, match="X and y must be arrays with LBFGS"):
        network().fit([data], optimizer=LBFGS())


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(), Adam(average=0.9)], ids=str)
def test_partial_fit_continues(data, optimizer):
    X, y = data
    parts, whole = network(), network()
    for start in range(0, 50, 10):
        history = parts.partial_fit(X[start : start + 10], y[start : start + 10], batch_size=5,
                                    optimizer=optimizer, shuffle=False)  # fmt: skip
        assert len(history.epochs) == 1
    whole.fit(X, y, epochs=1, batch_size=5, optimizer=optimizer, shuffle=False)
    assert_same_state(parts, whole)
    before = parts.state.optimizer
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        parts.partial_fit(X, y + 1, optimizer=Adam(0.5))
    assert parts.state.optimizer is before
    # Another optimizer starts anew.
    fresh = parts.copy()
    fresh.fit(X, y, epochs=1, optimizer=SGD(0.5, momentum=0.9))
    parts.partial_fit(X, y, optimizer=SGD(0.5, momentum=0.9))
    if optimizer.average is None:
        assert_same_state(parts, fresh)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(accumulate=2)], ids=["sgd", "adam"])
def test_an_iterable_of_batches_equals_arrays_without_shuffling(data, optimizer):
    X, y = data
    cut = [(X[i : i + 8], y[i : i + 8]) for i in range(0, 50, 8)]
    options = {"epochs": 3, "optimizer": optimizer, "schedule": schedules.Cosine(),
               "metrics": "accuracy", "validation_data": data}  # fmt: skip
    arrays, batches, called = (network(dropout=0.2) for _ in range(3))
    want = arrays.fit(X, y, batch_size=8, shuffle=False, **options)
    got = batches.fit(cut, **options)
    assert_same_state(arrays, batches)
    for name in ("loss", "accuracy", "lr", "val_loss"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-12)
    options = {"epochs": 3, "optimizer": SGD(0.1)}
    called.fit(lambda: iter(cut), **options)
    again = network(dropout=0.2)
    again.fit(X, y, batch_size=8, shuffle=False, **options)
    assert_same_state(called, again)


def test_batches_may_have_weights(data):
    X, y = data
    weight = np.arange(50.0) % 3
    cut = [(X[i : i + 10], y[i : i + 10], weight[i : i + 10]) for i in range(0, 50, 10)]
    one, other = network(), network()
    got = one.fit(cut, epochs=2)
    want = other.fit(X, y, epochs=2, batch_size=10, shuffle=False, sample_weight=weight)
    assert_same_state(one, other)
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-12)


def test_bad_iterables(data):
    X, y = data
    net = network()
    with pytest.raises(TypeError, match="X must be an iterable of batches"):
        net.fit(X)
    with pytest.raises(TypeError, match=r"batch 0 must be \(X, y\) or"):
        net.fit([X])
    with pytest.raises(
        ValueError, match=r"X must yield .*; got none in epoch 1; an iterator can be read"
    ):
        net.fit(iter([(X, y)]), epochs=2)
    with pytest.raises(ValueError, match="X must have a length"):
        net.fit(iter([(X, y)]), schedule=schedules.Cosine())
    with pytest.raises(ValueError, match="must not be given with an iterable"):
        net.fit([(X, y)], validation_split=0.5)
    with pytest.raises(ValueError, match="X of batch 1 must have 6 columns"):
        net.fit([(X, y), (X[:, :2], y)])
    with pytest.raises(ValueError, match="y of batch 0 must hold labels from 0 to 2"):
        net.fit([(X, y + 1)])
    with pytest.raises(ValueError, match="X of batch 0 must have at least one sample"):
        net.fit([(X[:0], y[:0])])


LARGE = """
import resource
import numpy as np
from cmlp import Network
samples, width = 100_000, 784
with open({path!r}, "wb") as file:
    file.truncate(samples * width * 4)
net = Network([width, 16, 10], loss="cross_entropy", seed=0)
small = np.zeros((100, width), np.float32)
net.fit(small, np.zeros(100, int), epochs=1)
# A limit of the process's memory without the mapped file, whose 299 MiB would not fit.
resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))
"""

MAPPED = (
    LARGE
    + """
X = np.memmap({path!r}, np.float32, "r", shape=(samples, width))
net.fit(X, np.zeros(samples, int), epochs=1, batch_size=256, sparse=False)
print(net.predict(X[:2]))
"""
)

READ = LARGE + """
def batches():
    with open({path!r}, "rb") as file:
        while len(x := np.fromfile(file, np.float32, 256 * width)):
            x = x.reshape(-1, width)
            yield x, np.zeros(len(x), int)
net.fit(batches, epochs=1)
""" + PRINT_PEAK_MEMORY  # fmt: skip


@measures_memory
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts on Linux")
@pytest.mark.parametrize("code", [MAPPED, READ], ids=["mapped", "read"])
def test_data_larger_than_memory(tmp_path, code):
    path = str(tmp_path / "large.f4")
    done = subprocess.run([sys.executable, "-c", code.format(path=path)], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    if code is READ:
        assert int(done.stdout) < 250


def test_restore_good_restores_the_last_finite_epoch(data):
    X, y = data[0] * 1e3, np.linspace(0, 1, 50)
    kept = []
    net = Network([6, 9, 1], activation="relu", loss="mse", seed=0)
    options = {"epochs": 50, "batch_size": 10, "optimizer": SGD(3e-12),
               "schedule": lambda step, epoch: 10.0 ** (3 * epoch)}  # fmt: skip
    remember = callbacks.Function(lambda net, *_: kept.append(net.state.snapshot()))
    with pytest.raises(TrainingDiverged):
        net.fit(X, y, restore_good=True, callbacks=remember, **options)
    assert len(kept) > 1
    assert (kept[-1][0] != kept[-2][0]).any()
    assert (net.state.parameters.block == kept[-1][0]).all()
    assert np.isfinite(net(X)).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": Adam(0.01, average=0.9)}, {"schedule": schedules.Cosine()},
     {"schedule": schedules.ReduceOnPlateau(monitor="loss", patience=0)}, {"shuffle": False},
     {"optimizer": SGD(0.1, momentum=0.9, penalty=0.01), "batch_size": 1000}, {"verbose": 2}],
    ids=str,
)  # fmt: skip
def test_a_callback_does_not_change_the_results(data, options):
    # Without callbacks, epochs follow each other within one run of the engine.
    nets = [network(dropout=0.2, input_noise=0.1) for _ in range(2)]
    histories = [
        net.fit(*data, **{"epochs": 5, "batch_size": 7, "callbacks": callbacks, **options})
        for net, callbacks in zip(nets, [(), lambda *_: None], strict=True)
    ]
    assert_same_state(*nets)
    for one, other in zip(*(history.epochs for history in histories), strict=True):
        assert list(one) == list(other)
        assert [one[name] for name in ("loss", "lr")] == [other[name] for name in ("loss", "lr")]
        assert one["samples_per_second"] > 0


def test_history(data):
    history = network().fit(*data, epochs=3, validation_data=data, metrics="f1")
    axes = history.plot()
    assert axes.get_xlabel() == "epoch"
    assert [line.get_label() for line in axes.get_lines()] == ["loss", "val_loss"]
    assert history.plot(["f1"], axes) is axes
    matplotlib.pyplot.close("all")


def test_arguments_that_must_be_sequences_or_paths(tmp_path, data):
    for options, message in (
        ({"metrics": 3}, "metrics must be a sequence of names and functions; got 3"),
        ({"metrics": None}, "metrics must be a sequence of names and functions; got None"),
        ({"callbacks": None}, "callbacks must be a sequence of instances of Callback"),
    ):
        with pytest.raises(TypeError, match=message):
            network().fit(*data, **options)
    with pytest.raises(
        ValueError, match=r"names must be in the history, which has loss.*; got 'nope'"
    ):
        network().fit(*data, epochs=1).plot(["nope"])
    net = network()
    before = net.state.parameters.block.copy()
    with pytest.raises(FileNotFoundError, match=r"path must be in an existing directory; got"):
        net.fit(*data, callbacks=callbacks.Checkpoint(tmp_path / "nowhere" / "run.npz"))
    assert (net.state.parameters.block == before).all()


def test_plots_need_matplotlib(monkeypatch, data):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"plot.. requires Matplotlib; .*'cmlp\[plot\]'"):
        network().fit(*data, epochs=1).plot()


def test_lbfgs_needs_scipy(monkeypatch, data):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"LBFGS requires SciPy; .* 'cmlp\[lbfgs\]'"):
        network().fit(*data, optimizer=LBFGS())


def test_verbose_and_progress(capsys, data):
    network().fit(*data, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")
    network().fit(*data, epochs=2, verbose=2, metrics="f1")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "f1 0." in lines[0]
    network().fit([data], epochs=2, verbose=1)
    assert "samples" in capsys.readouterr().err
    network().predict(data[0], progress=True)
    assert "50.0/50.0" in capsys.readouterr().err
    with pytest.raises(ValueError, match="verbose must be 0, 1 or 2; got 3"):
        network().fit(*data, verbose=3)
    with pytest.raises(ValueError, match="progress and verbose must not be given together"):
        network().fit(*data, verbose=1, progress=True)
    with pytest.raises(TypeError, match="progress must be True, False or None"):
        network()(data[0], progress="bar")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("optimizer", [SGD(0.1), LBFGS()], ids=["sgd", "lbfgs"])
def test_the_history_of_a_network_is_that_of_a_run_that_ends_early(data, optimizer, error):
    def stop(net, epoch, record):
        assert net.state.history.epochs[-1] is record
        if epoch == 2:
            raise error

    net = network()
    before = net.fit(*data, epochs=5)
    with pytest.raises(ValueError, match="metrics"):
        net.fit(*data, metrics="f2")
    assert net.state.history is before
    with pytest.raises(error):
        net.fit(*data, epochs=9, optimizer=optimizer, callbacks=stop)
    assert len(net.state.history.epochs) == 3
    assert net.state.history is not before


def test_the_history_of_a_network_is_that_of_a_run_that_diverges(data):
    net = network(loss="quadratic", activation="relu", output="identity")
    y = np.eye(3)[data[1]]
    net.fit(data[0], y, epochs=20)
    with pytest.raises(TrainingDiverged) as caught:
        net.fit(data[0], y, epochs=100, optimizer=SGD(50.0))
    assert len(net.state.history.epochs) == caught.value.epoch < 20

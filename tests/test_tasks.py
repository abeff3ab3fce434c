"""Tasks: what targets choose, predictions, scores against scikit-learn, files, errors."""

import copy
import json
import pickle

import numpy as np
import pytest
import sklearn.metrics

from cmlp import LBFGS, MLP, SGD, Adam, Network, cli, fit_many
from cmlp.callbacks import Callback, Checkpoint

MULTILABEL = [
    ("binary_cross_entropy", None), ("hinge", None), ("squared_hinge", "tanh"),
    ("quadratic", None), ("mse", "sigmoid"),
]  # fmt: skip


@pytest.fixture
def data(rng):
    """X, and labels of which one is rare, one is frequent and one never occurs."""
    X = rng.normal(size=(203, 6))
    return X, (rng.random((203, 4)) < [0.5, 0.1, 0.9, 0]).astype(int)


def make_network(loss="binary_cross_entropy", output=None, outputs=4, **options):
    return Network([6, 8, outputs], loss=loss, output=output, seed=0, **options)


@pytest.mark.parametrize(("loss", "output"), MULTILABEL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multilabel_agrees_with_scikit_learn(isa, data, loss, output, dtype):
    X, Y = data
    net = make_network(loss, output, dtype=dtype)
    names = ["accuracy", "precision", "recall", "f1", "f1_micro", "f1_samples", "recall_weighted"]
    history = net.fit(X, Y, epochs=2, metrics=names, validation_data=(X, Y))
    predicted = net.predict(X)
    threshold = 0.5 if net.output == "sigmoid" else 0
    assert (net.task, net.is_classifier, net.score_name) == ("multilabel", True, "accuracy")
    assert predicted.dtype == np.intp
    assert (predicted == (net(X) >= threshold)).all()
    assert 0 < predicted.sum() < predicted.size
    assert net.score(X, Y) == sklearn.metrics.accuracy_score(Y, predicted)
    for metric in ("precision", "recall", "f1"):
        measure = getattr(sklearn.metrics, f"{metric}_score")
        for average in ("macro", "weighted", "micro", "samples"):
            want = measure(Y, predicted, average=average, zero_division=0)
            got = net.score(X, Y, metric=metric, average=average)
            assert got == pytest.approx(want, rel=1e-12)
            assert net.score(X, Y, metric=f"{metric}_{average}") == got
        assert net.score(X, Y, metric=metric) == net.score(X, Y, metric=metric, average="macro")
    for name in names:
        assert history[f"val_{name}"][-1] == net.score(X, Y, metric=name)


def test_multilabel_metrics_of_training_are_of_the_outputs_before_each_step(data):
    X, Y = data
    net, twin = make_network(), make_network()
    twin.task = "multilabel"
    outputs = []
    for start in range(0, 203, 10):
        part = slice(start, start + 10)
        outputs.append(twin.predict(X[part]))
        twin.fit(X[part], Y[part], epochs=1, batch_size=10, shuffle=False, optimizer=SGD())
    history = net.fit(X, Y, epochs=1, batch_size=10, shuffle=False, metrics=["accuracy", "f1"],
                      optimizer=SGD())  # fmt: skip
    predicted = np.concatenate(outputs)
    assert history["accuracy"] == [sklearn.metrics.accuracy_score(Y, predicted)]
    want = sklearn.metrics.f1_score(Y, predicted, average="macro", zero_division=0)
    assert history["f1"] == [pytest.approx(want, rel=1e-12)]


@pytest.mark.parametrize("outputs", [1, 3])
def test_averages_of_classes_agree_with_scikit_learn(rng, outputs):
    X, y = rng.normal(size=(203, 6)), rng.integers(0, max(outputs, 2), 203)
    net = make_network(outputs=outputs)
    predicted = net.predict(X)
    for metric in ("precision", "recall", "f1"):
        measure = getattr(sklearn.metrics, f"{metric}_score")
        for average in ("macro", "weighted", "micro"):
            want = measure(y, predicted, average=average, zero_division=0)
            got = net.score(X, y, metric=metric, average=average)
            assert got == pytest.approx(want, rel=1e-12)
    if outputs == 1:
        want = sklearn.metrics.f1_score(y, predicted)
        assert net.score(X, y, metric="f1", average="binary") == pytest.approx(want, rel=1e-12)


def rows(*values):
    return np.array(values * 4, float)


@pytest.mark.parametrize(
    ("loss", "output", "outputs", "y", "task"),
    [
        ("binary_cross_entropy", None, 3, [0, 1, 2, 0], "multiclass"),
        ("binary_cross_entropy", None, 3, rows([1, 0, 0]), "multilabel"),
        ("binary_cross_entropy", None, 3, rows([0.2, 0.9, 0.5]), "multilabel"),
        ("binary_cross_entropy", "softmax", 3, rows([1, 0, 0]), "multiclass"),
        ("binary_cross_entropy", None, 1, [0.2, 0.9, 0.5, 1], "binary"),
        ("cross_entropy", None, 3, rows([1, 0, 0]), "multiclass"),
        ("cross_entropy", "sigmoid", 3, rows([1, 1, 0]), "multiclass"),
        ("hinge", None, 3, [0, 1, 2, 0], "multiclass"),
        ("hinge", None, 3, rows([1, 0, 1]), "multilabel"),
        ("hinge", None, 1, [0, 1, 1, 0], "binary"),
        ("quadratic", None, 3, [0, 1, 2, 0], "multiclass"),
        ("quadratic", None, 3, rows([0, 0, 1]), "multiclass"),
        ("quadratic", None, 3, rows([0.1, 0.2, 0.7]), "multiclass"),
        ("quadratic", None, 3, rows([1, 0, 1]), "multilabel"),
        ("quadratic", None, 3, rows([0.5, 0.3, 0.9]), "regression"),
        ("quadratic", None, 1, [0, 1, 1, 0], "binary"),
        ("quadratic", None, 1, [0.1, 0.7, 0.5, 0], "regression"),
        ("quadratic", "softmax", 3, rows([0.5, 0.3, 0.9]), "multiclass"),
        ("quadratic", "tanh", 3, rows([1, 0, 0]), "regression"),
        ("mse", None, 3, [0, 1, 2, 0], "regression"),
        ("mae", "sigmoid", 1, [0.1, 0.7, 0.5, 0], "regression"),
    ],
)
def test_targets_choose_the_task(rng, loss, output, outputs, y, task):
    X, y = rng.normal(size=(4, 6)), np.asarray(y)
    arrays, partial, batches, full, many = (
        make_network(loss, output, outputs) for _ in range(5)
    )  # fmt: skip
    arrays.fit(X, y, epochs=1)
    partial.partial_fit(X, y)
    batches.fit([(X[:2], y[:2]), (X[2:], y[2:])], epochs=1)
    full.fit(X, y, epochs=1, optimizer=LBFGS())
    fit_many([many], X, y, epochs=1)
    assert {net.task for net in (arrays, partial, full, many)} == {task}
    assert batches.task == task
    kind = "f" if task == "regression" else "i"
    assert arrays.predict(X).dtype.kind == kind
    assert arrays.score_name == ("r2" if task == "regression" else "accuracy")
    arrays.score(X, y)


def test_regression_with_a_sigmoid_is_scored_by_r2(rng):
    X = rng.normal(size=(200, 6))
    y = 1 / (1 + np.exp(-X[:, 0]))
    net = Network([6, 1], seed=0)
    history = net.fit(X, y, epochs=200, optimizer=SGD(), validation_data=(X, y), metrics="mae")
    assert net.score(X, y) == pytest.approx(sklearn.metrics.r2_score(y, net.predict(X)), rel=1e-5)
    assert net.score(X, y) == history["val_r2"][-1] > 0.9
    np.testing.assert_array_equal(net.predict(X), net(X)[:, 0])
    mlp = MLP([6, 1], seed=0)
    mlp.train([(x, [t]) for x, t in zip(X, y, strict=True)], 1, 10, 0.1)
    assert mlp.task == "regression"


@pytest.mark.parametrize(
    ("loss", "output", "outputs"),
    [("quadratic", None, 1), ("mse", "sigmoid", 2), ("huber", "softmax", 2)],
)
def test_targets_that_probabilities_do_not_reach_are_refused(rng, loss, output, outputs):
    X, y = rng.normal(size=(10, 6)), np.full((10, outputs), 1e6)
    net = make_network(loss, output, outputs)
    for call in (net.fit, net.partial_fit, net.score):
        with pytest.raises(ValueError, match=r"y must lie between 0 and 1 for .* with output='s"):
            call(X, y)
    with pytest.raises(ValueError, match="y of validation_data must lie between 0 and 1"):
        net.fit(X, y / 1e6, validation_data=(X, -y))
    assert net.state.epoch == 0
    Network([6, outputs], loss="quadratic", output="tanh", seed=0).fit(X, y / 1e6 * 1.5, epochs=1)


def test_partial_fit_keeps_the_most_general_task(rng):
    X, net = rng.normal(size=(4, 6)), make_network("quadratic", outputs=3)
    for y, task in (
        (rows([1, 0, 0]), "multiclass"), (rows([1, 1, 0]), "multilabel"),
        (rows([1, 0, 0]), "multilabel"), (rows([0.5, 0, 0]), "regression"),
        (rows([1, 1, 0]), "regression"), ([0, 1, 2, 0], "multiclass"),
    ):  # fmt: skip
        net.partial_fit(X, y)
        assert net.task == task


def test_batches_have_one_task(data):
    X, Y = data
    labels = Y.argmax(axis=1)
    for first, second, message in (
        (Y, labels, "y of batch 1 must have a row of 0 and 1"),
        (labels, Y, "y of batch 1 must hold labels .n,. or one-hot rows"),
    ):
        with pytest.raises(ValueError, match=message):
            make_network().fit([(X, first), (X, second)], epochs=1)
    net, one_hot = make_network("quadratic"), np.eye(4)[labels]
    net.fit([(X, one_hot), (X, Y)], epochs=1, validation_data=(X, Y))
    assert net.task == "multilabel"
    with pytest.raises(ValueError, match="y must be of one task in all batches"):
        net.fit([(X, one_hot), (X, Y)], epochs=1, metrics="f1")
    history = make_network().fit([(X, Y)], epochs=1, metrics="f1_samples", validation_data=(X, Y))
    assert set(history.epochs[0]) >= {"f1_samples", "val_accuracy", "val_f1_samples"}
    with pytest.raises(
        ValueError, match=r"metrics must not have 'top_2' unless .*; got task 'multi"
    ):
        make_network().fit([(X, Y)], epochs=1, metrics="top_2")


def test_targets_must_suit_the_task(data):
    X, Y = data
    net = make_network()
    net.fit(X, Y, epochs=1)
    with pytest.raises(ValueError, match=r"y must have a row of 0 and 1 .*; got shape \(203,\)"):
        net.score(X, Y[:, 0])
    with pytest.raises(ValueError, match="y of validation_data must have a row of 0 and 1"):
        make_network().fit(X, Y, validation_data=(X, Y[:, 0]))
    net.fit(X, Y.argmax(axis=1), epochs=1)
    assert net.score(X, np.eye(4)[Y.argmax(axis=1)]) == net.score(X, Y.argmax(axis=1))
    with pytest.raises(ValueError, match=r"y must hold labels .* makes it 'multilabel'"):
        net.score(X, Y)
    binary = make_network("quadratic", outputs=1)
    with pytest.raises(ValueError, match="y must hold 0 and 1, as the network's task is 'binary'"):
        binary.score(X, np.full(203, 0.3))


def test_a_task_can_be_assigned(data):
    X, Y = data
    net = make_network()
    assert net.predict(X).shape == (203,)
    net.task = "multilabel"
    assert net.score(X, Y) == sklearn.metrics.accuracy_score(Y, net.predict(X))
    for task in ("binary", "regression", "labels", None, ["multilabel"]):
        with pytest.raises(ValueError, match="task must be 'multiclass' or 'multilabel' for this"):
            net.task = task
    with pytest.raises(ValueError, match="task must be 'regression' for this output"):
        make_network("mse").task = "multiclass"


def test_averages_suit_the_task(data):
    X, Y = data
    net = make_network()
    for options, message in (
        (
            {"metric": "f1", "average": "samples"},
            "average must be one of macro, weighted, micro; got",
        ),
        (
            {"metric": "f1", "average": "binary"},
            "average must be one of macro, weighted, micro; got",
        ),
        ({"metric": "f1_samples"}, "metrics of a multiclass network must be one of"),
        ({"average": "macro"}, "average must be None unless metric is precision, recall, f1"),
        ({"metric": "top_2", "average": "macro"}, "average must be None unless metric"),
    ):
        with pytest.raises(ValueError, match=message):
            net.score(X, Y[:, 0], **options)
    with pytest.raises(TypeError, match="average must be a name; got 3"):
        net.score(X, Y[:, 0], metric="f1", average=3)


def read_header(path):
    with np.load(path) as file:
        return json.loads(file["header"].tobytes())


def test_files_copies_and_pickles_keep_the_task(tmp_path, data):
    net, path = make_network(), tmp_path / "net.npz"
    net.save(path)
    assert "task" not in read_header(path)  # the default, as in files of earlier revisions
    assert Network.load(path).task == "multiclass"
    net.fit(*data, epochs=1)
    net.save(path)
    assert read_header(path)["task"] == "multilabel"
    for twin in (Network.load(path), net.copy(), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert twin.task == "multilabel"
        assert (twin.predict(data[0]) == net.predict(data[0])).all()
    state = net.state
    for task in ("regression", "labels", 3):
        state.task = task
        net.save(path)
        with pytest.raises(ValueError, match="npz is not a network file: task must be"):
            Network.load(path)


def test_a_regression_has_no_class(tmp_path, rng):
    net = make_network("quadratic", outputs=1)
    net.fit(rng.normal(size=(30, 6)), rng.random(30), epochs=1)
    net.to_c(tmp_path / "model.c")
    assert "classify" not in (tmp_path / "model.c").read_text()
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="labels must be None for a network that is not"):
        net.to_onnx(tmp_path / "net.onnx", labels=True)


def test_the_command_line_prints_labels(tmp_path, data, capsys):
    net = make_network()
    net.fit(*data, epochs=20)
    net.save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x_train=data[0], y_train=data[1], x_test=data[0],
             y_test=data[1])  # fmt: skip
    np.save(tmp_path / "X.npy", data[0])
    assert cli.main(["evaluate", f"{tmp_path}/net.npz", "--data", f"{tmp_path}/data.npz"]) == 0
    assert capsys.readouterr().out == f"test accuracy: {net.score(*data):.4f}\n"
    assert cli.main(["predict", f"{tmp_path}/net.npz", f"{tmp_path}/X.npy"]) == 0
    rows = [",".join(map(str, row)) for row in net.predict(data[0])]
    assert capsys.readouterr().out.splitlines() == rows


class Crash(Exception):
    pass


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "quadratic"])
@pytest.mark.parametrize("has_batches", [False, True])
def test_a_resumed_run_continues_the_metrics(memory_path, data, loss, has_batches):
    X, Y = data
    source = X, Y
    if has_batches:
        source = [(X[i : i + 20], Y[i : i + 20]) for i in range(0, 203, 20)], None
    steps = 0

    class CrashInTheSecondEpoch(Callback):
        def on_batch_end(self, network, epoch, step, loss):
            nonlocal steps
            steps += 1
            if steps == 16:
                raise Crash

    def fit(net, path):
        checkpoint = Checkpoint(path, every=1, unit="steps")
        return net.fit(*source, epochs=3, batch_size=20, optimizer=Adam(), metrics="f1",
                       callbacks=[checkpoint, CrashInTheSecondEpoch()])  # fmt: skip

    with pytest.raises(Crash):
        fit(make_network(loss), memory_path / "run.npz")
    resumed, whole = Network.resume(memory_path / "run.npz"), make_network(loss)
    assert resumed.task == "multilabel"
    history, expected = fit(resumed, memory_path / "run.npz"), fit(whole, memory_path / "whole.npz")
    assert history["f1"] == expected["f1"]
    assert resumed.score(X, Y) == whole.score(X, Y)

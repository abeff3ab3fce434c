"""The reference's methods against the reference itself, in float64, to 1e-9."""

import random

import numpy as np
import pytest

from cmlp import MLP, Model, Network, reference
from cmlp._bench.peers import numpy_reference

TIGHT = {"rtol": 0, "atol": 1e-9}


def twins(sizes, seed=0):
    """Return a network of the reference and one of cmlp with the same parameters."""
    np.random.seed(seed)
    theirs = numpy_reference.MLP(sizes)
    ours = MLP(sizes, dtype="float64")
    ours.weight, ours.bias = theirs.weight, theirs.bias
    return theirs, ours


def samples(rng, n, sizes, shape):
    eye = np.eye(sizes[-1])
    return [
        (rng.random(sizes[0]).reshape(shape), eye[:, [rng.integers(sizes[-1])]]) for _ in range(n)
    ]


@pytest.mark.parametrize("sizes", [[784, 30, 10], [784, 20, 17, 10], [784, 10]])
@pytest.mark.parametrize("shape", [(784,), (784, 1), (28, 28)])
def test_mlp(isa, sizes, shape, rng, capsys):
    theirs, ours = twins(sizes)
    data = samples(rng, 120, sizes, shape)

    def same():
        for a, b in zip([*ours.weight, *ours.bias], [*theirs.weight, *theirs.bias], strict=True):
            np.testing.assert_allclose(a, b, **TIGHT)

    columns = np.stack([x.reshape(-1) for x, _ in data[:6]], axis=1)
    np.testing.assert_allclose(ours.forward(columns), theirs.forward(columns), **TIGHT)
    assert ours.forward(columns[:, :1]).shape == (sizes[-1], 1)
    (got_w, got_b, got_loss), (want_w, want_b, want_loss) = (
        net.backprop(*data[0]) for net in (ours, theirs)
    )
    assert got_loss == pytest.approx(want_loss, abs=1e-9)
    for a, b in zip([*got_w, *got_b], [*want_w, *want_b], strict=True):
        np.testing.assert_allclose(a, b, **TIGHT)
    for start in range(0, len(data), 10):
        batch = data[start : start + 10]
        assert ours.update_mini_batch(batch, 3.0) == pytest.approx(
            theirs.update_mini_batch(batch, 3.0), abs=1e-9
        )
    same()

    labelled = [(x, int(y.argmax())) for x, y in data]
    assert ours.evaluate(labelled) == theirs.evaluate(labelled)
    capsys.readouterr()
    theirs.train(list(data), 2, 20, 0.5, labelled, shuffle=lambda data: None)
    want = capsys.readouterr().out
    ours.train(data, 2, 20, 0.5, labelled, shuffle=False)
    got = capsys.readouterr().out
    same()
    for a, b in zip(got.splitlines(), want.splitlines(), strict=True):
        (a, loss), (b, expected) = a.rsplit(" ", 1), b.rsplit(" ", 1)
        assert a == b
        assert float(loss) == pytest.approx(float(expected), abs=1e-9)


def test_every_network_has_the_reference_methods(rng):
    net = Network([4, 6, 3], activation="relu", loss="cross_entropy", seed=0)
    x = rng.random(4)
    assert net.forward(x).shape == (3, 1)
    nabla_w, nabla_b, loss = net.backprop(x, 2)
    assert [n.shape for n in nabla_w] == [(6, 4), (3, 6)]
    assert [n.shape for n in nabla_b] == [(6, 1), (3, 1)]
    assert loss == pytest.approx(-np.log(net.forward(x)[2, 0]), rel=1e-5)


def test_mlp_float32_and_shuffling(rng, capsys):
    data = samples(rng, 50, [20, 5], (20,))
    nets = [MLP([20, 8, 5], seed=1) for _ in range(2)]
    for net in nets:
        net.train(data, 2, 10, 0.5)
    assert (nets[0].weight[0] == nets[1].weight[0]).all()
    assert nets[0].weight[0].dtype == np.float32
    assert capsys.readouterr().out.splitlines() == ["Epoch 0 complete", "Epoch 1 complete"] * 2


def test_model(isa, rng, capsys):
    np.random.seed(0)
    theirs, ours = numpy_reference.Model(40, 12, 5), Model(40, 12, 5, dtype="float64")
    for name in ("W1", "b1", "W2", "b2"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        setattr(ours, name, getattr(theirs, name))
    X, y = rng.random((30, 40)), np.eye(5)[rng.integers(0, 5, 30)]
    np.testing.assert_allclose(ours.forward(X), theirs.forward(X), **TIGHT)
    for name in ("z1", "a1", "z2", "a2"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **TIGHT)
    for got, want in zip(
        ours.backward(X, y, ours.a2), theirs.backward(X, y, theirs.a2), strict=True
    ):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, **TIGHT)
    ours.W1 -= 0.1 * np.ones((40, 12))
    theirs.W1 -= 0.1 * np.ones((40, 12))
    capsys.readouterr()
    theirs.train(X, y, 3, 0.05)
    theirs.test(X, y)
    want = capsys.readouterr().out
    ours.train(X, y, 3, 0.05)
    ours.test(X, y)
    assert capsys.readouterr().out == want
    for name in ("W1", "b1", "W2", "b2"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **TIGHT)


def test_labels_and_wrong_arguments_of_model(rng, capsys):
    model = reference.Model(6, 5, 3, seed=0)
    X, labels = rng.random((20, 6)), rng.integers(0, 3, 20)
    model.test(X, np.eye(3)[labels])
    model.test(X, labels)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    before = model.W1.copy()
    for epochs, rate, error, message in (
        (1, -0.1, ValueError, "learning_rate must be positive and finite; got -0.1"),
        (1, 0, ValueError, "learning_rate must be positive and finite; got 0"),
        (1, "a", TypeError, "learning_rate must be a number; got 'a'"),
        (-1, 0.1, ValueError, "epochs must be at least 0; got -1"),
    ):
        with pytest.raises(error, match=message):
            model.train(X, labels, epochs, rate)
    assert (before == model.W1).all()


def test_the_test_data_of_training_can_be_an_iterator(rng, capsys):
    data = list(zip(rng.random((20, 6)), rng.integers(0, 3, 20), strict=True))
    for test_data in (data, iter(data)):
        reference.MLP([6, 3], seed=0).train(data, 2, 10, 0.1, test_data=test_data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == lines[2:]


def test_the_reference_script_runs(digits, capsys):
    # The reference's main program with another import, other data and 10 epochs, not 1000.
    from cmlp.reference import MLP, convert_to_one_hot

    (train_x, train_y), (test_x, test_y) = digits
    train_x, train_y, test_x, test_y = train_x[:3000], train_y[:3000], test_x[:500], test_y[:500]
    train_data = []
    train_x = train_x.reshape([3000, 784])
    for i in range(train_x.shape[0]):
        train_data.append([train_x[i] / 255, convert_to_one_hot(train_y[i], 10)])
    test_data = []
    test_x = test_x.reshape([500, 784])
    for i in range(500):
        test_data.append([test_x[i] / 255, test_y[i]])
    net = MLP([784, 30, 10], seed=0)
    net.train(train_data, 10, 10, 3.0, test_data=test_data)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    right = int(lines[-1].split(":")[1].split("/")[0])
    assert lines[-1].startswith(f"Epoch 9:{right}/500 ")
    assert right > 300


def test_helpers(rng):
    z = rng.normal(size=(3, 4)) * 5
    np.testing.assert_allclose(reference.sigmoid(z), numpy_reference.sigmoid(z))
    step = 1e-6
    numeric = (reference.sigmoid(z + step) - reference.sigmoid(z - step)) / (2 * step)
    np.testing.assert_allclose(reference.dsigmoid(z), numeric, atol=1e-9)
    assert reference.sigmoid(np.float64(-1e4)) == 0
    labels = np.array([2, 0])
    assert (reference.convert_to_one_hot(labels, 3) == [[0, 1], [0, 0], [1, 0]]).all()
    assert (reference.to_one_hot(labels, 3) == [[0, 0, 1], [1, 0, 0]]).all()
    for call, message in (
        (lambda: reference.convert_to_one_hot(10, 10), "y must be whole .* from 0 to 9; got 10"),
        (lambda: reference.convert_to_one_hot(1.5, 10), "y must be whole numbers .*; got 1.5"),
        (lambda: reference.convert_to_one_hot(-1, 10), "y must be whole numbers .*; got -1"),
        (lambda: reference.convert_to_one_hot(0, 0), "C must be at least 1; got 0"),
        (lambda: reference.to_one_hot([8], 3), "labels must be whole .* from 0 to 2; got 8"),
        (lambda: reference.to_one_hot(1, 3), r"labels must have shape \(n,\); got \(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    p = reference.softmax(np.array([[1000.0, 1000]]))
    assert (p == 0.5).all()
    assert reference.cross_entropy_loss(p, np.array([[0, 1]])) == pytest.approx(np.log(2))


def test_global_random_generators_are_not_used(rng):
    random.seed(1)
    np.random.seed(1)
    net = MLP([6, 4, 3])
    net.train(samples(rng, 10, [6, 3], (6,)), 2, 5, 0.1)
    a, b = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    assert (a, b) == (random.random(), np.random.random())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward(np.ones((5, 2))), r"x must have shape \(4, m\); got \(5, 2\)"),
        (lambda net: net.update_mini_batch([], 1), "batch must be a list of at least one"),
        (lambda net: net.update_mini_batch([(np.ones(3), 1)], 1), r"x of batch\[0\] must have 4"),
        (lambda net: net.backprop(np.ones(4), np.ones(2)), r"y of batch\[0\] must have 3"),
        (lambda net: net.backprop(np.ones(4), 3), "labels from 0 to 2; got 3 to 3"),
        (lambda net: net.update_mini_batch([(np.ones(4), 1)], -1), "lr must be positive"),
        (lambda net: net.train([(np.ones(4), 1)], 1, 0, 1), "batchsz must be at least 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(MLP([4, 5, 3], seed=0))


def test_calls_with_arrays_of_rows_name_the_method_for_rows(rng):
    net = Network([4, 6, 3], seed=0)
    X, y = rng.random((7, 4)), rng.integers(0, 3, 7)
    with pytest.raises(ValueError, match=r"x must have shape \(4, m\); got \(7, 4\); .* net\(X\)"):
        net.forward(X)
    with pytest.raises(ValueError, match=r"x must have shape \(4, m\); got \(7, 5\)$"):
        net.forward(rng.random((7, 5)))
    with pytest.raises(ValueError, match=r"must have 4 elements, one sample; got shape \(7, 4\)"):
        net.backprop(X, y)
    for call in (lambda: net.evaluate(X, y), lambda: net.evaluate(test_data=X, y=y)):
        with pytest.raises(TypeError, match=r"^evaluate takes a list of pairs .*score\(X, y\)$"):
            call()
    for call, name, other in (
        (net.evaluate, "test_data", "score"),
        (lambda X: net.train(X, 1, 1, 0.1), "training_data", "fit"),
        (lambda X: net.update_mini_batch(X, 0.1), "batch", "partial_fit"),
    ):
        for wrong in (X, list(X), X[:, :2], [(1, 2, 3)], 5):
            message = rf"{name} must be a list of pairs \(x, y\).* call {other}\(X, y\)"
            with pytest.raises(TypeError, match=message):
                call(wrong)
    for name in ("forward", "evaluate", "save", "to_c"):
        with pytest.raises(TypeError, match=rf"^Network\.{name}\(\) missing 1 required"):
            getattr(net, name)()


def test_pairs_may_be_a_zip_or_an_array_of_objects(rng):
    X, y = rng.random((7, 4)), rng.integers(0, 3, 7)
    nets = [Network([4, 6, 3], seed=0) for _ in range(3)]
    pairs = list(zip(X, y, strict=True))
    objects = np.empty((7, 2), object)
    objects[:, 1] = y
    for i in range(7):
        objects[i, 0] = X[i]
    counts = set()
    for net, data in zip(nets, (pairs, zip(*zip(*pairs, strict=True), strict=True), objects),
                         strict=True):  # fmt: skip
        net.update_mini_batch(data, 0.5)
        np.testing.assert_array_equal(net.weight[0], nets[0].weight[0])
        counts.add(net.evaluate(pairs))
    assert counts == {int((nets[0].predict(X) == y).sum())}


@pytest.mark.parametrize("label", [np.eye(3)[:, [1]], 1.5, [1, 2], []])
def test_labels_that_are_not_one_integer_are_refused(label):
    with pytest.raises(ValueError, match=r"label of test_data\[0\] must be one integer; got shape"):
        Network([4, 3], seed=0).evaluate([(np.ones(4), label)])

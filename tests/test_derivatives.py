"""Outputs of hidden layers, gradients, Jacobians and vector-Jacobian products of networks."""

import copy
import pickle
from contextlib import nullcontext

import numpy as np
import oracle
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from cmlp import LBFGS, SGD, Adam, AdamW, Lion, NAdam, Network, layers

EPS = 1e-6
OUTPUTS = {"softmax": "cross_entropy", "identity": "mse", "sigmoid": "quadratic"}


def make_network(activation="tanh", output="softmax", sizes=(5, 9, 7, 3), **options):
    options = {"dtype": "float64", "seed": 1, "dropout": 0.2, **options}
    net = Network(list(sizes), activation=activation, output=output, loss=OUTPUTS[output],
                  **options)  # fmt: skip
    rng = np.random.default_rng(2)
    for name, array in net.state.to_arrays().items():
        array += rng.random(array.shape) * 0.3 if "variance" in name else (
            rng.normal(size=array.shape) * 0.1)  # fmt: skip
    return net


def make_targets(net, rng, n):
    outputs = net.size[-1]
    return rng.integers(0, outputs, n) if net.output == "softmax" else rng.random((n, outputs))


def differentiate_inputs(net, X):
    """Return the Jacobian by central differences."""
    columns = []
    for i in range(X.shape[1]):
        step = np.zeros(X.shape[1])
        step[i] = EPS
        columns.append((net(X + step) - net(X - step)) / (2 * EPS))
    return np.stack(columns, axis=2)


def differentiate_parameters(net, compute, name, view, rng):
    """Compare some elements of a view of a gradient with central differences."""
    parameter = net.state.to_arrays()[name]
    for _ in range(4):
        index = tuple(rng.integers(0, size) for size in view.shape)
        before, values = parameter[index], []
        for step in (EPS, -EPS):
            parameter[index] = before + step
            values.append(compute())
        parameter[index] = before
        want = (values[0] - values[1]) / (2 * EPS)
        assert view[index] == pytest.approx(want, rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("normalization", [None, "layer", "batch"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "prelu", "parametric_mish"])
def test_derivatives_equal_finite_differences(rng, activation, output, normalization):
    net = make_network(activation, output, normalization=normalization)
    X = rng.normal(size=(11, 5))
    jacobian = net.jacobian(X)
    assert jacobian.shape == (11, 3, 5)
    assert_allclose(jacobian, differentiate_inputs(net, X), rtol=1e-5, atol=1e-8)
    index = rng.integers(0, 3, 11)
    assert_array_equal(net.input_gradient(X, index), jacobian[np.arange(11), index])
    assert_array_equal(net.input_gradient(X, 2), jacobian[:, 2])
    assert_array_equal(net.input_gradient(X, np.int64(2), threads=1), jacobian[:, 2])

    y = make_targets(net, rng, 11)
    before = net.state.parameters.block.copy()
    gradient = net.gradient(X, y)
    assert_array_equal(net.state.parameters.block, before)
    for name, view in gradient.to_dict().items():
        differentiate_parameters(net, lambda: net.gradient(X, y).loss, name, view, rng)
    seed = rng.normal(size=(11, 3))
    product, inputs = net.vjp(X, seed)
    assert_allclose(inputs, np.einsum("no,noi->ni", seed, jacobian), rtol=1e-10, atol=1e-12)
    for name, view in product.to_dict().items():
        differentiate_parameters(net, lambda: (net(X) * seed).sum(), name, view, rng)


@pytest.mark.parametrize("normalization", [None, "batch"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "prelu", "parametric_mish"])
def test_few_inputs_are_differentiated_forward(rng, activation, output, normalization):
    net = make_network(activation, output, sizes=(2, 9, 40, 17), normalization=normalization)
    X = rng.normal(size=(600, 2))
    jacobian = net.jacobian(X)
    assert_allclose(jacobian[:50], differentiate_inputs(net, X[:50]), rtol=1e-5, atol=1e-8)
    assert_array_equal(net.jacobian(X[:1]), jacobian[:1])
    assert_array_equal(net.jacobian(X, threads=1), jacobian)
    for output_index in 0, 16:
        backward = net.input_gradient(X, output_index)  # one pass for the output
        assert_allclose(jacobian[:, output_index], backward, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_products_of_few_samples_skip_zeros(rng, kind, dtype):
    net = Network([90, 20, 6], activation="tanh", seed=0, dtype=dtype)
    X = (rng.random((10, 90)) * 200 * (rng.random((10, 90)) < 0.1)).astype(kind)
    seed = rng.normal(size=(10, 6)).astype(dtype)
    for rows in (X, X[:1], X[::2], X * 0, np.ascontiguousarray(X.T).T):
        few, general = net.vjp(rows, seed[: len(rows)]), net.vjp(rows, seed[: len(rows)], threads=1)
        assert_array_equal(few[0].tensors.block, general[0].tensors.block)
        assert_array_equal(few[1], general[1])
        for threads in None, 1:
            product, inputs = net.vjp(rows, seed[: len(rows)], inputs=False, threads=threads)
            assert inputs is None
            assert_array_equal(product.tensors.block, general[0].tensors.block)
    strided = np.repeat(seed, 2, axis=1)[:, ::2]
    assert_array_equal(net.vjp(X, strided)[1], net.vjp(X, seed)[1])


def test_gradients_do_not_share_memory(rng):
    net = make_network()
    X, seed = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    gradients = [net.vjp(X, factor * seed)[0] for factor in range(8)]
    blocks = [gradient.tensors.block.copy() for gradient in gradients]
    del gradients[::2]
    again = net.vjp(X, 0 * seed)[0]
    assert not again.tensors.block.any()
    for gradient, block in zip(gradients, blocks[1::2], strict=True):
        assert_array_equal(gradient.tensors.block, block)


def test_the_gradient_is_that_of_the_oracle_and_of_a_step(rng):
    net = make_network(dropout=0.0)
    X, y = rng.normal(size=(700, 5)), rng.integers(0, 3, 700)
    weights = rng.random(700)
    gradient = net.gradient(X, y)
    _, nabla_w, nabla_b = oracle.gradient(
        list(net.weight), list(net.bias), ["tanh", "tanh", "softmax"], "cross_entropy", X,
        np.eye(3)[y],
    )  # fmt: skip
    for found, want in zip([*gradient.weight, *gradient.bias], [*nabla_w, *nabla_b], strict=True):
        assert_allclose(found, want, rtol=1e-9, atol=1e-12)
    assert gradient.scale == [None] * 3
    assert_allclose(net.gradient(X, y, np.full(700, 3.0)).weight[0], gradient.weight[0], rtol=1e-9)
    weighted = net.gradient(X, y, weights)
    parts = [net.gradient(X[i : i + 1], y[i : i + 1]).weight[0] for i in range(700)]
    want = np.average(parts, axis=0, weights=weights)
    assert_allclose(weighted.weight[0], want, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1), Adam(0.01), AdamW(0.01, weight_decay=0.1), SGD(0.1, momentum=0.9, clip_norm=0.1),
     NAdam(0.01, lr_factors={"bias": 0.0}), Adam(0.01, average=0.9), Lion()],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_steps_by_gradients_are_those_of_partial_fit(rng, optimizer, max_norm):
    net, expected = (make_network(dropout=0.0, max_norm=max_norm) for _ in range(2))
    X, y = rng.normal(size=(20, 5)), rng.integers(0, 3, 20)
    for _ in range(3):
        with (
            net.state.optimizer.use_averages(net.state.parameters)
            if (optimizer.average and net.state.optimizer)
            else nullcontext()
        ):
            gradient = net.gradient(X, y)
        assert net.apply(gradient, optimizer) is net
        expected.partial_fit(X, y, batch_size=20, optimizer=optimizer, shuffle=False)
    for one, two in zip(net.weight + net.bias, expected.weight + expected.bias, strict=True):
        assert_allclose(one, two, rtol=1e-9, atol=1e-11)
    net.partial_fit(X, y, batch_size=20, shuffle=False)
    expected.partial_fit(X, y, batch_size=20, shuffle=False)
    assert_allclose(net.weight[0], expected.weight[0], rtol=1e-9, atol=1e-11)


def test_gradients_travel_and_are_averaged(rng):
    net, expected = make_network(dropout=0.0), make_network(dropout=0.0)
    X, y = rng.normal(size=(20, 5)), rng.integers(0, 3, 20)
    parts = [net.gradient(X[i : i + 10], y[i : i + 10]) for i in (0, 10)]
    first, second = pickle.loads(pickle.dumps(parts[0])), copy.deepcopy(parts[1])
    mean = (first + second) * 0.5
    whole = net.gradient(X, y)
    assert_allclose(mean.weight[1], whole.weight[1], rtol=1e-10, atol=1e-14)
    first.weight[0][:] = 7
    assert (7 * np.ones_like(first.weight[0]) == first.to_dict()["weight_0"]).all()
    assert not (parts[0].weight[0] == 7).any()
    net.apply(mean, SGD(0.1))
    expected.apply(whole, SGD(0.1))
    assert_allclose(net.weight[0], expected.weight[0], rtol=1e-10)
    with pytest.raises(ValueError, match="gradients must be those of networks with the same"):
        first + make_network(sizes=(5, 4, 3)).gradient(X, y)
    with pytest.raises(TypeError):
        first * "2"


def test_wrong_gradients_are_refused(rng):
    net, other = make_network(), make_network(sizes=(5, 9, 6, 3))
    X, y = rng.normal(size=(4, 5)), [0, 1, 2, 0]
    before = net.state.parameters.block.copy()
    with pytest.raises(TypeError, match="gradient must be a Gradient; got list"):
        net.apply([1])
    with pytest.raises(ValueError, match="gradient must be that of a network with the same layers"):
        net.apply(other.gradient(X, y))
    for optimizer in (Adam(accumulate=2), SGD(penalty=0.1), LBFGS()):
        with pytest.raises(ValueError, match="no penalty and accumulate nothing"):
            net.apply(net.gradient(X, y), optimizer)
    assert_array_equal(net.state.parameters.block, before)
    assert "weight_0" in repr(net.gradient(X, y))


def test_a_loss_in_python_and_input_layers(rng):
    def half_square(a, y):
        return ((a - y) ** 2).sum() / 2 / len(a), (a - y) / len(a)

    options = {"dtype": "float64", "seed": 0, "activation": "tanh", "output": "identity"}
    called = Network([4, 6, 2], loss=half_square, **options)
    compiled = Network([4, 6, 2], loss="quadratic", **options)
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    found, want = called.gradient(X, y), compiled.gradient(X, y)
    assert found.loss == pytest.approx(want.loss)
    assert_allclose(found.weight[0], want.weight[0], rtol=1e-10)

    net = Network([3, 6, 2], loss="mse", dtype="float64", seed=0, input_layers=[
        layers.Embedding([2], [4], 3), layers.Periodic([0, 1]), layers.Scale()
    ])  # fmt: skip
    X = np.column_stack([rng.normal(size=(9, 2)), rng.integers(0, 5, 9)])
    seed = rng.normal(size=(9, 2))
    product, inputs = net.vjp(X, seed)
    assert inputs is None
    for name, view in product.to_dict().items():
        differentiate_parameters(net, lambda: (net(X) * seed).sum(), name, view, rng)
    with pytest.raises(ValueError, match="input_layers must be empty for derivatives"):
        net.jacobian(X)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("compute_dtype", [None, "bfloat16"])
def test_the_same_bits_for_any_number_of_threads_and_rows(rng, compute_dtype):
    net = Network([70, 90, 80, 64], activation="gelu", seed=0, compute_dtype=compute_dtype)
    X = rng.random((1300, 70), dtype=np.float32)
    seed = rng.random((1300, 64), dtype=np.float32)
    results = []
    for threads in (1, 2, 3):
        product, inputs = net.vjp(X, seed, threads=threads)
        jacobian = net.jacobian(X[:600], threads=threads)
        hidden = net.transform(X, threads=threads)
        results.append((product.tensors.block, inputs, jacobian, hidden))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert_array_equal(one, two)
    assert_array_equal(net.jacobian(X[5:6])[0], results[0][2][5])
    assert_array_equal(net.vjp(X[7:8], seed[7:8])[1][0], results[0][1][7])


def test_sparse_samples_and_images(rng):
    net = make_network(sizes=(70, 9, 7, 3))
    X = rng.normal(size=(8, 70)) * (rng.random((8, 70)) < 0.1)
    assert_array_equal(net.jacobian(csr_array(X)), net.jacobian(X))
    seed = rng.normal(size=(8, 3))
    for one, two in zip(net.vjp(csr_array(X), seed), net.vjp(X, seed), strict=True):
        if isinstance(one, np.ndarray):
            assert_array_equal(one, two)
        else:
            assert_allclose(one.tensors.block, two.tensors.block, rtol=1e-12)
    images = rng.integers(0, 256, (8, 70), dtype=np.uint8)
    assert_allclose(net.jacobian(images), net.jacobian(images / 255), rtol=1e-9, atol=1e-14)
    assert_allclose(net.transform(images, 0), net.transform(images / 255, 0), rtol=1e-9)


def test_outputs_of_hidden_layers(rng):
    net = make_network("relu", normalization=["layer", None], dropout=0.5)
    X = rng.normal(size=(10, 5))
    hidden = net.transform(X)
    assert hidden.shape == (10, 7)
    z = hidden @ net.weight[2].T + net.bias[2].T
    assert_allclose(oracle.softmax(z), net(X), rtol=1e-12)
    assert_array_equal(net.transform(X, 1), hidden)
    assert_array_equal(net.transform(X, layer=-1), net(X))
    first = net.transform(X, 0)
    assert_allclose(np.maximum(first @ net.weight[1].T + net.bias[1].T, 0), hidden, rtol=1e-12)
    assert net.transform(np.empty((0, 5))).shape == (0, 7)
    assert net.jacobian(np.empty((0, 5))).shape == (0, 3, 5)
    assert net.vjp(np.empty((0, 5)), np.empty((0, 3)))[1].shape == (0, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, X: n.transform(X, 3), ValueError, "layer must be from -3 to 2; got 3"),
        (lambda n, X: n.transform(X, -4), ValueError, "layer must be at least -3"),
        (lambda n, X: n.transform(X, 1.0), TypeError, "layer must be a whole number"),
        (lambda n, X: n.transform(X[:, :4]), ValueError, "X must have 5 columns"),
        (lambda n, X: n.transform(X * np.nan), ValueError, "X must .*finite"),
        (lambda n, X: n.input_gradient(X), ValueError, "output must be given for a network with 3"),
        (lambda n, X: n.input_gradient(X, 3), ValueError, "output must be from 0 to 2"),
        (lambda n, X: n.input_gradient(X, [0]), ValueError, "output must be an integer, or one"),
        (lambda n, X: n.input_gradient(X, 0.5), TypeError, "output must be an integer"),
        (lambda n, X: n.jacobian(X * np.inf), ValueError, "X must .*finite"),
        (lambda n, X: n.vjp(X, np.zeros((4, 2))), ValueError,
         r"output_gradient must have shape \(4, 3\); got \(4, 2\)"),
        (lambda n, X: n.vjp(X, np.full((4, 3), "a")), TypeError, "must hold real numbers"),
        (lambda n, X: n.gradient(X, [0, 1]), ValueError, "y must have 4 samples"),
        (lambda n, X: n.gradient(X[:0], []), ValueError, "X must have at least one sample"),
        (lambda n, X: n.gradient(X, [0, 1, 2, 0], [1.0]), ValueError, "sample_weight"),
    ],
)  # fmt: skip
def test_wrong_arguments(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(make_network(), rng.normal(size=(4, 5)))

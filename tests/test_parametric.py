"""Parametric activations: gradients, threads, files, exports, and PyTorch's results."""

import numpy as np
import onnx
import oracle
import pytest
from c_libraries import compile_library, run_c
from conftest import assert_same_state, read_data
from test_formats_export import compilers, run_onnx  # noqa: F401 (a fixture)

from cmlp import SGD, Adam, Network, activations, callbacks, fit_many
from cmlp.activations import parametric, prelu

HIDDEN = [name for name, a in activations.ACTIVATIONS.items() if a.hidden and name != "identity"]
PARAMETERS = {"leaky_relu": 0.3, "elu": 0.3, "celu": 0.3}


def make(name, rng=None, sizes=(7, 21, 14, 3), **options):
    """Return a network with the activation prelu, or z + alpha (f(z) - z) for another name f."""
    kind = (
        prelu()
        if name == "prelu"
        else parametric((name, PARAMETERS[name]) if name in PARAMETERS else name)
    )
    options = {"loss": "mse", "dtype": "float64", "seed": 3, **options}
    net = Network(list(sizes), activation=kind, **options)
    for alpha in net.alpha[:-1]:
        alpha[:] = (rng or np.random.default_rng(5)).normal(1, 0.5, alpha.shape)
    return net


def compute(net, name, X):
    """Return the outputs of a network without normalization, by formulas that are not cmlp's."""
    a = X
    for l in range(net.num_layers):
        z = a @ net.weight[l].T + net.bias[l].T
        if l == net.num_layers - 1:
            return z
        alpha = net.alpha[l].T
        if name == "prelu":
            a = np.where(z >= 0, z, alpha * z)
        else:
            f = oracle.ACTIVATIONS[name]
            a = z + alpha * ((f(z) if name not in PARAMETERS else with_parameter(name, z)) - z)
    return None


def with_parameter(name, z, k=0.3):
    low = {"leaky_relu": k * z, "elu": k * np.expm1(z), "celu": k * np.expm1(z / k)}[name]
    return np.where(z < 0, low, z)


@pytest.mark.parametrize("name", ["prelu", *HIDDEN])
def test_outputs_and_gradient(isa, rng, name):
    net = make(name, rng)
    X, y = rng.normal(size=(13, 7)), rng.normal(size=(13, 3))
    np.testing.assert_allclose(net(X), compute(net, name, X), rtol=1e-11, atol=1e-12)
    gradient = net.state.parameters.make_zeros()
    loss = net.state.program.gradient(*read_data(net, X, y), gradient.block, 1)

    def mean_loss():
        return ((compute(net, name, X) - y) ** 2).mean(axis=1).mean()

    assert loss == pytest.approx(mean_loss(), rel=1e-11)
    assert [t.key for t in net.state.architecture.tensors if t.name == "alpha"] == [
        "alpha_0", "alpha_1",
    ]  # fmt: skip
    for (tensor, values), nablas in zip(
        net.state.parameters.views.items(), gradient.views.values(), strict=True
    ):
        for _ in range(4):
            index = tuple(rng.integers(0, n) for n in values.shape)
            center = values[index]
            values[index] = center + 1e-6
            above = mean_loss()
            values[index] = center - 1e-6
            below = mean_loss()
            values[index] = center
            found = pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7)
            assert nablas[index] == found, tensor.key


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("optimizer", [SGD(1e-4), Adam(0.01)], ids=lambda o: type(o).__name__)
def test_any_number_of_threads_gives_the_same_bits(rng, batch_size, normalization, optimizer):
    X, y = rng.normal(size=(100, 300)), rng.normal(size=(100, 3))
    found = []
    for options in ({"threads": 1}, {"threads": 2}, {"threads": 3}):
        net = make("mish", sizes=(300, 260, 200, 3), dtype="float32", dropout=0.2,
                   normalization=normalization)  # fmt: skip
        net.fit(X, y, epochs=1, batch_size=batch_size, optimizer=optimizer, **options)
        found.append(net.state.parameters.block.tobytes())
    assert len(set(found)) == 1


class AfterEachBatch(callbacks.Callback):
    """Lets the engine return after each step."""

    def on_batch_end(self, network, epoch, step, loss):
        pass


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("optimizer", [SGD(1e-2), SGD(1e-2, momentum=0.5), Adam(0.01)], ids=str)
@pytest.mark.parametrize("name", ["mish", "relu"])
def test_the_steps_of_a_call_equal_calls_of_one_step(rng, name, optimizer, batch_size):
    X, y = rng.normal(size=(40, 30)), rng.normal(size=(40, 3))
    nets = [make(name, sizes=(30, 26, 20, 3)) for _ in range(2)]
    before = [np.array(alpha) for alpha in nets[0].alpha[:2]]
    for net, watchers in zip(nets, ((), AfterEachBatch()), strict=True):
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=optimizer, callbacks=watchers)
    assert_same_state(*nets)
    assert all((a != b).mean() > 0.5 for a, b in zip(before, nets[0].alpha[:2], strict=True))


def test_shards_and_their_number_of_threads(rng):
    X, y = rng.normal(size=(100, 7)), rng.normal(size=(100, 3))
    nets = [make("mish", dropout=0.2) for _ in range(4)]
    for net, options in zip(nets, ({}, {"shards": 1}, {"shards": 4}, {"shards": 4, "threads": 2}),
                            strict=True):  # fmt: skip
        net.fit(X, y, epochs=2, batch_size=20, optimizer=Adam(0.01), **options)
    assert_same_state(nets[0], nets[1])
    assert_same_state(nets[2], nets[3])
    whole, parts = make("mish"), make("mish")
    whole.fit(X, y, epochs=5, batch_size=100, optimizer=Adam(0.01))
    parts.fit(X, y, epochs=5, batch_size=100, optimizer=Adam(0.01), shards=4)
    np.testing.assert_allclose(parts.alpha[0], whole.alpha[0], rtol=1e-9)


@pytest.mark.parametrize("name", ["prelu", "mish", "selu", "elu", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_equals_pytorch(rng, name, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = rng.normal(size=(60, 7)).astype(dtype), rng.normal(size=(60, 3)).astype(dtype)
    net = make(name, rng, dtype=dtype)
    theirs = net.to_torch()
    assert sum("alpha" in n or p.ndim == 1 for n, p in theirs.named_parameters()) == 5
    descent = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for start in range(0, 60, 12):
        batch = slice(start, start + 12)
        descent.zero_grad()
        outputs = theirs(torch.tensor(X[batch]))
        torch.nn.functional.mse_loss(outputs, torch.tensor(y[batch])).backward()
        descent.step()
    net.fit(X, y, epochs=1, batch_size=12, optimizer=Adam(0.01), shuffle=False)
    back = Network.from_torch(theirs)
    tolerance = 1e-9 if dtype == "float64" else 2e-5
    for key, array in net.state.to_arrays().items():
        np.testing.assert_allclose(array, back.state.to_arrays()[key], rtol=tolerance,
                                   atol=tolerance)  # fmt: skip


def test_dropout_keeps_the_gradient_exact(rng):
    """With plain descent, one step moves each parameter by lr times the gradient of the loss."""
    X, y = rng.normal(size=(8, 7)), rng.normal(size=(8, 3))

    def train(change=None):
        net = make("mish", dropout=0.5, sizes=(7, 21, 3))
        if change is not None:
            net.state.parameters.block[change[0]] += change[1]
        before = net.state.parameters.block.copy()
        loss = net.fit(X, y, epochs=1, batch_size=8, optimizer=SGD(1.0), shuffle=False)["loss"][0]
        return loss, before - net.state.parameters.block

    _, gradient = train()
    net = make("mish", dropout=0.5, sizes=(7, 21, 3))
    for tensor, view in net.state.parameters.views.items():
        offset = net.state.parameters.offsets[tensor]
        width = view.T.strides[0] // view.itemsize if tensor.name == "weight" else 0
        for _ in range(5):
            row, column = rng.integers(0, view.shape[0]), rng.integers(0, view.shape[1])
            place = offset + column * width + row
            difference = train((place, 1e-6))[0] - train((place, -1e-6))[0]
            assert gradient[place] == pytest.approx(difference / 2e-6, abs=1e-7), tensor.key


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "kind", ["parametric_mish", "prelu", prelu(0.1), parametric(("elu", 0.5), 0.25)],
    ids=lambda kind: str(getattr(kind, "header", kind)),
)  # fmt: skip
def test_files_and_copies(tmp_path, rng, suffix, kind):
    X, y = rng.normal(size=(50, 7)), rng.normal(size=(50, 3))
    net = Network([7, 8, 3], activation=[kind], loss="mse", seed=0)
    alpha = activations.resolve_activation("activation", kind, activations.PARAMETRIC).alpha
    assert (net.alpha[0] == np.float32(alpha)).all()
    assert net.alpha[1] is None
    net.fit(X, y, optimizer=Adam(0.01))
    assert len(np.unique(net.alpha[0])) > 1
    net.save(tmp_path / f"net{suffix}")
    loaded = Network.load(tmp_path / f"net{suffix}")
    assert loaded.activation == net.activation
    assert loaded.state.architecture.header == net.state.architecture.header
    for other in (loaded, net.copy()):
        assert_same_state(net, other)
        np.testing.assert_array_equal(net(X), other(X))


def test_fit_many_and_views(rng):
    X, y = rng.normal(size=(60, 7)), rng.normal(size=(60, 3))
    nets = [make("mish", seed=seed) for seed in range(3)]
    alone = [net.copy() for net in nets]
    fit_many(nets, X, y, epochs=3, optimizer=Adam(0.01))
    for one, other in zip(nets, alone, strict=True):
        other.fit(X, y, epochs=3, optimizer=Adam(0.01))
        assert_same_state(one, other)
    net = nets[0]
    net.alpha[0] = np.zeros((21, 1))
    assert not net.alpha[0].any()
    with pytest.raises(ValueError, match="alpha cannot be assigned for a layer that has none"):
        net.alpha[2] = np.zeros((3, 1))
    with pytest.raises(AttributeError, match="alpha cannot be assigned to"):
        net.alpha = []


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("name", ["prelu", *HIDDEN])
def test_exports(tmp_path, rng, compilers, name, normalization):  # noqa: F811
    net = make(name, rng, dtype="float32", normalization=normalization)
    net.fit(rng.normal(size=(50, 7)), rng.normal(size=(50, 3)), epochs=1, optimizer=SGD(1e-3))
    X = rng.normal(size=(40, 7)).astype(np.float32)
    net.to_onnx(tmp_path / "net.onnx")
    onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)
    np.testing.assert_allclose(run_onnx(tmp_path / "net.onnx", X), net(X), rtol=1e-5, atol=5e-6)
    net.to_c(tmp_path / "net.c")
    for compiler in compilers[:1]:
        library = compile_library(tmp_path / "net.c", compiler)
        np.testing.assert_allclose(run_c(library, "model", X, 3), net(X), rtol=1e-5, atol=1e-5)


def test_refused_arguments(rng):
    with pytest.raises(ValueError, match="output must be one of"):
        Network([7, 3], output="prelu", loss="mse")
    with pytest.raises(ValueError, match="output must be one of"):
        Network([7, 3], output=parametric("tanh"), loss="mse")
    with pytest.raises(ValueError, match=r"activation must be one of .* got 'identity'"):
        parametric("identity")
    with pytest.raises(ValueError, match=r"activation must be one of .* got 'softmax'"):
        parametric("softmax")
    with pytest.raises(ValueError, match="did you mean 'parametric_mish'"):
        Network([7, 3, 1], activation="parametric_mihs", loss="mse")
    with pytest.raises(ValueError, match="alpha must be finite; got inf"):
        parametric("mish", np.inf)
    with pytest.raises(TypeError, match="slope must be a number; got 'a'"):
        prelu("a")
    with pytest.raises(ValueError, match="layer 0 must not be parametric for 8-bit inference"):
        make("mish").quantize(rng.normal(size=(50, 7)))

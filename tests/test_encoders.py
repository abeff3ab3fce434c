"""Input layers: outputs, gradients, threads, optimizers, files, wrong columns and codes."""

import numpy as np
import oracle
import pytest
from conftest import assert_same_state, read_data
from test_parameter_groups import own_arguments

from cmlp import LBFGS, SGD, Adam, AdamW, Lion, Network, callbacks, fit_many, layers
from cmlp.layers import Embedding, OneHot, Periodic, Scale

# Columns 1 and 4 hold codes of 2 and 5 categories, column 5 those of 11, the others numbers.
CODES = {1: 2, 4: 5, 5: 11}
STACKS = {
    "scale": [Scale()],
    "one_hot": [OneHot([4, 1], [5, 2])],
    "embedding": [Embedding([5, 1], [11, 2], dim=3)],
    "pbld": [Periodic([0, 3], frequencies=5)],
    "pblrd": [Periodic([2], frequencies=16, type="pblrd")],
    "plr": [Periodic([3, 2, 0], frequencies=9, outputs=6, type="plr")],
    "pl": [Periodic(frequencies=3, outputs=1, sigma=0.5, type="pl")],
    "realmlp": [OneHot([1, 4], [2, 5]), Embedding([9], [11], dim=4), Periodic([0, 7, 8]), Scale()],
    # The first dense layer reads these as a sparse batch.
    "wide": [OneHot([5, 4], [60, 40])],
    "wide_realmlp": [Embedding([1], [2], dim=3), Periodic([0, 4]), OneHot([12, 13], [50, 60]),
                     Scale()],
    "deep": [Periodic([0], frequencies=4), Scale(), Periodic(frequencies=2, outputs=2), Scale()],
}  # fmt: skip


@pytest.fixture(params=STACKS)
def stack(request):
    return STACKS[request.param]


def make_data(rng, n, dtype=float):
    X = rng.normal(size=(n, 6))
    for column, categories in CODES.items():
        X[:, column] = rng.integers(0, categories + 1, n)
    return X.astype(dtype), rng.normal(size=(n, 2)).astype(dtype)


def make(stack, *, randomizes=True, sizes=(6, 11, 2), **options):
    options = {"activation": "tanh", "loss": "mse", "dtype": "float64", "seed": 2, **options}
    net = Network(list(sizes), input_layers=stack, **options)
    rng = np.random.default_rng(7)
    for tensor, view in net.state.parameters.views.items():
        if randomizes and tensor.name not in ("weight", "bias"):
            view[:] = rng.normal(1, 0.4, view.shape)
    return net


def encode(layer, values, x):
    """Return the outputs of a layer by formulas that are not cmlp's."""
    if isinstance(layer, Scale):
        return x * values["input_scale"].T
    columns = list(range(x.shape[1]) if layer.columns is None else layer.columns)
    parts, first = [x[:, [j]] for j in range(x.shape[1])], 0
    for i, column in enumerate(columns):
        given = x[:, column]
        if isinstance(layer, OneHot):
            parts[column] = oracle.encode_one_hot(given, layer.categories[i])
        elif isinstance(layer, Embedding):
            end = first + layer.categories[i]
            parts[column] = oracle.encode_embedding(given, values["embedding"][:, first:end])
            first = end
        else:
            outputs = len(values["periodic_bias"])
            phase = values["phase"][:, i] if "phase" in values else None
            parts[column] = oracle.encode_periodic(
                given, values["frequency"][:, i],
                values["periodic_weight"][:, i * outputs : (i + 1) * outputs],
                values["periodic_bias"][:, i], phase, "r" in layer.type, layer.type[-1] == "d",
            )  # fmt: skip
    return np.hstack(parts)


def compute(net, x):
    """Return the outputs of a network with tanh units."""
    x = np.asarray(x, float)
    for position, layer in enumerate(net.state.architecture.encoders):
        views = net.state.parameters.views
        x = encode(layer, {t.name: np.asarray(v, float) for t, v in views.items()
                           if t.layer == position}, x)  # fmt: skip
    for l in range(net.num_layers):
        x = x @ net.weight[l].T + net.bias[l].T
        x = np.tanh(x) if l < net.num_layers - 1 else x
    return x


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs(isa, rng, stack, dtype):
    net = make(stack, dtype=dtype)
    X, y = make_data(rng, 300, dtype)
    expected = compute(net, X)
    tolerance = 1e-11 if dtype == "float64" else 3e-5
    np.testing.assert_allclose(net(X), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(net(X[:1]), expected[:1], rtol=tolerance, atol=tolerance)
    assert net.score(X, y) == pytest.approx(
        np.mean(1 - ((y - expected) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)), abs=1e-5
    )


def check_gradient(rng, net, X, y, threads=1, samples=8):
    """Compare the gradient of the engine with central differences of the formulas' loss."""
    gradient = net.state.parameters.make_zeros()
    net.state.program.gradient(*read_data(net, X, y), gradient.block, threads)
    for (tensor, values), nablas in zip(
        net.state.parameters.views.items(), gradient.views.values(), strict=True
    ):
        for _ in range(samples):
            index = tuple(rng.integers(0, n) for n in values.shape)
            center, losses = values[index], []
            for step in (1e-5, -1e-5):
                values[index] = center + step
                losses.append(((compute(net, X) - y) ** 2).mean())
            values[index] = center
            found = pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5, abs=2e-8)
            assert nablas[index] == found, (tensor.key, index)


def test_gradient(isa, rng, stack):
    check_gradient(rng, make(stack), *make_data(rng, 13))


@pytest.mark.usefixtures("many_threads")
def test_gradient_of_wide_layers(rng, stack):
    """Wide layers are computed by blocks of columns instead of rows."""
    net = make(stack, sizes=(6, 260, 130, 2), activation="tanh")
    check_gradient(rng, net, *make_data(rng, 64), threads=2, samples=2)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("sizes", [(6, 20, 2), (6, 260, 130, 2)])
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": SGD(1e-3)}, {"optimizer": Adam(0.01, weight_decay=0.1), "batch_size": 5},
        {"optimizer": AdamW(0.01, clip_norm=0.1)},
        {"optimizer": Adam(0.01, lr_factors={"input_scale": 6.0}, accumulate=2)},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["realmlp", "wide_realmlp", "deep"])
def test_any_number_of_threads_gives_the_same_bits(rng, name, sizes, options):
    X, y = make_data(rng, 200, np.float32)
    if name == "realmlp":
        options = dict(options)
    elif "lr_factors" in str(options):
        options = {"optimizer": Adam(0.01, lr_factors={"frequency": 0.0, "layer_0": 0.5})}
    found = []
    for threads in (1, 2, 3):
        net = make(STACKS[name], sizes=sizes, dtype="float32", dropout=0.2)
        net.fit(X, y, epochs=2, threads=threads, **{"batch_size": 64, **options})
        found.append(net.state.parameters.block.tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("optimizer", [SGD(0.05), SGD(0.05, 0.9), Adam(0.01), Lion(1e-3)],
                         ids=lambda o: type(o).__name__)  # fmt: skip
def test_training_equals_steps_with_the_gradient(rng, stack, optimizer):
    X, y = make_data(rng, 40)
    net, own = make(stack), make(stack)
    name = type(optimizer).__name__.lower()
    update = oracle.OPTIMIZERS[name](own.state.parameters.block, **own_arguments(optimizer))
    for start in range(0, 40, 8):
        part, gradient = slice(start, start + 8), own.state.parameters.make_zeros()
        own.state.program.gradient(*read_data(own, X[part], y[part]), gradient.block, 1)
        update(gradient.block)
    net.fit(X, y, epochs=1, batch_size=8, optimizer=optimizer, shuffle=False)
    for key, array in net.state.to_arrays().items():
        np.testing.assert_allclose(array, own.state.to_arrays()[key], rtol=1e-9, atol=1e-11)


def test_factors_and_freezing(rng):
    X, y = make_data(rng, 60)
    kinds = ["embedding", "frequency", "phase", "periodic_weight", "periodic_bias", "input_scale"]
    start = make(STACKS["realmlp"]).state.to_arrays()
    nets = [make(STACKS["realmlp"]) for _ in range(3)]
    factors = [dict.fromkeys(kinds, 0.0), {"frequency": 0.0}, {}]
    for net, lr_factors in zip(nets, factors, strict=True):
        net.fit(X, y, epochs=1, batch_size=60, optimizer=SGD(0.1, lr_factors=lr_factors))
    arrays = [net.state.to_arrays() for net in nets]
    for name in start:
        kind = name.rsplit("_", 1)[0]
        frozen = [bool(np.all(found[name] == start[name])) for found in arrays]
        assert frozen == [kind in kinds, kind == "frequency", False], name
        if not frozen[1]:
            np.testing.assert_allclose(arrays[1][name], arrays[2][name], rtol=1e-12)


def test_other_ways_to_train(rng, stack):
    X, y = make_data(rng, 60)
    net = make(stack)
    before = ((net(X) - y) ** 2).mean()
    net.fit(X, y, epochs=8, optimizer=LBFGS())
    after = ((net(X) - y) ** 2).mean()
    assert after < before
    assert net.fit(X, y, epochs=1, optimizer=SGD(1e-9))["loss"][0] == pytest.approx(after)
    nets = [make(stack, seed=seed) for seed in range(3)]
    alone = [net.copy() for net in nets]
    fit_many(nets, X, y, epochs=3, optimizer=Adam(0.01))
    for one, other in zip(nets, alone, strict=True):
        other.fit(X, y, epochs=3, optimizer=Adam(0.01))
        assert_same_state(one, other)
    parts = make(stack)
    for start in range(0, 60, 20):
        parts.partial_fit(X[start : start + 20], y[start : start + 20], shuffle=False,
                          optimizer=SGD(0.1))  # fmt: skip
    whole = make(stack)
    whole.fit(X, y, epochs=1, batch_size=20, shuffle=False, optimizer=SGD(0.1))
    assert_same_state(parts, whole)


def test_files_and_resuming(tmp_path, rng, stack):
    X, y = make_data(rng, 60)
    options = {"optimizer": Adam(0.01), "batch_size": 16, "dropout_schedule": "flat_cos"}
    whole, path = make(stack, dropout=0.1), tmp_path / "net.npz"
    whole.fit(X, y, epochs=4, **options)
    net = make(stack, dropout=0.1)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=4, callbacks=[callbacks.Checkpoint(path), Stop(2)], **options)
    resumed = Network.resume(path)
    assert resumed.state.architecture.header == whole.state.architecture.header
    resumed.fit(X, y, epochs=4, callbacks=[callbacks.Checkpoint(path), Stop(9)], **options)
    assert_same_state(resumed, whole)
    for suffix in (".npz", ".safetensors"):
        whole.save(path.with_suffix(suffix))
        np.testing.assert_array_equal(Network.load(path.with_suffix(suffix))(X), whole(X))


class Stop(callbacks.Callback):
    """Raises KeyboardInterrupt after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, *args):
        self.epochs -= 1
        if not self.epochs:
            raise KeyboardInterrupt


def test_initial_values(rng):
    net = make([Embedding([5], [400]), Periodic([0, 2, 3], frequencies=200), Scale()],
               randomizes=False)  # fmt: skip
    arrays = net.state.to_arrays()
    assert net.state.architecture.encoded_inputs == 6 + 7 + 3 * 3
    assert (arrays["input_scale_0"] == 1).all()
    assert arrays["embedding_0"].shape == (8, 400)
    assert arrays["embedding_0"].std() == pytest.approx(1, abs=0.05)
    assert arrays["frequency_0"].std() == pytest.approx(0.1, abs=0.01)
    assert abs(arrays["phase_0"]).max() == pytest.approx(np.pi, abs=0.05)
    assert abs(arrays["periodic_weight_0"]).max() == pytest.approx(200**-0.5, rel=0.05)
    assert arrays["periodic_bias_0"].shape == (3, 3)


def test_bfloat16_rounds_the_encoded_input(rng):
    X, y = make_data(rng, 80, np.float32)
    nets = [make([Periodic(outputs=16), Scale()], sizes=(6, 96, 2), dtype="float32", **options)
            for options in ({}, {"compute_dtype": "bfloat16"})]  # fmt: skip
    outputs = [net(X) for net in nets]
    assert 0 < abs(outputs[0] - outputs[1]).max() < 0.05 * abs(outputs[0]).max()
    losses = [net.fit(X, y, epochs=3, optimizer=Adam(0.003))["loss"] for net in nets]
    np.testing.assert_allclose(*losses, rtol=0.02)


def test_codes_are_checked(rng):
    X, y = make_data(rng, 20)
    net = make(STACKS["realmlp"])
    before = net.copy()
    for value, of in ((6, "float64"), (-1, "float64"), (0.5, "float32")):
        wrong = X.astype(of)
        wrong[3, 4] = value
        message = r"column 4 of X must have the codes of categories, integers from 0 to 5; got " \
                  r"another number in row 3"  # fmt: skip
        for call in (net, net.predict, lambda X: net.fit(X, y), lambda X: net.score(X, y),
                     lambda X: net.partial_fit(X, y), lambda X: fit_many([net], X, y)):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                call(wrong)
    wrong = X.copy()
    wrong[2, 5] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite|column 5 of X must have the codes"):
        net(wrong)
    with pytest.raises(ValueError, match="X must not be of uint8"):
        net.fit(np.zeros((4, 6), np.uint8), np.zeros((4, 2)))
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    with pytest.raises(ValueError, match=r"X must be dense with one_hot; pass X.toarray\(\)"):
        net(sparse)
    assert_same_state(net, before)
    integers = X.round().astype(np.int64)
    np.testing.assert_array_equal(net(integers), net(integers.astype(float)))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: OneHot([], []), ValueError, "columns must be different integers, at least one"),
        (lambda: OneHot([1, 1], [2, 2]), ValueError, "columns must be different integers"),
        (lambda: OneHot([1], [2, 3]), ValueError, "categories must be one number for each of"),
        (lambda: Embedding([1], [0]), ValueError, "categories must be"),
        (lambda: Embedding([-1], [2]), ValueError, "columns must be"),
        (lambda: Embedding([1], [3], dim=0), ValueError, "dim must be"),
        (lambda: Embedding("a", [3]), (TypeError, ValueError), "columns must be"),
        (lambda: Periodic(frequencies=257), ValueError, "frequencies must be .* got 257"),
        (lambda: Periodic(type="pbl"), ValueError, "type must be one of .*got 'pbl'"),
        (lambda: Periodic(outputs=1), ValueError, "outputs must be at least 2 for type='pbld'"),
        (lambda: Periodic(sigma=-1), ValueError, "sigma must be .* got -1"),
        (lambda: make([Periodic([6])]), ValueError, "columns of Periodic must be below 6"),
        (lambda: make([OneHot([4], [3]), OneHot([9], [2])]), ValueError, "must be below 8"),
        (lambda: make([Scale(), OneHot([4], [3])]), ValueError, "must be columns of X, which no"),
        (lambda: make([Embedding([4], [3]), Embedding([4], [3])]), ValueError, "columns of X"),
        (lambda: make(Scale()), TypeError, "input_layers must be"),
        (lambda: make(["scale"]), TypeError, "input_layers must be layers of cmlp.layers; got 's"),
        (lambda: make([Scale()] * 17), ValueError, "input_layers must have at most 16 layers"),
        (lambda: make([OneHot([4], [3])], input_noise=0.1), ValueError, "input_noise and input"),
    ],
)  # fmt: skip
def test_wrong_layers(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_what_is_not_supported(rng):
    X, y = make_data(rng, 20)
    net = make([Scale()], dtype="float32")
    with pytest.raises(ValueError, match=r"quantize does not support .* input_layers; got Scale"):
        net.quantize(X)
    with pytest.raises(ValueError, match="shards and comm do not support input_layers"):
        net.fit(X, y, shards=2)
    assert set(layers.__all__) == {"Dense", "Embedding", "OneHot", "Periodic", "Scale"}


def restate(torch, arrays, x):
    """Return the outputs of the network of the next test by PyTorch, from its arrays by name."""
    cos, one = torch.cos, torch.ones_like(x[:, :1])
    binary = x[:, [1]] * 2 - 3 * one
    parts = [torch.where(x[:, [1]] == 0, 0 * one, binary), (x[:, [4]] == torch.arange(1, 6))]
    table = torch.cat([torch.zeros(1, 4), arrays["embedding_0"].T])
    periodic = []
    for i, column in enumerate((0, 2, 3)):
        angles = 2 * np.pi * x[:, [column]] * arrays["frequency_0"][:, i] + arrays["phase_0"][:, i]
        weight = arrays["periodic_weight_0"][:, 3 * i : 3 * i + 3]
        periodic += [cos(angles) @ weight + arrays["periodic_bias_0"][:, i], x[:, [column]]]
    a = torch.cat([*periodic[:2], parts[0], *periodic[2:], parts[1], table[x[:, 5].long()]], 1)
    a = torch.tanh(a * arrays["input_scale_0"].T @ arrays["weight_0"].T + arrays["bias_0"].T)
    return a @ arrays["weight_1"].T + arrays["bias_1"].T


def test_training_equals_pytorch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_default_dtype(torch.float64)
    X, y = make_data(rng, 60)
    net = make([OneHot([1, 4], [2, 5]), Embedding([9], [11], dim=4), Periodic([0, 2, 3]), Scale()])
    arrays = {name: torch.tensor(np.array(array), requires_grad=True)
              for name, array in net.state.to_arrays().items()}  # fmt: skip
    descent = torch.optim.Adam(list(arrays.values()), lr=0.01)
    for start in range(0, 60, 12):
        x, targets = (torch.tensor(a[start : start + 12]) for a in (X, y))
        descent.zero_grad()
        torch.nn.functional.mse_loss(restate(torch, arrays, x), targets).backward()
        descent.step()
    torch.set_default_dtype(torch.float32)
    net.fit(X, y, epochs=1, batch_size=12, optimizer=Adam(0.01), shuffle=False)
    for name, array in net.state.to_arrays().items():
        np.testing.assert_allclose(array, arrays[name].detach().numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("optimizer", [SGD(0.05), Adam(0.01)])
@pytest.mark.parametrize("threads", [1, 2])
def test_one_hot_columns_have_the_bits_of_dense_columns(many_threads, rng, optimizer, threads):
    X, y = make_data(rng, 70)
    sparse = make(STACKS["wide"])
    columns = [X[:, :4], *(oracle.encode_one_hot(X[:, j], n) for j, n in ((4, 40), (5, 60)))]
    D = np.hstack(columns)
    dense = Network([104, 11, 2], activation="tanh", loss="mse", dtype="float64", seed=2)
    dense.weight, dense.bias = sparse.weight, sparse.bias
    np.testing.assert_array_equal(sparse(X), dense(D))
    np.testing.assert_array_equal(sparse(X[:2]), dense(D[:2]))
    for net, samples in ((sparse, X), (dense, D)):
        net.fit(samples, y, epochs=3, batch_size=16, optimizer=optimizer, threads=threads)
    for ours, theirs in zip(sparse.weight + sparse.bias, dense.weight + dense.bias, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([OneHot([4, 5], [5, 11])], [(4, -1), (5, 4), (11, 5)]),
        ([OneHot([1, 4], [2, 5]), Embedding([9], [11], dim=4), Periodic([0, 7, 8]), Scale()],
         [(7, -1), (3, 4), (12, -1)]),
        ([OneHot([4, 5], [5, 11]), Periodic([5]), Scale()],
         [(4, -1), (1, 4), (7, -1), (11, 5)]),
        ([Scale(), Periodic([0])], []),
    ],
)  # fmt: skip
def test_segments_of_one_hot_columns(stack, expected):
    assert make(stack).state.architecture.segments == expected

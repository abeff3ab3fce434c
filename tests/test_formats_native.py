"""The contract of native formats: a round trip preserves the state; invalid files are refused.

Every test runs for every native format of the registry. A new one needs an entry in `RAW_ACCESS`.
"""

import itertools
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmlp import MLP, Adam, Network
from cmlp._model.architecture import Architecture
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.state import ModelState, TrainingSnapshot
from cmlp.activations import elu
from cmlp.formats import FORMATS, atomic, get_native_format
from cmlp.losses import cross_entropy

NATIVE = {name: format for name, format in FORMATS.items() if format.is_native}


def load_raw_npz(path):
    with np.load(path) as archive:
        arrays = dict(archive)
    return arrays.pop("header").tobytes().decode(), arrays


def store_raw_npz(path, text, arrays):
    np.savez(path, header=np.frombuffer(text.encode(), np.uint8), **arrays)


def load_raw_safetensors(path):
    import safetensors

    with safetensors.safe_open(path, "np") as file:
        return file.metadata()["cmlp"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def store_raw_safetensors(path, text, arrays):
    import safetensors.numpy

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    safetensors.numpy.save_file(arrays, path, {"cmlp": text})


# Format -> functions that read and write the header's text and the arrays without any check.
RAW_ACCESS = {
    "npz": (load_raw_npz, store_raw_npz),
    "safetensors": (load_raw_safetensors, store_raw_safetensors),
}


def make_plain_state():
    return ModelState.initialize(
        Architecture.from_arguments(
            [5, 20, 3], activation="tanh", loss="cross_entropy", dtype="float64", seed=3
        )
    )


def make_full_state():
    """Return a state in which every key of the header differs from its default."""
    state = ModelState.initialize(
        Architecture.from_arguments(
            [5, 8, 6, 3], activation=[elu(0.5), "gelu"], loss=cross_entropy(0.1), init=0.1,
            normalization=["batch", "layer"], dropout=[0.1, 0.0], input_noise=0.01,
            input_dropout=0.05, max_norm=3.0, seed=2**64 - 1,
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for array in state.to_arrays().values():
        array[:] = rng.uniform(0.5, 2, array.shape)
    state.epoch, state.training = 7, {"optimizer": "SGD(lr=0.1)", "epochs": 2, "loss": 0.1 + 0.2}
    return state


def make_optimizer_state():
    state = make_full_state()
    state.optimizer = OptimizerState(Adam(0.01, average=0.9), state.parameters)
    rng = np.random.default_rng(1)
    for block in state.optimizer.blocks.values():
        for view in state.parameters.view_block(block).values():
            view[:] = rng.normal(size=view.shape)
    state.optimizer.position = (5, 0.25)
    return state


def make_checkpoint_state():
    state = make_plain_state()
    fields = {"place": {"epoch": 1, "loss": 1 / 3}, "history": [{"loss": 2.5}], "stopped": False}
    arrays = {
        "optimizer_gradient": np.linspace(-1, 1, 7),
        "tally_counts": np.array([[1, 2], [3, 4]], np.float32),
    }
    state.checkpoint = TrainingSnapshot(fields, arrays)
    return state


STATES = {
    "plain": make_plain_state,
    "full": make_full_state,
    "optimizer": make_optimizer_state,
    "checkpoint": make_checkpoint_state,
}


@pytest.fixture
def tmp_path(memory_path):
    return memory_path


@pytest.fixture(params=NATIVE)
def format(request):
    return NATIVE[request.param]


@pytest.fixture(params=STATES)
def stored(request, format, tmp_path):
    """Return a state, and the path of a file that contains it."""
    state, path = STATES[request.param](), tmp_path / f"net{format.extension}"
    format.write(state, path, optimizer=state.optimizer is not None)
    return state, path


@pytest.fixture
def plain(format, tmp_path):
    """Return the path of a file with a plain network, and functions to read and rewrite it."""
    path = tmp_path / f"net{format.extension}"
    format.write(make_plain_state(), path)
    return path, *RAW_ACCESS[format.name]


def assert_equal_arrays(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert (np.asarray(found[name]) == array).all(), name


def read_unless_refused(format, path):
    """Return the state of a file, or None if the format refuses it as it should."""
    try:
        return format.read(path)
    except ValueError as error:
        if not str(error).startswith(f"{path} is not a network file: "):
            raise
        return None


def test_round_trip(format, stored):
    state, path = stored
    twin = format.read(path)
    assert str(twin.architecture) == str(state.architecture)
    assert twin.architecture == state.architecture
    assert (twin.epoch, twin.training) == (state.epoch, state.training)
    assert_equal_arrays(twin.to_arrays(), state.to_arrays())
    assert (twin.optimizer is None) == (state.optimizer is None)
    assert (twin.checkpoint is None) == (state.checkpoint is None)
    if state.optimizer is not None:
        assert repr(twin.optimizer.optimizer) == repr(state.optimizer.optimizer)
        assert twin.optimizer.position == state.optimizer.position
        assert_equal_arrays(twin.optimizer.to_arrays(), state.optimizer.to_arrays())
    if state.checkpoint is not None:
        assert twin.checkpoint.fields == state.checkpoint.fields
        assert_equal_arrays(twin.checkpoint.arrays, state.checkpoint.arrays)


def test_a_second_write_gives_the_same_contents(format, stored):
    state, path = stored
    again = path.with_name(f"again{format.extension}")
    format.write(format.read(path), again, optimizer=state.optimizer is not None)
    load, _ = RAW_ACCESS[format.name]
    (text, arrays), (text_again, arrays_again) = load(path), load(again)
    assert text_again == text
    assert_equal_arrays(arrays_again, arrays)


def test_keys_of_version_2(format, stored):
    _, path = stored
    header = json.loads(RAW_ACCESS[format.name][0](path)[0])
    assert header["format"] == "cmlp"
    assert header["version"] == 2
    required = {"format", "version", "inputs", "layers", "loss", "init", "dtype", "seed", "epoch",
                "training"}  # fmt: skip
    assert required <= set(header) <= required | {"task", "optimizer", "course"}


def test_the_optimizer_is_stored_on_request_only(format, tmp_path):
    path = tmp_path / f"net{format.extension}"
    format.write(make_optimizer_state(), path)
    assert format.read(path).optimizer is None
    with pytest.raises(ValueError, match="optimizer=True requires an optimizer state, but partial"):
        format.write(make_plain_state(), tmp_path / "other", optimizer=True)
    assert not (tmp_path / "other").exists()


def test_a_network_with_an_optimizer_and_a_checkpoint(format, tmp_path):
    # Their arrays have the same names, so that a file cannot hold both.
    state, path = make_optimizer_state(), tmp_path / f"net{format.extension}"
    state.checkpoint = make_checkpoint_state().checkpoint
    format.write(state, path, optimizer=True)
    twin = format.read(path)
    assert twin.checkpoint is None
    assert_equal_arrays(twin.optimizer.to_arrays(), state.optimizer.to_arrays())
    format.write(state, path)
    twin = format.read(path)
    assert twin.optimizer is None
    assert_equal_arrays(twin.checkpoint.arrays, state.checkpoint.arrays)


def test_values_that_json_cannot_hold(format, tmp_path):
    state, path = make_plain_state(), tmp_path / f"net{format.extension}"
    state.training = {"loss": np.float32(0.5), "norms": np.arange(3), "epochs": np.int64(2)}
    format.write(state, path)
    assert format.read(path).training == {"loss": 0.5, "norms": [0, 1, 2], "epochs": 2}
    state.training = {"thing": object()}
    before = path.read_bytes()
    with pytest.raises(TypeError, match="a file can hold numbers and lists of them; got <object"):
        format.write(state, path)
    assert path.read_bytes() == before


def test_a_callable_loss_is_given_again(format, tmp_path):
    def squared(outputs, targets):
        return ((outputs - targets) ** 2).mean(), 2 * (outputs - targets) / outputs.size

    architecture = Architecture.from_arguments([5, 3], loss=squared, seed=0)
    path = tmp_path / f"net{format.extension}"
    format.write(ModelState.initialize(architecture), path)
    assert format.read(path, loss=squared).architecture.loss.call is squared
    X, y = np.ones((4, 5), np.float32), np.ones((4, 3), np.float32)
    Network.from_state(format.read(path, loss=squared)).fit(X, y, epochs=1)
    net = Network.from_state(format.read(path))
    assert net(X).shape == (4, 3)
    with pytest.raises(TypeError, match=r"load\(path, loss="):
        net.fit(X, y)


def test_every_truncation_is_refused(format, stored):
    _, path = stored
    data = path.read_bytes()
    lengths = {0, 1, 7, 8, 9, *np.linspace(0, len(data) - 1, 25, dtype=int)}
    for length in lengths:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=f"{path} is not a network file: "):
            format.read(path)


@pytest.mark.parametrize("contents", [b"text", b"\0" * 100, b"PK\3\4" + b"\0" * 60,
                                      (2**40).to_bytes(8, "little") + b"{}"])  # fmt: skip
def test_other_files_are_refused(format, tmp_path, contents):
    path = tmp_path / f"net{format.extension}"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=f"{path} is not a network file: "):
        format.read(path)


@given(position=st.floats(0, 1), value=st.integers(0, 255))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_altered_byte_is_refused_or_an_other_value(format, tmp_path, position, value):
    # A changed byte in the data of an array, or in a number of the header, is another number.
    path = tmp_path / f"net{format.extension}"
    state = ModelState.initialize(Architecture.from_arguments([3, 2, 2], seed=0))
    format.write(state, path)
    data = bytearray(path.read_bytes())
    data[min(int(position * len(data)), len(data) - 1)] = value
    path.write_bytes(data)
    twin = read_unless_refused(format, path)
    if twin is not None:
        shapes = {name: array.shape for name, array in twin.to_arrays().items()}
        assert shapes == {name: array.shape for name, array in state.to_arrays().items()}


@pytest.mark.parametrize("key", ["inputs", "layers", "loss", "init", "dtype", "seed", "epoch"])
def test_a_missing_key_is_named(format, plain, key):
    path, load, store = plain
    text, arrays = load(path)
    header = json.loads(text)
    del header[key]
    store(path, json.dumps(header), arrays)
    missing = "sizes" if key == "layers" else key  # without layers it is read as of version 1
    with pytest.raises(ValueError, match=f"{path} is not a network file: its header has no "
                                         f"'{missing}'"):  # fmt: skip
        format.read(path)


DENSE = {"kind": "dense", "units": 3, "activation": "softmax"}
HIDDEN = {"kind": "dense", "units": 20, "activation": "tanh"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "does not have format 'cmlp'"),
        ({"version": 3}, "its version is 3; supported versions are 1 and 2"),
        ({"version": 0}, "its version is 0"),
        ({"version": None}, "its version is None"),
        ({"version": True}, "its version is True"),
        ({"version": "2"}, "its version is '2'"),
        ({"inputs": 0}, "inputs must be at least 1"),
        ({"inputs": -5}, "inputs must be at least 1"),
        ({"inputs": "5"}, "inputs must be"),
        ({"inputs": 5.0}, "inputs must be"),
        ({"inputs": True}, "inputs must be"),
        ({"inputs": 10**9}, r"'weight_0' is \(20, 5\) of float64, not \(20, 1000000000\)"),
        ({"inputs": 10**30}, r"'weight_0' is \(20, 5\) of float64, not \(20, 10{30}\)"),
        ({"layers": []}, "at least one dense layer"),
        ({"layers": None}, "layers must be a list"),
        ({"layers": {}}, "layers must be a list"),
        ({"layers": [3]}, "a layer must be an object"),
        ({"layers": [{}]}, "its header has no 'kind'"),
        ({"layers": [{"kind": "magic"}]}, "kind must be one of .*; got 'magic'"),
        ({"layers": [{"kind": ["dense"]}]}, "kind must be"),
        ({"layers": [{"kind": "dense", "units": 3}]}, "its header has no 'activation'"),
        ({"layers": [{"kind": "dense", "activation": "tanh"}]}, "its header has no 'units'"),
        ({"layers": [HIDDEN, DENSE, DENSE]}, "unknown|softmax"),
        ({"layers": [HIDDEN]}, "for loss='cross_entropy'"),
        (
            {"layers": [DENSE, {"kind": "input_dropout", "rate": 0.5}]},
            "noise and dropout, encoders",
        ),
        ({"layers": [{"kind": "input_dropout", "rate": 1.0}, HIDDEN, DENSE]}, "rate must be"),
        ({"layers": [{"kind": "input_noise", "deviation": 0}, HIDDEN, DENSE]}, "deviation must be"),
        ({"layers": [{"kind": "input_noise", "deviation": 10**400}, HIDDEN, DENSE]}, "too large"),
        ({"layers": [HIDDEN | {"extra": 1}, DENSE]}, "must not have 'extra'"),
        ({"layers": [HIDDEN | {"units": 10**12}, DENSE]}, r"'weight_0' is \(20, 5\)"),
        ({"layers": [HIDDEN | {"units": 0}, DENSE]}, "units must be"),
        ({"layers": [HIDDEN | {"dropout": 1}, DENSE]}, "dropout must be"),
        ({"layers": [HIDDEN | {"dropout": float("nan")}, DENSE]}, "dropout must be"),
        ({"layers": [HIDDEN | {"max_norm": -1}, DENSE]}, "max_norm must be"),
        ({"layers": [HIDDEN | {"max_norm": float("inf")}, DENSE]}, "max_norm must be"),
        ({"layers": [HIDDEN | {"normalization": ["batch", 2, 1e-5]}, DENSE]}, "momentum must be"),
        ({"layers": [HIDDEN | {"normalization": ["layer", 0]}, DENSE]}, "eps must be"),
        ({"layers": [HIDDEN | {"normalization": ["layer", 1, 2, 3]}, DENSE]}, "argument"),
        ({"layers": [HIDDEN | {"normalization": "batch"}, DENSE]}, "it has no array 'scale_0'"),
        ({"layers": [HIDDEN, DENSE | {"normalization": "batch"}]}, "the last layer must have"),
        ({"layers": [HIDDEN | {"activation": ["elu", -1]}, DENSE]}, "alpha must be"),
        ({"layers": [HIDDEN | {"activation": "magic"}, DENSE]}, "activation must .*'magic'"),
        ({"loss": "magic"}, "loss must be one of .*; got 'magic'"),
        ({"loss": ["cross_entropy", 1]}, "label_smoothing must be"),
        ({"loss": {}}, "loss must be"),
        ({"init": "magic"}, "init"),
        ({"dtype": "object"}, "dtype must be float32 or float64"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
        ({"dtype": "float32"}, "'weight_0' is .* of float64, not .* of float32"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**64}, "seed must be"),
        ({"epoch": -1}, "epoch must be a whole number from 0 to"),
        ({"epoch": 2**40}, "epoch must be a whole number from 0 to"),
        ({"epoch": 1.5}, "epoch must be"),
        ({"epoch": None}, "epoch must be"),
        ({"epoch": 2**70}, "epoch must be a whole number from 0 to"),
        ({"epoch": float("inf")}, "epoch must be"),
        ({"seed": float("inf")}, "seed must be"),
        ({"seed": 2**70}, "seed must be"),
        ({"inputs": float("inf")}, "inputs must be"),
        ({"training": [1]}, "training must be an object"),
        ({"optimizer": {}}, "its list of optimizer arrays is invalid"),
        ({"optimizer": 5}, "its list of optimizer arrays is invalid"),
        ({"course": []}, "its list of course arrays is invalid"),
        ({"course": {"arrays": []}}, "its list of course arrays is invalid"),
        ({"course": {"arrays": {"x": 3}}}, "its list of course arrays is invalid"),
        ({"course": {"arrays": {"x": ["float32", [float("inf")]]}}}, "arrays is invalid"),
        ({"course": {"arrays": {"x": ["object", [1]]}}}, "'x' must be of float32, .*; got"),
        ({"course": {"arrays": {"x": ["float32", [1]]}}}, "it has no array 'x'"),
        ({"course": {"arrays": {"weight_0": ["float64", [20, 5]]}}}, "it has no array 'weight_0'"),
        ({"optimizer": {"arrays": {}}}, "its optimizer state is invalid"),
        ({"optimizer": {"arrays": {}, "kind": "magic", "arguments": {}, "position": [0, 0]}},
         "its optimizer state is invalid"),
        ({"optimizer": {"arrays": {}, "kind": [], "arguments": {}, "position": [0, 0]}},
         "its optimizer state is invalid"),
        ({"optimizer": {"arrays": {}, "kind": "adam", "arguments": {"lr": -1}, "position": [0, 0]}},
         "lr must be"),
        ({"optimizer": {"arrays": {}, "kind": "adam", "arguments": {"x": 1}, "position": [0, 0]}},
         "its optimizer state is invalid"),
        ({"optimizer": {"arrays": {}, "kind": "adam", "arguments": {}, "position": [0, 0]}},
         "optimizer_gradient"),
        ({"optimizer": {"arrays": {}, "kind": "sgd", "arguments": {}, "position": [0]}},
         "its optimizer state is invalid"),
        ({"optimizer": {"arrays": {}, "kind": "sgd", "arguments": {},
                        "position": [float("inf"), 0]}}, "its optimizer state is invalid"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
def test_hostile_headers_are_refused(format, plain, changes, reason):
    path, load, store = plain
    text, arrays = load(path)
    store(path, json.dumps(json.loads(text) | changes), arrays)
    with pytest.raises(ValueError, match=f"{path} is not a network file: .*(?:{reason})"):
        format.read(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sizes": [5, 10**9, 3]}, r"'weight_0' is \(20, 5\) of float64, not \(1000000000, 5\)"),
        ({"sizes": "5,20"}, "sizes must be a sequence"),
        ({"sizes": [5]}, "sizes must have"),
        ({"sizes": [5, 0, 3]}, "must be at least 1"),
        ({"activation": ["tanh", "tanh"]}, "activation must be"),
        ({"activation": ["magic"]}, "activation must be one of .*; got 'magic'"),
        ({"output": 5}, "output must be"),
        ({"dropout": [0.1, 0.2]}, "dropout must be"),
        ({"input_noise": -1}, "input_noise must be"),
        ({"normalization": ["batch"]}, "it has no array 'scale_0'"),
    ],
    ids=str,
)
def test_hostile_headers_of_version_1_are_refused(format, plain, changes, reason):
    path, load, store = plain
    text, arrays = load(path)
    header = json.loads(text)
    del header["inputs"], header["layers"]
    header |= {"version": 1, "sizes": [5, 20, 3], "activation": ["tanh"], "output": "softmax"}
    store(path, json.dumps(header), arrays)
    assert format.read(path).architecture == make_plain_state().architecture
    store(path, json.dumps(header | changes), arrays)
    with pytest.raises(ValueError, match=f"{path} is not a network file: .*{reason}"):
        format.read(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", "null", '"cmlp"', "[" * 100_000,
                                  '{"format": ' + "9" * 5000 + "}"])  # fmt: skip
def test_headers_that_are_no_objects_are_refused(format, plain, text):
    path, load, store = plain
    store(path, text, load(path)[1])
    with pytest.raises(ValueError, match=f"{path} is not a network file: its header"):
        format.read(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["dense", "adam", "elu", 10**30, 10**400]),
    lambda children: st.lists(children, max_size=3)
    | st.dictionaries(st.sampled_from(["kind", "units", "lr", "arrays", "a"]), children,
                      max_size=3),
    max_leaves=5,
)  # fmt: skip


def list_locations(value, location=()):
    """Yield the location of every value in a header: keys and indices from the top."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        yield (*location, key)
        if isinstance(child, (dict, list)):
            yield from list_locations(child, (*location, key))


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Map (format, state of `STATES`) to the state, and to the header and the arrays of a file."""
    found = {}
    for (name, format), (kind, make) in itertools.product(NATIVE.items(), STATES.items()):
        path, state = tmp_path_factory.mktemp("contents") / f"net{format.extension}", make()
        format.write(state, path, optimizer=state.optimizer is not None)
        found[name, kind] = state, *RAW_ACCESS[name][0](path)
    return found


@given(data=st.data(), name=st.sampled_from(sorted(STATES)))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_a_header_is_accepted_or_refused(format, contents, tmp_path, data, name):
    path = tmp_path / f"net{format.extension}"
    state, text, arrays = contents[format.name, name]
    store = RAW_ACCESS[format.name][1]
    header = json.loads(text)
    *parents, last = data.draw(st.sampled_from(list(list_locations(header))))
    target = header
    for key in parents:
        target = target[key]
    target[last] = data.draw(VALUES)
    store(path, json.dumps(header), arrays)
    twin = read_unless_refused(format, path)
    if twin is not None:
        assert_equal_arrays(twin.to_arrays(), state.to_arrays())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("bias_1"), "it has no array 'bias_1'"),
        (lambda a: a.update(extra=np.zeros(1)), "it has unknown members: .*extra"),
        (lambda a: a.update(weight_2=np.zeros((3, 3))), "it has unknown members: .*weight_2"),
        (lambda a: a.update(weight_0=np.zeros((5, 20))), r"'weight_0' is \(5, 20\) of float64"),
        (lambda a: a.update(weight_0=np.zeros(100)), r"'weight_0' is \(100,\) of float64"),
        (lambda a: a.update(weight_0=np.zeros((20, 5), "f4")), "of float32, not"),
        (lambda a: a.update(weight_0=np.zeros((20, 5), "i8")), "is .* of .*64, not"),
        (lambda a: a.update(bias_0=np.zeros((0, 1))), r"'bias_0' is \(0, 1\)"),
    ],
)
def test_other_arrays_are_refused(format, plain, change, reason):
    path, load, store = plain
    text, arrays = load(path)
    change(arrays)
    store(path, text, arrays)
    with pytest.raises(ValueError, match=f"{path} is not a network file: .*{reason}"):
        format.read(path)


@pytest.mark.parametrize("section", ["optimizer", "checkpoint"])
def test_arrays_of_a_section_are_checked(format, tmp_path, section):
    state, path = STATES[section](), tmp_path / f"net{format.extension}"
    format.write(state, path, optimizer=section == "optimizer")
    load, store = RAW_ACCESS[format.name]
    text, arrays = load(path)
    for change, reason in (
        (lambda a: a.pop("optimizer_gradient"), "it has no array 'optimizer_gradient'"),
        (lambda a: a.update(optimizer_gradient=np.zeros(3)), r"'optimizer_gradient' is \(3,\)"),
        (lambda a: a.update(optimizer_more=np.zeros(3)), "unknown members: .*optimizer_more"),
    ):
        changed = dict(arrays)
        change(changed)
        store(path, text, changed)
        with pytest.raises(ValueError, match=f"{path} is not a network file: .*{reason}"):
            format.read(path)


def test_files_that_do_not_exist(format, tmp_path):
    with pytest.raises(FileNotFoundError):
        format.read(tmp_path / f"nowhere{format.extension}")
    with pytest.raises(FileNotFoundError, match="path must be in an existing directory; got"):
        format.write(make_plain_state(), tmp_path / "nowhere" / f"net{format.extension}")


def test_an_error_while_writing_leaves_the_old_file(format, plain, monkeypatch):
    path, *_ = plain
    before = path.read_bytes()

    def fail(handle):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        format.write(make_plain_state(), path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_extensions():
    for format in NATIVE.values():
        assert get_native_format(f"net{format.extension}") is format
        assert get_native_format(Path(f"net{format.extension}"), for_reading=True) is format
    assert get_native_format("net.npz.old", for_reading=True) is FORMATS["npz"]
    extensions = re.escape(" or ".join(format.extension for format in NATIVE.values()))
    for path in ("net.pt", "net", "net.onnx"):
        with pytest.raises(ValueError, match=f"path must end in {extensions}; got '{path}'"):
            get_native_format(path)


def test_training_continues_with_the_same_bits(format, tmp_path, rng):
    X, y = rng.random((30, 5)), rng.integers(0, 3, 30)
    net = Network.from_state(make_full_state())
    for _ in range(2):
        net.partial_fit(X, y, optimizer=Adam(0.01, average=0.9))
    path = tmp_path / f"net{format.extension}"
    net.save(path, optimizer=True)
    twin = Network.load(path)
    assert repr(twin) == repr(net)
    assert (twin(X) == net(X)).all()
    for n in (net, twin):
        n.partial_fit(X, y, optimizer=Adam(0.01, average=0.9))
        n.fit(X, y, epochs=2)
    assert_equal_arrays(twin.state.to_arrays(), net.state.to_arrays())
    assert twin.state.epoch == net.state.epoch
    assert twin.state.training["loss"] == net.state.training["loss"]


def test_a_subclass_is_loaded_as_itself(format, tmp_path):
    path = tmp_path / f"mlp{format.extension}"
    MLP([4, 3, 2], seed=0).save(path)
    assert type(MLP.load(path)) is MLP
    assert type(Network.load(path)) is Network


# Tests of single formats.


def test_the_permissions_of_a_file_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic.replace_file(tmp_path / "file") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.fixture
def npz(tmp_path):
    """Return the path of an ``.npz`` file with a plain network."""
    path = tmp_path / "net.npz"
    FORMATS["npz"].write(make_plain_state(), path)
    return path


def test_npz_files_are_read_by_numpy(npz):
    with np.load(npz, allow_pickle=False) as archive:
        assert archive["weight_0"].shape == (20, 5)
        assert archive["bias_1"].shape == (3, 1)


def test_compressed_members_are_refused(npz):
    # A small file could expand to any size.
    with np.load(npz) as archive:
        arrays = dict(archive)
    np.savez_compressed(npz, **arrays)
    with pytest.raises(ValueError, match="'header' is compressed"):
        FORMATS["npz"].read(npz)


def test_a_missing_header_is_named(npz):
    with np.load(npz) as archive:
        arrays = dict(archive)
    del arrays["header"]
    np.savez(npz, **arrays)
    with pytest.raises(ValueError, match="it has no array 'header'"):
        FORMATS["npz"].read(npz)


def test_pickles_are_refused(npz):
    text, arrays = load_raw_npz(npz)
    arrays["weight_0"] = np.array([print], dtype=object)
    store_raw_npz(npz, text, arrays)
    with pytest.raises(ValueError, match=r"is not a network file: 'weight_0' is .* of object"):
        FORMATS["npz"].read(npz)


def test_a_member_of_another_size_than_its_shape_is_refused(npz):
    with zipfile.ZipFile(npz) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for data in (members["bias_1.npy"] + b"more", members["bias_1.npy"][:-1]):
        with zipfile.ZipFile(npz, "w") as archive:
            for name, contents in (members | {"bias_1.npy": data}).items():
                archive.writestr(name, contents)
        with pytest.raises(ValueError, match="'bias_1' does not have the 24 bytes of its shape"):
            FORMATS["npz"].read(npz)


def make_member(header):
    """Return the bytes of an ``.npy`` member with this text as its header."""
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "contents",
    [
        make_member("{'descr': '<f8', 'fortran_order': False, 'shape': (20, 5"),  # TokenError
        make_member(
            "{'descr': '<f8', 'fortran_order': False, 'shape': (20, 5), } @"
        ),  # SyntaxError
        make_member("{'descr': '<f8', 'fortran_order': False, 'shape': (20L, 5), }"),
        make_member("{'descr': [('', '<f8', (2,))] , 'fortran_order': False, 'shape': (20, 5), }"),
        make_member("{'descr': '<f8', 'fortran_order': False, 'shape': (-20, -5), }"),
        make_member("{'descr': '<f8', 'fortran_order': 1, 'shape': (20, 5), }"),
        make_member("[" * 5000),
        make_member(""),
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x03\x00" + b"\x10\0\0\0" + b" " * 16,
        b"\x93NUMPY",
        b"",
    ],
    ids=range(12),
)
def test_damaged_npy_headers_are_refused(npz, contents):
    with zipfile.ZipFile(npz) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(npz, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, contents if name == "weight_0.npy" else member)
    with pytest.raises(ValueError, match=f"{npz} is not a network file: 'weight_0' "):
        FORMATS["npz"].read(npz)


def test_two_members_of_the_same_name_are_refused(npz):
    with zipfile.ZipFile(npz, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("bias_0.npy", archive.read("bias_0.npy"))
    with pytest.raises(ValueError, match="two members have the same name"):
        FORMATS["npz"].read(npz)


def test_arrays_in_fortran_order_are_read(npz):
    text, arrays = load_raw_npz(npz)
    expected = arrays["weight_0"]
    arrays["weight_0"] = np.asfortranarray(expected)
    store_raw_npz(npz, text, arrays)
    assert (FORMATS["npz"].read(npz).to_arrays()["weight_0"] == expected).all()


def test_safetensors_without_a_header_are_refused(tmp_path):
    import safetensors.numpy

    path = tmp_path / "net.safetensors"
    safetensors.numpy.save_file({"weight_0": np.zeros((2, 2))}, path)
    with pytest.raises(ValueError, match="its metadata have no entry 'cmlp'"):
        FORMATS["safetensors"].read(path)

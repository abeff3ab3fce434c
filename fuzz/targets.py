"""The functions that are fuzzed: each reads one input and must end without a surprise.

A target takes bytes. It may raise `ValueError`, which the documentation promises for a bad file;
any other exception, a crash, a hang or unbounded memory is a fault. Inputs that once showed a
fault are in ``fuzz/regressions/<target>``; ``tests/test_fuzz.py`` replays them and the corpus.
"""

import contextlib
import io
import json
import os
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np

from cmlp import SGD, Network, QuantizedNetwork, datasets

HERE = Path(__file__).parent


@contextlib.contextmanager
def as_file(data, extension):
    """Yield the path of a temporary file with these bytes."""
    handle, path = tempfile.mkstemp(suffix=extension)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield path
    finally:
        os.unlink(path)


def use_network(network):
    """Predict and print as a user of a loaded network does; the network must be consistent."""
    inputs, outputs = network.size[0], network.size[-1]
    if inputs * max(network.size[1:]) > 1 << 20:
        return
    X = np.zeros((3, inputs), np.float32)
    with contextlib.suppress(ValueError):  # parameters that are not finite
        assert network(X).shape == (3, outputs)
    with contextlib.redirect_stdout(io.StringIO()):
        network.summary()
    repr(network)


def read_native(data, extension):
    """Read a network file, and use the network if it is one."""
    with as_file(data, extension) as path:
        for kind in (Network, QuantizedNetwork):
            with contextlib.suppress(ValueError):
                use_network(kind.load(path))


def read_npz(data):
    """Read bytes as an ``.npz`` network."""
    read_native(data, ".npz")


def read_safetensors(data):
    """Read bytes as a ``.safetensors`` network."""
    read_native(data, ".safetensors")


def read_onnx(data):
    """Read bytes as an ONNX model."""
    with as_file(data, ".onnx") as path, contextlib.suppress(ValueError):
        use_network(Network.from_onnx(path))


def read_idx(data):
    """Read bytes as an IDX file."""
    with as_file(data, ".idx") as path, contextlib.suppress(ValueError):
        datasets.load_idx(path)


def read_csv(data):
    """Read bytes as a CSV table, with and without a label column."""
    with as_file(data, ".csv") as path:
        for label in (None, False, 0):
            with contextlib.suppress(ValueError):
                datasets.load_csv(path, label)


def read_table(data):
    """Read bytes as an ``.npz`` data set."""
    with as_file(data, ".npz") as path, contextlib.suppress(ValueError):
        datasets.load_npz(path)


def resume_checkpoint(data):
    """Read bytes as a checkpoint, and continue its training."""
    with as_file(data, ".npz") as path, contextlib.suppress(ValueError):
        network = Network.resume(path)
        if network.size[0] * max(network.size[1:]) > 1 << 16:
            return
        rng = np.random.default_rng(0)
        X, y = rng.random((20, network.size[0])), rng.integers(0, max(network.size[-1], 2), 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ArithmeticError):
                network.fit(X, y, epochs=3, batch_size=8, optimizer=SGD(0.1, momentum=0.9))
        use_network(network)


def mutate_archive(data, base):
    """Return an ``.npz`` archive with fields of its header and bytes of its arrays changed.

    Random bytes rarely pass the checksums of a zip archive; this reaches the code behind them.

    Parameters
    ----------
    data : bytes
        Selects the changes.
    base : bytes
        The archive to start from.
    """
    source = io.BytesIO(data)

    def draw(bound):
        return int.from_bytes(source.read(2).ljust(2, b"\0"), "little") % max(bound, 1)

    with zipfile.ZipFile(io.BytesIO(base)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    # Kept beside its array, whose bytes may be changed too.
    header = np.lib.format.read_array(io.BytesIO(members["header.npy"])).tobytes()
    for _ in range(1 + draw(3)):
        name = sorted(members)[draw(len(members))]
        if name == "header.npy" and draw(4):
            header = json.dumps(change_field(json.loads(header), draw, source)).encode()
            out = io.BytesIO()
            np.lib.format.write_array(out, np.frombuffer(header, np.uint8))
            members[name] = out.getvalue()
        elif draw(4) == 0:
            del members[name]
        else:
            raw = bytearray(members[name])
            for _ in range(1 + draw(4)):
                raw[draw(len(raw))] = draw(256)
            members[name] = bytes(raw[: len(raw) - draw(2) * draw(len(raw))])
        if not members:
            break
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()


VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 2**31, 2**40, 2**63, 2**70, -(2**40), 0.5, -0.5, 1e-300,
    1e300, float("inf"), float("nan"), "", "relu", "nan", "callable", [], [1], [[1]], {}, {"a": 1},
]  # fmt: skip


def change_field(value, draw, source):
    """Return JSON data with one value, at any depth, replaced, removed or added."""
    if isinstance(value, dict) and value and draw(6):
        key = sorted(value)[draw(len(value))]
        action = draw(8)
        if action == 0:
            return {k: v for k, v in value.items() if k != key}
        if action == 1:
            return {
                **value,
                VALUES[14 + draw(4)] if draw(2) else "extra": VALUES[draw(len(VALUES))],
            }
        return {**value, key: change_field(value[key], draw, source)}
    if isinstance(value, list) and value and draw(6):
        i, action = draw(len(value)), draw(8)
        if action == 0:
            return value[:i] + value[i + 1 :]
        if action == 1:
            return value[: i + 1] + value[i:]
        return [*value[:i], change_field(value[i], draw, source), *value[i + 1 :]]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and draw(2):
        return value + (draw(65536) - 32768) * (1 if isinstance(value, int) else 1e-3)
    return VALUES[draw(len(VALUES))]


def load_base(name):
    """Return the bytes of a file of the corpus."""
    return (HERE / "corpus" / name).read_bytes()


def read_changed_npz(data):
    """Read a network file whose header and arrays are changed."""
    bases = ["npz/normalized.npz", "npz/optimizer.npz", "npz/version_1.npz",
             "npz/quantized.npz"]  # fmt: skip
    base = load_base(bases[(data or b"\0")[0] % len(bases)])
    read_npz(mutate_archive(data[1:], base))


def resume_changed_checkpoint(data):
    """Resume a checkpoint whose header and arrays are changed."""
    resume_checkpoint(mutate_archive(data, load_base("checkpoint/momentum.npz")))


TARGETS = {
    "npz": read_npz,
    "changed_npz": read_changed_npz,
    "safetensors": read_safetensors,
    "onnx": read_onnx,
    "idx": read_idx,
    "csv": read_csv,
    "table": read_table,
    "checkpoint": resume_checkpoint,
    "changed_checkpoint": resume_changed_checkpoint,
}

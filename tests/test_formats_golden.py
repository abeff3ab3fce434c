"""Files of earlier versions load, give the same outputs and continue training.

The files were written once, by the version that introduced their contents, and are never changed:

- ``golden``: header version 1, by cmlp 0.1.0. The files with ``sums`` in their name are of its last
  revisions, which store Adam's moments as sums; the others store moment estimates.
- ``golden/version_2``: header version 2, by ``python tests/test_formats_golden.py``, which adds the
  files that are missing there. `outputs.json` has the expected outputs.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cmlp import MLP, Adam, NAdam, Network
from cmlp.activations import elu, leaky_relu
from cmlp.callbacks import Checkpoint
from cmlp.losses import huber

GOLDEN = Path(__file__).parent / "golden"
DIRECTORIES = {1: GOLDEN, 2: GOLDEN / "version_2"}
FILES = {
    f"{version}-{path.name}": (version, path)
    for version, directory in DIRECTORIES.items()
    for path in sorted(directory.glob("*"))
    if path.suffix in (".npz", ".safetensors")
}


def read_records(version):
    return json.loads((DIRECTORIES[version] / "outputs.json").read_text())


@pytest.mark.parametrize("version", DIRECTORIES)
def test_every_record_has_its_file(version):
    names = [path.name for v, path in FILES.values() if v == version]
    assert sorted(read_records(version)) == sorted(names)


@pytest.mark.parametrize("name", FILES)
def test_golden_files_load_and_continue(name, tmp_path):
    version, path = FILES[name]
    record = read_records(version)[path.name]
    net = Network.load(path)
    assert repr(net) == record["repr"]
    outputs = net(np.array(record["X"]))
    np.testing.assert_allclose(outputs, np.array(record["outputs"]), rtol=1e-5, atol=1e-6)
    assert ("go_on" in record) == (path.stem.startswith(("optimizer", "checkpoint")))
    if "go_on" in record:
        X, y, outputs = (np.array(record["go_on"][key]) for key in ("X", "y", "outputs"))
        net = continue_training(path, X, y, tmp_path)
        np.testing.assert_allclose(net(X[:3]), outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_golden_files_are_of_their_version(name):
    version, path = FILES[name]
    if path.suffix == ".npz":
        with np.load(path) as archive:
            text = archive["header"].tobytes()
    else:
        import safetensors

        with safetensors.safe_open(path, "np") as file:
            text = file.metadata()["cmlp"]
    assert json.loads(text)["version"] == version


@pytest.mark.parametrize("name", FILES)
def test_golden_files_are_rewritten_as_version_2(name, tmp_path):
    _, path = FILES[name]
    net = Network.load(path)
    has_optimizer = path.stem.startswith("optimizer")
    net.save(tmp_path / path.name, optimizer=has_optimizer)
    twin = Network.load(tmp_path / path.name)
    assert repr(twin) == repr(net)
    for array, expected in zip(
        twin.state.to_arrays().values(), net.state.to_arrays().values(), strict=True
    ):
        assert (array == expected).all()
    assert (twin.state.epoch, twin.state.training) == (net.state.epoch, net.state.training)
    if has_optimizer:
        assert twin.state.optimizer.position == net.state.optimizer.position
        for block, expected in twin.state.optimizer.blocks.items():
            assert (net.state.optimizer.blocks[block] == expected).all()


def fit_with_checkpoint(net, X, y, path, epochs):
    net.fit(X, y, epochs=epochs, optimizer=NAdam(), metrics="f1", validation_data=(X, y),
            early_stopping=2, callbacks=Checkpoint(path))  # fmt: skip


def continue_training(path, X, y, directory):
    """Return the network of a file after more training with the optimizer that it stores."""
    if path.stem.startswith("checkpoint"):
        net = Network.resume(path)
        fit_with_checkpoint(net, X, y, Path(directory) / "next.npz", epochs=4)
        return net
    net = Network.load(path)
    net.partial_fit(X, y, optimizer=Adam(0.01, average=0.9), batch_size=4)
    return net


def write_network(path):
    """Write the network that the name of a golden file describes, with its training data."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
    if path.stem == "plain":
        net = Network([4, 5, 3], activation="tanh", loss="cross_entropy", seed=1)
        net.fit(X, y, epochs=2)
        net.save(path)
    elif path.stem == "reference":
        MLP([4, 3, 3], seed=0).save(path)
    elif path.stem == "checkpoint":
        net = Network([4, 5, 3], activation="relu", loss="cross_entropy", seed=1)
        fit_with_checkpoint(net, X, y, path, epochs=2)
    else:
        net = Network(
            [4, 6, 5, 2], activation=[elu(0.5), leaky_relu(0.2)], loss=huber(0.7),
            dropout=[0.1, 0.2], input_dropout=0.05, input_noise=0.01,
            normalization=["batch", "layer"], max_norm=3.0, dtype="float64", seed=2**63,
        )  # fmt: skip
        y = rng.normal(size=(12, 2))
        net.partial_fit(X, y, optimizer=Adam(0.01, average=0.9), batch_size=4)
        net.save(path, optimizer=True)
    return X, y


def write_golden_files(directory):
    """Write the files of the current version that are missing, and add their records."""
    directory.mkdir(exist_ok=True)
    records_path = directory / "outputs.json"
    records = json.loads(records_path.read_text()) if records_path.exists() else {}
    for name in ("plain.npz", "plain.safetensors", "optimizer.npz", "optimizer.safetensors",
                 "checkpoint.npz", "reference.npz"):  # fmt: skip
        path = directory / name
        if path.exists():
            continue
        X, y = write_network(path)
        net = Network.load(path)
        records[name] = {"repr": repr(net), "X": X[:3].tolist(), "outputs": net(X[:3]).tolist()}
        if path.stem in ("optimizer", "checkpoint"):
            with tempfile.TemporaryDirectory() as temporary:
                outputs = continue_training(path, X, y, temporary)(X[:3]).tolist()
            records[name]["go_on"] = {"X": X.tolist(), "y": y.tolist(), "outputs": outputs}
    records_path.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    write_golden_files(DIRECTORIES[2])

"""Networks in .npz files: a round trip, and what is refused."""

import json
import os
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmlp import MLP, Adam, NAdam, Network
from cmlp.activations import elu
from cmlp.callbacks import Checkpoint
from cmlp.files import atomic, headers, npz
from cmlp.losses import cross_entropy


@pytest.fixture
def saved(tmp_path, rng):
    net = Network([5, 20, 3], activation="tanh", loss="cross_entropy", dtype="float64", seed=3)
    net.fit(rng.random((30, 5)), rng.integers(0, 3, 30), epochs=2)
    path = tmp_path / "net.npz"
    net.save(path)
    return net, path


def test_round_trip(saved, rng):
    net, path = saved
    twin = Network.load(path)
    assert repr(twin) == repr(net)
    X, y = rng.random((30, 5)), rng.integers(0, 3, 30)
    assert (twin(X) == net(X)).all()
    for n in (net, twin):
        n.fit(X, y, epochs=2)
    assert (twin.weight[0] == net.weight[0]).all()
    with np.load(path, allow_pickle=False) as archive:
        assert archive["weight_0"].shape == (20, 5)
        assert archive["bias_1"].shape == (3, 1)


def test_a_subclass_is_loaded_as_itself(tmp_path):
    MLP([4, 3, 2], seed=0).save(tmp_path / "mlp.npz")
    assert type(MLP.load(tmp_path / "mlp.npz")) is MLP


def test_saving_replaces_whole_or_not_at_all(saved, monkeypatch):
    net, path = saved
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(ValueError, match=r"path must end in .npz or .safetensors, got"):
        net.save(path.with_suffix(".pt"))
    with pytest.raises(FileNotFoundError):
        net.save(path.parent / "nowhere" / "net.npz")


def test_the_mode_of_a_file_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic.replacing(tmp_path / "file") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def altered(path, change):
    """Rewrite the archive's arrays through `change`."""
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)


def header(**changes):
    def change(arrays):
        content = json.loads(arrays["header"].tobytes())
        content.update(changes)
        content = {name: value for name, value in content.items() if value != "gone"}
        arrays["header"] = np.frombuffer(json.dumps(content).encode(), np.uint8)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("header"), "it has no array 'header'"),
        (lambda a: a.pop("bias_1"), "it has no array 'bias_1'"),
        (lambda a: a.update(extra=np.zeros(1)), r"unknown: \['extra.npy'\]"),
        (lambda a: a.update(weight_0=np.zeros((5, 20))), r"'weight_0' is \(5, 20\) of float64"),
        (lambda a: a.update(weight_0=np.zeros((20, 5), "f4")), "of float32, not"),
        (lambda a: a.update(header=np.zeros(4, np.uint8)), "its header is not JSON"),
        (lambda a: a.update(header=np.frombuffer(b"[1]", np.uint8)), "does not say format"),
        (header(format="other"), "does not say format 'cmlp'"),
        (header(version=2), "its version is 2, known is 1"),
        (header(loss="gone"), "its header has no 'loss'"),
        (header(loss="nothing"), "loss='nothing' is unknown"),
        (header(sizes=[5, 10**9, 3]), r"'weight_0' is \(20, 5\) of float64, not \(1000000000, 5\)"),
        (header(sizes="5,20"), "sizes must be a sequence"),
        (header(epoch=-1), "epoch must be at least 0"),
    ],
)
def test_bad_contents_are_named(saved, change, reason):
    _, path = saved
    altered(path, change)
    with pytest.raises(ValueError, match=f"{path} is not a network file: .*{reason}"):
        Network.load(path)


def test_compressed_members_are_refused(saved):
    # A small file could unpack to any size.
    _, path = saved
    with np.load(path) as archive:
        np.savez_compressed(path, **archive)
    with pytest.raises(ValueError, match="'header' is compressed"):
        Network.load(path)


def test_damaged_files(saved):
    _, path = saved
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole[:600] + b"#" + whole[601:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{path} is not a network file"):
            Network.load(path)
    with pytest.raises(FileNotFoundError):
        Network.load(path.parent / "nowhere.npz")


def test_a_pickle_is_not_read(saved, tmp_path):
    _, path = saved
    altered(path, lambda a: a.update(weight_0=np.array([print], dtype=object)))
    with pytest.raises(ValueError, match="is not a network file"):
        Network.load(path)


def test_a_member_that_lies_about_its_size(saved):
    _, path = saved
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["bias_1.npy"] += b"more"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="'bias_1' does not have the 24 bytes of its shape"):
        Network.load(path)


def test_version_is_checked_first(tmp_path):
    npz.write(tmp_path / "future.npz", {"version": 9}, {"anything": np.zeros(3)})
    with pytest.raises(ValueError, match="its version is 9, known is 1"):
        Network.load(tmp_path / "future.npz")


@pytest.fixture(params=[".npz", ".safetensors"])
def trained(request, tmp_path, rng):
    """A network with all that a file may hold, in either format."""
    net = Network([5, 8, 6, 3], activation=[elu(0.5), "gelu"], loss=cross_entropy(0.1),
                  normalization=["batch", "layer"], dropout=[0.1, 0.0], input_noise=0.01,
                  max_norm=3.0, seed=3)  # fmt: skip
    for _ in range(2):
        net.partial_fit(
            rng.random((30, 5)), rng.integers(0, 3, 30), optimizer=Adam(0.01, average=0.9)
        )
    path = tmp_path / f"net{request.param}"
    net.save(path, optimizer=True)
    return net, path


def test_both_formats_hold_all(trained, rng):
    net, path = trained
    twin = Network.load(path)
    assert repr(twin) == repr(net)
    X, y = rng.random((30, 5)), rng.integers(0, 3, 30)
    assert (twin(X) == net(X)).all()
    for n in (net, twin):  # the optimizer goes on where it was
        n.partial_fit(X, y, optimizer=Adam(0.01, average=0.9))
    assert all((a == b).all() for a, b in zip(net._snapshot(), twin._snapshot(), strict=True))
    assert twin._training["optimizer"].startswith("Adam(lr=0.01")


def test_an_optimizer_is_kept_when_there_is_one(tmp_path):
    with pytest.raises(ValueError, match="partial_fit has not been called"):
        Network([3, 2]).save(tmp_path / "net.npz", optimizer=True)
    assert not (tmp_path / "net.npz").exists()


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        ({}, "its list of arrays is not one"),
        ({"arrays": {"x": ["object", [1]]}}, "an array is of object, neither float32 nor float64"),
        ({"arrays": {}, "kind": "magic", "arguments": {}, "position": [0, 0]}, "its optimizer is"),
        ({"arrays": {}, "kind": "adam", "arguments": {"lr": -1}, "position": [0, 0]}, "lr must be"),
        ({"arrays": {}, "kind": "adam", "arguments": {}, "position": [0, 0]}, "optimizer_gradient"),
    ],
)
def test_bad_optimizers_are_named(saved, optimizer, reason):
    _, path = saved
    altered(path, header(optimizer=optimizer))
    with pytest.raises(ValueError, match=f"{path} is not a network file: .*{reason}"):
        Network.load(path)


def test_damaged_safetensors(tmp_path):
    net, path = Network([5, 4, 3], seed=0), tmp_path / "net.safetensors"
    net.save(path)
    whole = path.read_bytes()
    huge = (2**40).to_bytes(8, "little") + whole[8:]
    for damaged in (b"", b"text", whole[: len(whole) // 2], huge, whole[:9] + b"#" + whole[10:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{path} is not a network file"):
            Network.load(path)
    import safetensors.numpy

    arrays = {name: np.ascontiguousarray(a) for name, a in net._arrays().items()}
    text = headers.header_text(net._header())
    for change, meta, reason in (
        (lambda a: a.pop("bias_1"), {"cmlp": text}, "it has no array 'bias_1'"),
        (lambda a: a.update(extra=np.zeros(1)), {"cmlp": text}, r"unknown: \['extra'\]"),
        (lambda a: a.update(weight_0=np.zeros((4, 5))), {"cmlp": text}, "of float64, not"),
        (lambda a: a.update(weight_0=np.zeros((5, 4), "f4")), {"cmlp": text}, r"is \(5, 4\)"),
        (lambda a: None, {}, "its metadata have no 'cmlp'"),
        (lambda a: None, {"cmlp": "{"}, "its header is not JSON"),
        (lambda a: None, {"cmlp": text.replace('"version": 1', '"version": 7')}, "version is 7"),
    ):
        changed = dict(arrays)
        change(changed)
        safetensors.numpy.save_file(changed, path, meta)
        with pytest.raises(ValueError, match=reason):
            Network.load(path)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "nowhere.safetensors")


@given(place=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=300)
def test_any_damage_is_an_error_or_another_network(place, value, cut):
    # A changed byte of an array's data is another number; all else is found out.
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".npz", ".safetensors"):
            path = Path(folder, f"net{ending}")
            Network([3, 2, 2], seed=0).save(path)
            data = bytearray(path.read_bytes())
            at = min(int(place * len(data)), len(data) - 1)
            data[at] = value
            path.write_bytes(data[:at] if cut else data)
            try:
                reason = repr(Network.load(path))
            except ValueError as error:
                reason = str(error)
            assert re.match(r"Network\(|.* is not a network file", reason)


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(p.name for p in GOLDEN.iterdir() if p.suffix != ".json"))
def test_files_of_version_1_are_read(name, tmp_path):
    # Written once; versions after that must give the same outputs, and train on alike. The
    # files with sums came when those took the place of Adam's means.
    net = Network.load(GOLDEN / name)
    record = json.loads((GOLDEN / "outputs.json").read_text())[name]
    assert repr(net) == record["repr"]
    X = np.array(record["X"])
    np.testing.assert_allclose(net(X), np.array(record["outputs"]), rtol=1e-5, atol=1e-6)
    if "go_on" in record:
        X, y, outputs = (np.array(record["go_on"][key]) for key in ("X", "y", "outputs"))
        net = gone_on(GOLDEN / name, X, y, tmp_path)
        np.testing.assert_allclose(net(X[:3]), outputs, rtol=1e-5, atol=1e-6)


def gone_on(path, X, y, folder):
    """Return the network of a file after more training with the optimizer that it keeps."""
    if path.stem.startswith("checkpoint"):
        net = Network.resume(path)
        net.fit(X, y, epochs=4, optimizer=NAdam(), metrics="f1", validation_data=(X, y),
                early_stopping=2, callbacks=Checkpoint(folder / "next.npz"))  # fmt: skip
        return net
    net = Network.load(path)
    net.partial_fit(X, y, optimizer=Adam(0.01, average=0.9), batch_size=4)
    return net

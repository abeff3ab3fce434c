"""All formats of the registry: their entries, missing packages, the contract of write and read."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from cmlp import Network, formats
from cmlp.formats import FORMATS

# Keras converts PyTorch's tensors in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("default:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("name", FORMATS)
def test_entries_declare_what_the_modules_have(name):
    format = FORMATS[name]
    module = import_module(f"cmlp.formats.{format.module_name}")
    assert format.name == name
    assert hasattr(module, "read") == format.reads
    assert hasattr(module, "write") == format.writes
    assert (format.extra is None) == (format.package is None) == (format.package_title is None)
    assert format.extra is None or format.extra in EXTRAS
    if format.is_native:
        assert format.reads
        assert format.writes
        assert format.extension
    else:
        assert hasattr(Network, f"to_{name}") == format.writes
        assert hasattr(Network, f"from_{name}") == format.reads


@pytest.mark.parametrize("name", [name for name, f in FORMATS.items() if f.package])
def test_a_missing_package_is_named(monkeypatch, tmp_path, name):
    format = FORMATS[name]
    monkeypatch.setitem(sys.modules, format.package, None)
    subject = f"the {format.extension} format" if format.is_native else f".*_{name}\\(\\)"
    message = (
        f"{subject} requires {format.package_title}; "
        f"install it with: pip install 'cmlp\\[{format.extra}\\]'"
    )
    with pytest.raises(ImportError, match=message):
        format.read(tmp_path / "any")
    with pytest.raises(ImportError, match=message):
        format.write(Network([2, 2], seed=0).state, tmp_path / "any")


def test_formats_are_found_by_name():
    assert formats.get_format("onnx") is FORMATS["onnx"]
    with pytest.raises(
        ValueError, match=r"format must be one of .*; got 'onxx' .*did you mean 'onnx'"
    ):
        formats.get_format("onxx")


WRITERS = {name: format for name, format in FORMATS.items() if format.writes}


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    """Return a format, a network, copies of its arrays and what `write` returned or wrote."""
    format = FORMATS[request.param]
    if format.package:
        pytest.importorskip(format.package)
    net = Network([4, 6, 5, 3], activation=["relu", "tanh"], loss="cross_entropy",
                  normalization=["batch", None], dropout=0.1, seed=0)  # fmt: skip
    for arrays in (net.bias, net.scale[:1], net.running_variance[:1]):
        for array in arrays:
            array[:] = np.linspace(0.5, 2, array.size)[:, None]
    expected = {name: a.copy() for name, a in net.state.to_arrays().items()}
    path = tmp_path / f"net{format.extension}"
    result = format.write(net.state, path if format.extension else None)
    return format, net, expected, path if format.extension else result


def test_write_does_not_change_the_state(written):
    _, net, expected, _ = written
    for name, array in net.state.to_arrays().items():
        assert (array == expected[name]).all(), name


@pytest.mark.parametrize("written", [n for n, f in WRITERS.items() if f.extension], indirect=True)
def test_two_writes_give_the_same_bytes(written, tmp_path):
    format, net, _, result = written
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert result.name in before
    format.write(net.state, result)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("written", [n for n, f in WRITERS.items() if f.reads], indirect=True)
def test_a_round_trip_keeps_the_outputs(written, rng):
    format, net, _, result = written
    twin = Network.from_state(format.read(result))
    X = rng.normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_allclose(twin(X), net(X), rtol=1e-5, atol=2e-6)
    assert (twin.activation, twin.output, twin.loss) == (net.activation, net.output, net.loss)


@pytest.mark.parametrize("name", [name for name, format in FORMATS.items() if format.reads])
def test_other_sources_are_refused(name, tmp_path):
    format = FORMATS[name]
    if format.package:
        pytest.importorskip(format.package)
    source = object()
    if format.extension:
        source = tmp_path / f"net{format.extension}"
        with pytest.raises(FileNotFoundError):
            format.read(source)
        source.write_bytes(b"something else")
    with pytest.raises((TypeError, ValueError), match=r"is not|must be"):
        format.read(source)


def test_export_formats_write_files():
    exported = formats.list_export_formats()
    assert {"npz", "safetensors", "onnx", "c"} <= {format.name for format in exported}
    assert all(format.writes and format.extension for format in exported)
    assert not any(format.name in ("torch", "keras", "sklearn") for format in exported)

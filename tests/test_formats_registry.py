"""The registry of formats: every entry agrees with its module."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from cmlp import Network, formats
from cmlp.formats import FORMATS

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
    with pytest.raises(ValueError, match=r"format='onxx' is unknown .*did you mean 'onnx'"):
        formats.get_format("onxx")


def test_export_formats_write_files():
    exported = formats.export_formats()
    assert {"npz", "safetensors", "onnx", "c"} <= {format.name for format in exported}
    assert all(format.writes and format.extension for format in exported)
    assert not any(format.name in ("torch", "keras", "sklearn") for format in exported)

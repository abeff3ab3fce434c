"""Networks out of and into files."""

import os
from importlib import import_module

# By the ending of a file's name the room that writes it with `write`, and reads it with `Reader`.
FORMATS = {".npz": "npz", ".safetensors": "safetensors"}


def format_of(path, reads=False):
    """Return the room for a path; what is read may end in anything, and is tried as ``.npz``.

    Raises
    ------
    ValueError
        If its ending is none that is known.
    """
    ending = os.path.splitext(os.fspath(path))[1]
    if reads and ending not in FORMATS:
        ending = ".npz"
    if ending not in FORMATS:
        allowed = " or ".join(FORMATS)
        raise ValueError(f"path must end in {allowed}, got {os.fspath(path)!r}")
    return import_module(f"cmlp.files.{FORMATS[ending]}")

"""The JSON header of native files.

``docs/formats.md`` lists its keys.
"""

import json

FORMAT = "cmlp"
VERSION = 2
READABLE_VERSIONS = (1, 2)  # version 1: cmlp 0.1.0


def encode_header(fields):
    """Return a header as JSON text, with the keys ``format`` and ``version`` added.

    Parameters
    ----------
    fields : dict
        Values that JSON can represent, or NumPy scalars and arrays, which become numbers and lists.

    Raises
    ------
    TypeError
        If a value is neither.
    """
    return json.dumps({"format": FORMAT, "version": VERSION, **fields}, default=to_plain)


def to_plain(value):
    """Return a NumPy scalar or array as Python numbers; raise TypeError for other objects."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"a file can hold numbers and lists of them; got {value!r}")
    return value.tolist()


def decode_header(text):
    """Return the header, a dict, of a supported format and version.

    Parameters
    ----------
    text : str or bytes

    Raises
    ------
    ValueError
        If the text is not a header of this format, or its version is not supported.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"its header does not have format {FORMAT!r}")
    version = header.get("version")
    # True == 1 in Python.
    if isinstance(version, bool) or version not in READABLE_VERSIONS:
        supported = " and ".join(map(str, READABLE_VERSIONS))
        raise ValueError(f"its version is {version!r}; supported versions are {supported}")
    return header

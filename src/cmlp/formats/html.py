"""Export as a web page: one self-contained HTML file that runs the network in JavaScript.

The notebook representation of a network is something else: `cmlp._model.html`. The page's template,
style and scripts are the files of the directory `web`.
"""

import base64
import hashlib
import json
import math
import re
from html import escape
from importlib.resources import files
from numbers import Real
from pathlib import Path

from cmlp._utils.validation import (
    check_bool,
    check_finite_number,
    check_integer,
    decode_path,
    look_up,
    to_list,
)
from cmlp.formats.atomic import replace_file
from cmlp.formats.html_controls import (
    DEFAULT_RANGE,
    LEAST_SPAN,
    check_text,
    check_texts,
    make_controls,
)
from cmlp.formats.html_layers import ArrayList, describe_head, describe_network

KINDS = ("image", "table")

# Scripts of each kind of page, in order.
SCRIPTS = {
    "image": ("network.js", "results.js", "image.js", "drawing.js"),
    "table": ("network.js", "results.js", "table.js"),
}

# Options that only one kind of page has.
OPTIONS = {"image": ("shape", "center", "pixels"),
           "table": ("names", "ranges", "values", "categories")}  # fmt: skip

# A network with a square number of inputs reads images by default, if they have at least this side.
LEAST_SIDE = 8

# Chromium's limit of the length of a string is 2^29 - 24 characters.
MAX_BASE64 = 2**29 - 24

MAX_SIDE = 1024

# Numbers of the network's inputs for the background and for the ink of an image.
PIXELS = 0.0, 1.0
MAX_PIXEL = 1e38  # The page stores them in float32.


def write(state, path, *, kind=None, shape=None, labels=None, names=None, ranges=None, values=None,
          categories=None, title=None, weights="float32", center=None, pixels=None):  # fmt: skip
    """Write a web page, atomically; see `cmlp.Network.to_html`.

    Parameters
    ----------
    state : ModelState or QuantizedState
    path, kind, shape, labels, names, ranges, values, categories, title, weights, center, pixels
        As in `cmlp.Network.to_html`.
    """
    architecture = state.architecture
    given = {"shape": shape, "center": center, "pixels": pixels, "names": names, "ranges": ranges,
             "values": values, "categories": categories}  # fmt: skip
    kind = choose_kind(kind, state, given)
    check_options(kind, given)
    look_up("weights", weights, {"float32": None, "int8": None})
    description = {
        "kind": kind,
        "title": choose_title(title, path),
        "sizes": list(architecture.sizes),
        "labels": choose_labels(labels, state),
        "head": describe_head(state),
        "encoding": None,
        **(describe_image if kind == "image" else describe_table)(state, given),
    }
    arrays = ArrayList()
    description["networks"] = [describe_network(state, arrays, weights == "int8")]
    write_page(description, arrays.arrays, path)


def choose_kind(kind, state, given):
    """Return the kind of a page, which depends on the options given if it is None."""
    if kind is not None:
        look_up("kind", kind, dict.fromkeys(KINDS))
        return kind
    if any(given[name] is not None for name in OPTIONS["image"]):
        return "image"
    has_table = any(given[name] is not None for name in OPTIONS["table"])
    if has_table or get_column_names(state) is not None:
        return "table"
    inputs = state.architecture.inputs
    side = math.isqrt(inputs)
    return "image" if side >= LEAST_SIDE and side * side == inputs else "table"


def get_column_names(state):
    """Return the names of the columns that ``cmlp train`` has stored, a list of str, or None."""
    names = (state.training or {}).get("columns")
    if not isinstance(names, list) or len(names) != state.architecture.inputs:
        return None
    names = list(map(str, names))
    return names if len(set(names)) == len(names) else None


def check_options(kind, given):
    """Raise `ValueError` if an option of another kind of page is given."""
    for other in KINDS:
        for name in OPTIONS[other]:
            if other != kind and given[name] is not None:
                raise ValueError(
                    f"{name} must be None for kind={kind!r}, as it is an option of "
                    f"kind={other!r}; got {given[name]!r}"
                )


def choose_title(title, path):
    """Return the title of a page, by default the name of the file."""
    path = Path(decode_path(path))
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path must end in .html; got {str(path)!r}")
    if title is None:
        return path.stem.encode(errors="replace").decode()
    if not isinstance(title, str):
        raise TypeError(f"title must be a str; got {title!r}")
    return check_text("title", title)


def choose_labels(labels, state):
    """Return the names of classes, labels or targets, a list of str."""
    task, outputs = state.task, state.architecture.outputs
    count, what = outputs, "class"
    if task == "binary":
        count = 2
    elif task == "multilabel":
        what = "label"
    elif task == "regression":
        count, what = state.architecture.loss.count_targets(outputs), "target"
    if labels is not None:
        return check_texts("labels", labels, count, what)
    target = (state.training or {}).get("target")
    if task == "regression":
        if count == 1:
            return [target if isinstance(target, str) else "prediction"]
        return [f"output {i}" for i in range(count)]
    return [str(i) for i in range(count)]


def describe_image(state, given):
    """Return the fields of a page with a drawing area.

    Raises
    ------
    TypeError, ValueError
        If an option does not fit.
    """
    inputs, shape = state.architecture.inputs, given["shape"]
    if shape is None:
        side = math.isqrt(inputs)
        if side * side != inputs:
            raise ValueError(
                f"shape must be given, (height, width), for {inputs} inputs, which is not a square "
                "number; got None"
            )
        shape = side, side
    sides = to_list("shape", shape, "two integers, (height, width)")
    if len(sides) != 2:
        raise ValueError(f"shape must be two integers, (height, width); got {shape!r}")
    height, width = (check_integer("shape", side, 1, MAX_SIDE) for side in sides)
    if height * width != inputs:
        raise ValueError(
            f"shape must multiply to {inputs}, the number of inputs; got {(height, width)}, "
            f"{height * width}"
        )
    center = True if given["center"] is None else given["center"]
    check_bool("center", center)
    pixels = to_list("pixels", PIXELS if given["pixels"] is None else given["pixels"],
                     "two numbers, (background, ink)")  # fmt: skip
    if len(pixels) != 2:
        raise ValueError(f"pixels must be two numbers, (background, ink); got {given['pixels']!r}")
    for value in pixels:
        check_finite_number("pixels", value)
        if abs(value) > MAX_PIXEL:
            raise ValueError(
                f"pixels must be from {-MAX_PIXEL:g} to {MAX_PIXEL:g}; got {given['pixels']!r}"
            )
    background, ink = map(float, pixels)
    if background == ink:
        raise ValueError(f"pixels must be two different numbers; got {given['pixels']!r}")
    image = {"height": height, "width": width, "center": center, "background": background,
             "ink": ink}  # fmt: skip
    return {"image": image}


def describe_table(state, given):
    """Return the fields of a page with a control for each input.

    Raises
    ------
    TypeError, ValueError
        If an option does not fit.
    """
    inputs, training = state.architecture.inputs, state.training or {}
    names = given["names"]
    if names is None:
        names = get_column_names(state) or [f"x{i}" for i in range(inputs)]
    names = check_texts("names", names, inputs, "input")
    controls = make_controls(
        names, state.architecture.code_columns, given["ranges"], given["values"],
        given["categories"], read_column_ranges(training, inputs),
    )  # fmt: skip
    return {"inputs": controls}


def read_column_ranges(training, inputs):
    """Return (low, high, mean) of each column that ``cmlp train`` has stored; None without them."""
    lists = [training.get(f"columns_{name}") for name in ("minimum", "maximum", "mean")]
    for values in lists:
        is_valid = isinstance(values, list) and len(values) == inputs
        if not (is_valid and all(isinstance(v, Real) and math.isfinite(v) for v in values)):
            return None
    found = []
    for low, high, mean in zip(*lists, strict=True):
        if not LEAST_SPAN <= high - low < math.inf:
            low, high = mean - 1, mean + 1
        is_valid = LEAST_SPAN <= high - low < math.inf
        found.append((low, high, mean) if is_valid else (*DEFAULT_RANGE, None))
    return found


def write_page(description, arrays, path):
    """Write a page, atomically.

    Parameters
    ----------
    description : dict
        As `write` makes it; ``arrays`` is added.
    arrays : list of ndarray
    path : str or os.PathLike

    Raises
    ------
    ValueError
        If an array is too large for a browser.
    """
    for array in arrays:
        if 4 * -(-array.nbytes // 3) > MAX_BASE64:
            raise ValueError(
                f"the layers must have at most {MAX_BASE64 // 4 * 3:,} bytes each for to_html, the "
                f"longest text of a browser; got {array.nbytes:,} bytes"
                + ("; weights='int8' takes a quarter" if array.dtype.itemsize > 1 else "")
            )
    description["arrays"] = [array.dtype.name for array in arrays]
    head, tail = render_page(description)
    with replace_file(path) as file:
        file.write(head.encode())
        for array in arrays:
            file.write(b'<script type="text/plain" class="array">')
            file.write(base64.b64encode(array.tobytes()))
            file.write(b"</script>\n")
        file.write(tail.encode())


def render_page(description):
    """Return the text of a page before and after the arrays."""
    kind = description["kind"]
    style = read_source("page.css")
    script = '"use strict";\n' + "\n".join(read_source(name) for name in SCRIPTS[kind])
    # HTML ends the element at the first </script>, whatever the text is.
    model = json.dumps(description, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    parts = {
        "kind": kind,
        "title": escape(description["title"]),
        "policy": render_policy(style, script),
        "style": style,
        "controls": read_source(f"{kind}.html"),
        "model": model,
        "script": script,
    }
    # The template is divided first: the values may hold any text.
    head, tail = read_source("page.html").split("{{arrays}}\n")
    return fill(head, parts), fill(tail, parts)


def fill(template, parts):
    """Return a text with the parts for its ``{{names}}``."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def render_policy(style, script):
    """Return the Content-Security-Policy: only this style and this script, and no connections."""

    def render_hash(text):
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{render_hash(script)}'; "
        f"style-src 'sha256-{render_hash(style)}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def read_source(name):
    """Return the text of a file of the directory `web`."""
    return files("cmlp.formats").joinpath("web", name).read_text("utf-8")

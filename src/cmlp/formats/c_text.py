"""Numbers, arrays and strings as text of C99."""

import re

import numpy as np

MAX_COLUMNS = 96  # maximum length of lines with elements of an array


def render_float(value):
    """Return a number as a float constant of C."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if re.search(r"[.e]", text) else ".0f")


def render_array(kind, name, values, render=render_float):
    """Return the definition of a constant array of the C type `kind`."""
    lines, line = [], "   "
    for value in values:
        item = f" {render(value)},"
        if len(line) + len(item) > MAX_COLUMNS:
            lines.append(line)
            line = "   "
        line += item
    elements = "\n".join([*lines, line])
    return f"static const {kind} {name}[{len(values)}] = {{\n{elements}\n}};\n"


def render_integers(name, values):
    """Return the definition of a constant array of int."""
    return render_array("int", name, values, "{:d}".format)


def render_int32(value):
    """Return an integer as a constant of C; -2^31 would be the negative of one beyond int."""
    return f"{value:d}" if value > -(2**31) else f"({value + 1} - 1)"


def render_string(text):
    """Return a string literal of the UTF-8 encoding of a str, which must not hold NUL."""
    # Octal escapes have three digits at most, so that a digit may follow; ? could be a trigraph.
    return '"' + "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    ) + '"'  # fmt: skip

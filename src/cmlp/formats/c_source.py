"""Export as one self-contained C99 file with a header: constant weights and no allocation."""

import re
from pathlib import Path

import numpy as np

from cmlp._utils.validation import check_bool, decode_path, look_up
from cmlp.formats.atomic import find_target, replace_files
from cmlp.formats.c_encoders import (
    ENCODER_FUNCTIONS,
    render_encoder_arrays,
    render_encoder_calls,
)
from cmlp.formats.c_functions import ACTIVATION_CODE, FUNCTIONS, MATH_FUNCTIONS
from cmlp.formats.c_text import render_array, render_float
from cmlp.formats.folding import fold_encoders, fold_layers

# Characters in the name of an included file for which C99, 6.4.7, defines no behavior.
UNQUOTABLE = {'"', "'", "\\"}

# Header of the standard library -> pattern of the names that need it.
HEADERS = {
    "stdint.h": r"\bu?int\d+_t\b",
    "math.h": r"\b(expf|tanhf|log1pf|erff|logf|sqrtf?)\b",
    "string.h": r"\bstrcmp\b",
}


def write(state, path, name="model", weights="float32", own_math=False, renderer=None):
    """Write the source and the header of a network, atomically; see `cmlp.Network.to_c`.

    Parameters
    ----------
    state : ModelState or QuantizedState
    path : str or os.PathLike
        Ends in ``.c``; the header gets the extension ``.h``.
    name : str, default "model"
        Prefix of the functions.
    weights : {"float32", "int8"}, default "float32"
    own_math : bool, default False
        Whether to include the functions of `MATH_FUNCTIONS` instead of calling ``math.h``.
    renderer : type, optional
        The class that renders the kind of `state`; by default `SourceRenderer`.

    Raises
    ------
    TypeError, ValueError
        If an option is invalid.
    FileNotFoundError
        If the directory of `path` does not exist.
    """
    path, header_path = check_options(path, name, weights, own_math)
    renderer = (renderer or SourceRenderer)(state, name, weights == "int8", own_math)
    write_files(path, header_path, renderer)


def check_options(path, name, weights, own_math):
    """Return the paths of source and header; raise if an option of `write` is invalid."""
    path = Path(decode_path(path))
    if path.suffix != ".c":
        raise ValueError(f"path must end in .c; got {str(path)!r}")
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)):
        raise ValueError(f"name must be an identifier of C; got {name!r}")
    look_up("weights", weights, {"float32": None, "int8": None})
    check_bool("own_math", own_math)
    header_path = path.with_suffix(".h")
    if not header_path.name.isprintable() or set(header_path.name) & UNQUOTABLE:
        raise ValueError(
            f"path must have a file name that #include can quote, without control characters, "
            f"quotes and backslashes; got {str(path)!r}"
        )
    return path, header_path


def write_files(path, header_path, renderer):
    """Write both files, atomically; the renderer has `render_header` and `render_source`."""
    find_target(path)  # an error names the source, which is the argument, not the header
    header = renderer.render_header().encode()
    source = renderer.render_source(header_path.name).encode()
    with replace_files([header_path, path]) as (header_file, source_file):
        header_file.write(header)
        source_file.write(source)


def render_file(body, header_name, own_math):
    """Return the text of a source file: includes, the functions that the body calls, the body.

    Parameters
    ----------
    body : str
    header_name : str
        Of the file's own header.
    own_math : bool
        Whether the functions of `MATH_FUNCTIONS` are the file's own.
    """
    helpers = render_helpers(body, own_math)
    text = f"{helpers}\n{body}"
    includes = [f"#include <{header}>" for header, pattern in HEADERS.items()
                if re.search(pattern, text)]  # fmt: skip
    return "\n".join([*includes, f'#include "{header_name}"\n', text])


def render_helpers(body, own_math):
    """Return the functions that the body calls, directly or through each other."""
    chosen, text = [], body
    for code in (*FUNCTIONS, *ENCODER_FUNCTIONS):
        function = re.search(r"static \w+ (\w+)\(", code)[1]
        if re.search(rf"\b{function}\(", text):
            chosen.insert(0, code)
            text += code
    defines, own = [], []
    for macro, (standard, ours, code) in reversed(MATH_FUNCTIONS.items()):
        if re.search(rf"\b({macro}|{ours})\(", text):
            defines.append(f"#define {macro} {ours if own_math else standard}")
            if own_math:
                own.insert(0, code)
                text += code
    return "\n".join(["\n".join(reversed(defines)), *own, *chosen])


def render_layer_function(is_int8):
    """Return the function that computes the pre-activations of a layer."""
    kind, factor = ("int8_t", "scale[i] * ") if is_int8 else ("float", "")
    parameter = ", const float *scale" if is_int8 else ""
    return (
        f"static void layer(const float *x, float *z, const {kind} *w{parameter}, "
        "const float *b,\n"
        "                  int inputs, int outputs)\n{\n    int i, j;\n"
        "    for (i = 0; i < outputs; i++) {\n        float sum = 0.0f;\n"
        "        for (j = 0; j < inputs; j++)\n"
        "            sum += (float)w[i * inputs + j] * x[j];\n"
        f"        z[i] = {factor}sum + b[i];\n    }}\n}}\n"
    )


class SourceRenderer:
    """Renders the text of both files.

    Parameters
    ----------
    state : ModelState
    name : str
    is_int8 : bool
        Whether the weights of dense layers are 8-bit integers.
    own_math : bool
    prefix : str, default ""
        Of the names of constant arrays.
    """

    prefix = ""

    def __init__(self, state, name, is_int8, own_math, prefix=""):
        self.name, self.is_int8, self.own_math, self.prefix = name, is_int8, own_math, prefix
        self.encoders, self.layers = fold_encoders(state), fold_layers(state)
        self.sizes = state.architecture.sizes
        self.is_classifier, self.task = state.is_classifier, state.task
        self.threshold = state.architecture.decision_threshold

    def render_header(self):
        """Return the text of the header."""
        macro = self.name.upper()
        lines = [
            f"/* A multilayer perceptron, {'-'.join(map(str, self.sizes))}, written by cmlp. */",
            f"#ifndef {macro}_H",
            f"#define {macro}_H",
            "",
            f"#define {macro}_INPUTS {self.sizes[0]}",
            f"#define {macro}_OUTPUTS {self.sizes[-1]}",
            "",
            "/* The outputs y for the inputs x. */",
            f"void {self.name}_predict(const float *x, float *y);",
        ]
        if self.task == "multilabel":
            lines += [
                "",
                "/* For each output, whether the inputs x have its label: 1 or 0. */",
                f"void {self.name}_classify(const float *x, int *labels);",
            ]
        elif self.is_classifier:
            lines += [
                "",
                "/* The class of the inputs x. */",
                f"int {self.name}_classify(const float *x);",
            ]
        return "\n".join([*lines, "", "#endif", ""])

    def render_source(self, header_name):
        """Return the text of the source file, which includes the header of this name."""
        parts = [self.render_layer_function(), *self.render_arrays(), self.render_predict()]
        body = "\n".join([*parts, self.render_classify()])
        return render_file(body, header_name, self.own_math)

    def render_layer_function(self):
        """Return the function that computes the pre-activations of a layer."""
        return render_layer_function(self.is_int8)

    def render_arrays(self):
        """Yield the parameters as constant arrays."""
        p = self.prefix
        for encoder in self.encoders:
            yield from render_encoder_arrays(encoder, p)
        for l, layer in enumerate(self.layers):
            # A layer normalization adds the bias.
            bias = layer.bias if layer.scale is None else np.zeros_like(layer.bias)
            if self.is_int8:
                step, weight = quantize(layer.weight)
                yield render_array("int8_t", f"{p}weight_{l}", weight.ravel(), "{:d}".format)
                yield render_array("float", f"{p}step_{l}", step)
            else:
                yield render_array("float", f"{p}weight_{l}", layer.weight.ravel())
            yield render_array("float", f"{p}bias_{l}", bias)
            if layer.scale is not None:
                yield render_array("float", f"{p}scale_{l}", layer.scale)
                yield render_array("float", f"{p}shift_{l}", layer.bias)
            if layer.alpha is not None:
                yield render_array("float", f"{p}alpha_{l}", layer.alpha)

    def render_predict(self):
        """Return the function that computes the outputs."""
        return self.render_outputs(f"void {self.name}_predict")

    def render_outputs(self, head):
        """Return the function that computes the outputs y for the inputs x.

        The layers alternate between two buffers, a and b; the last one writes to y.

        Parameters
        ----------
        head : str
            Type and name of the function.
        """
        stages = [*self.encoders, *self.layers]
        widths = [encoder.outputs for encoder in self.encoders]
        widths += [len(layer.bias) for layer in self.layers]
        body, source = [], "x"
        for k, stage in enumerate(stages):
            target = "y" if k == len(stages) - 1 else "ab"[k % 2]
            if k < len(self.encoders):
                body += render_encoder_calls(stage, source, target, self.prefix)
            else:
                body += self.render_dense(k - len(self.encoders), source, target)
            source = target
        lines = [f"{head}(const float *x, float *y)", "{"]
        buffers = [f"{name}[{max(widths[k:-1:2])}]" for k, name in enumerate("ab") if widths[k:-1]]
        if buffers:
            lines.append(f"    float {', '.join(buffers)};")
        counters = [name for name in "ij" if any(f"for ({name} = 0" in line for line in body)]
        if counters:
            lines.append(f"    int {', '.join(counters)};")
        return "\n".join([*lines, *body, "}", ""])

    def render_dense(self, l, source, target):
        """Return the lines that compute the activations of layer l."""
        layer, p = self.layers[l], self.prefix
        outputs, inputs = layer.weight.shape
        step = f", {p}step_{l}" if self.is_int8 else ""
        lines = [
            f"    layer({source}, {target}, {p}weight_{l}{step}, {p}bias_{l}, {inputs}, {outputs});"
        ]
        if layer.scale is not None:
            lines.append(
                f"    normalize({target}, {outputs}, {p}scale_{l}, {p}shift_{l}, "
                f"{render_float(layer.eps)});"
            )
        return lines + self.render_activation_loop(l, target, outputs)

    def render_activation_loop(self, l, target, outputs):
        """Return the lines that replace the pre-activations of layer l in the array `target`."""
        if self.layers[l].activation.name == "softmax":
            return [f"    softmax({target}, {outputs});"]
        code = self.render_activation(l)
        if code is None:
            return []
        return [
            f"    for (i = 0; i < {outputs}; i++) {{",
            f"        const float z = {target}[i];",
            f"        {target}[i] = {code};",
            "    }",
        ]

    def render_activation(self, l):
        """Return the expression of the activation of layer l; None for identity and softmax."""
        activation = self.layers[l].activation
        if activation.name in ("identity", "softmax"):
            return None
        if activation.name == "prelu":
            return f"z < 0.0f ? {self.prefix}alpha_{l}[i] * z : z"
        f = activation.base or activation
        code = ACTIVATION_CODE[f.name].format(k=render_float(f.parameter))
        return f"z + {self.prefix}alpha_{l}[i] * (({code}) - z)" if activation.base else code

    def render_classify(self):
        """Return the function that predicts the class; empty for other networks."""
        if not self.is_classifier:
            return ""
        outputs = self.sizes[-1]
        parameters = "const float *x"
        if self.task == "multilabel":
            parameters += ", int *labels"
        kind = "void" if self.task == "multilabel" else "int"
        lines = [f"{kind} {self.name}_classify({parameters})", "{", f"    float y[{outputs}];"]
        if self.task == "multilabel":
            lines += [
                "    int i;",
                f"    {self.name}_predict(x, y);",
                f"    for (i = 0; i < {outputs}; i++)",
                f"        labels[i] = y[i] >= {render_float(self.threshold)};",
            ]
        elif outputs == 1:
            lines += [
                f"    {self.name}_predict(x, y);",
                f"    return y[0] >= {render_float(self.threshold)};",
            ]
        else:
            lines += [
                "    int i, best = 0;",
                f"    {self.name}_predict(x, y);",
                f"    for (i = 1; i < {outputs}; i++)",
                "        if (y[i] > y[best])",
                "            best = i;",
                "    return best;",
            ]
        return "\n".join([*lines, "}", ""])


def quantize(weight):
    """Quantize each row of weights to integers from -127 to 127 times a step.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs)

    Returns
    -------
    step : ndarray, shape (outputs,)
        Step of each row.
    rounded : ndarray of int, shape (outputs, inputs)
        Weights divided by the steps and rounded.
    """
    step = np.abs(weight).max(axis=1) / 127
    step[step == 0] = 1
    return step, np.rint(weight / step[:, None]).astype(int)

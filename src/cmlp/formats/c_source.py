"""A network as one self-contained C99 file, with a header."""

import os
import re
from pathlib import Path

import numpy as np

from cmlp.checks import check_switch, look_up
from cmlp.files.atomic import replacing
from cmlp.files.layers import layers_of

# Of each activation the value from z, as C; k is its parameter.
ACTIVATIONS = {
    "identity": "z",
    "sigmoid": "sigmoid(z)",
    "hard_sigmoid": "z < -3.0f ? 0.0f : z > 3.0f ? 1.0f : z / 6.0f + 0.5f",
    "tanh": "TANH(z)",
    "hard_tanh": "z < -1.0f ? -1.0f : z > 1.0f ? 1.0f : z",
    "relu": "z < 0.0f ? 0.0f : z",
    "leaky_relu": "z < 0.0f ? {k} * z : z",
    "elu": "z < 0.0f ? {k} * (EXP(z) - 1.0f) : z",
    "selu": "1.05070099f * (z < 0.0f ? 1.67326324f * (EXP(z) - 1.0f) : z)",
    "celu": "z < 0.0f ? {k} * (EXP(z / {k}) - 1.0f) : z",
    "gelu": "0.5f * z * (1.0f + ERF(0.707106781f * z))",
    "gelu_tanh": "z * sigmoid(1.59576912f * (z + 0.044715f * z * z * z))",
    "silu": "z * sigmoid(z)",
    "mish": "z * TANH(softplus(z))",
    "softplus": "softplus(z)",
    "softsign": "z / (1.0f + (z < 0.0f ? -z : z))",
    "softmax": None,  # looks at the whole layer
}

SIGMOID = """static float sigmoid(float z)
{
    return z < 0.0f ? EXP(z) / (1.0f + EXP(z)) : 1.0f / (1.0f + EXP(-z));
}
"""

SOFTPLUS = """static float softplus(float z)
{
    return (z < 0.0f ? 0.0f : z) + LOG1P(EXP(z < 0.0f ? z : -z));
}
"""

# By the Taylor polynomial of what is left of z when whole powers of two are taken out of it.
OWN_EXP = """static float own_exp(float z)
{
    float r, p = 1.0f;
    int n, i;
    if (z < -87.0f)
        return 0.0f;
    if (z > 88.0f)
        z = 88.0f;
    n = (int)(z * 1.44269504f + (z < 0.0f ? -0.5f : 0.5f));
    r = z - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    for (i = 7; i > 0; i--)
        p = 1.0f + p * r / (float)i;
    for (; n > 0; n--)
        p *= 2.0f;
    for (; n < 0; n++)
        p *= 0.5f;
    return p;
}
"""

OWN_TANH = """static float own_tanh(float z)
{
    const float e = own_exp(z < 0.0f ? 2.0f * z : -2.0f * z);
    const float t = (1.0f - e) / (1.0f + e);
    return z < 0.0f ? -t : t;
}
"""

# 2 artanh(x / (2 + x)), by its series: Abramowitz and Stegun, 1964, 4.1.27.
OWN_LOG1P = """static float own_log1p(float x)
{
    const float s = x / (2.0f + x), q = s * s;
    float p = 1.0f / 17.0f;
    int i;
    for (i = 15; i > 0; i -= 2)
        p = 1.0f / (float)i + p * q;
    return 2.0f * s * p;
}
"""

OWN_ERF = """static float own_erf(float x) /* Abramowitz and Stegun, 1964, 7.1.26 */
{
    const float size = x < 0.0f ? -x : x, t = 1.0f / (1.0f + 0.3275911f * size);
    const float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t
                      - 0.284496736f) * t + 0.254829592f) * t;
    const float e = 1.0f - p * own_exp(-x * x);
    return x < 0.0f ? -e : e;
}
"""

LAYER_NORM = """static void normalize(float *z, int n, const float *scale, const float *shift,
                      float epsilon)
{
    float mean = 0.0f, variance = 0.0f;
    int j;
    for (j = 0; j < n; j++)
        mean += z[j];
    mean /= (float)n;
    for (j = 0; j < n; j++)
        variance += (z[j] - mean) * (z[j] - mean);
    variance = 1.0f / sqrtf(variance / (float)n + epsilon);
    for (j = 0; j < n; j++)
        z[j] = scale[j] * ((z[j] - mean) * variance) + shift[j];
}
"""

SOFTMAX = """static void softmax(float *z, int n)
{
    float greatest = z[0], sum = 0.0f;
    int j;
    for (j = 1; j < n; j++)
        greatest = z[j] > greatest ? z[j] : greatest;
    for (j = 0; j < n; j++) {
        z[j] = EXP(z[j] - greatest);
        sum += z[j];
    }
    for (j = 0; j < n; j++)
        z[j] /= sum;
}
"""

# Names, what they stand for in math.h and in our own code, and that code.
FUNCTIONS = {
    "EXP": ("expf", "own_exp", OWN_EXP),
    "TANH": ("tanhf", "own_tanh", OWN_TANH),
    "LOG1P": ("log1pf", "own_log1p", OWN_LOG1P),
    "ERF": ("erff", "own_erf", OWN_ERF),
}


def write(network, path, name, weights, own_math):
    """Write the file and its header, both whole or not at all; see `Network.to_c`."""
    path = Path(os.fspath(path))
    if path.suffix != ".c":
        raise ValueError(f"path must end in .c, got {str(path)!r}")
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)):
        raise ValueError(f"name must be an identifier of C, got {name!r}")
    look_up("weights", weights, {"float32": None, "int8": None})
    check_switch("own_math", own_math)
    source = Source(network, name, weights, own_math, path.with_suffix(".h").name)
    with replacing(path.with_suffix(".h")) as file:
        file.write(source.header().encode())
    with replacing(path) as file:
        file.write(source.source().encode())


class Source:
    """The text of both files."""

    def __init__(self, network, name, weights, own_math, header):
        self.name, self.int8, self.own_math = name, weights == "int8", own_math
        self.header_name = header
        self.layers = layers_of(network)
        self.sizes = network.size
        self.classifies = network.is_classifier
        self.limit = "0.5f" if network._architecture.has_probabilities else "0.0f"

    def header(self):
        """Return the header."""
        guard = f"{self.name.upper()}_H"
        lines = [
            f"/* A multilayer perceptron, {'-'.join(map(str, self.sizes))}, written by cmlp. */",
            f"#ifndef {guard}", f"#define {guard}", "",
            f"#define {self.name.upper()}_INPUTS {self.sizes[0]}",
            f"#define {self.name.upper()}_OUTPUTS {self.sizes[-1]}", "",
            "/* The outputs y for the inputs x. */",
            f"void {self.name}_predict(const float *x, float *y);",
        ]  # fmt: skip
        if self.classifies:
            lines += ["", "/* The class of the inputs x. */",
                      f"int {self.name}_classify(const float *x);"]  # fmt: skip
        return "\n".join([*lines, "", "#endif", ""])

    def source(self):
        """Return the source file."""
        body = "\n".join([self.layer_code(), *self.arrays(), self.predict(), self.classify()])
        helpers = self.helpers(body)
        includes = f'#include "{self.header_name}"\n'
        if re.search(r"\b(expf|tanhf|log1pf|erff|sqrtf)\b", f"{helpers}\n{body}"):
            includes = "#include <math.h>\n" + includes
        if self.int8:
            includes = "#include <stdint.h>\n" + includes
        return f"{includes}\n{helpers}\n{body}"

    def helpers(self, body):
        """Return the functions that the body needs, and those that they need."""
        chosen = []
        text = body
        for code in (SOFTMAX, SIGMOID, SOFTPLUS, LAYER_NORM):
            called = re.search(r"static \w+ (\w+)\(", code)[1]
            if re.search(rf"\b{called}\(", text):
                chosen.append(code)
                text += code
        defines, own = [], []
        for macro, (standard, ours, code) in reversed(FUNCTIONS.items()):
            if re.search(rf"\b({macro}|{ours})\(", text):
                defines.append(f"#define {macro} {ours if self.own_math else standard}")
                if self.own_math:
                    own.insert(0, code)
                    text += code
        return "\n".join(["\n".join(reversed(defines)), *own, *chosen])

    def layer_code(self):
        """Return the function of one layer's sums."""
        kind, factor = ("int8_t", "scale[i] * ") if self.int8 else ("float", "")
        more = ", const float *scale" if self.int8 else ""
        return (
            f"static void layer(const float *x, float *z, const {kind} *w{more}, const float *b,\n"
            "                  int inputs, int outputs)\n{\n    int i, j;\n"
            "    for (i = 0; i < outputs; i++) {\n        float sum = 0.0f;\n"
            "        for (j = 0; j < inputs; j++)\n"
            "            sum += (float)w[i * inputs + j] * x[j];\n"
            f"        z[i] = {factor}sum + b[i];\n    }}\n}}\n"
        )

    def arrays(self):
        """Yield the parameters as constants."""
        for l, layer in enumerate(self.layers):
            bias = layer.bias if layer.scale is None else np.zeros_like(layer.bias)
            if self.int8:
                scale, whole = quantized(layer.weight)
                yield array("int8_t", f"weight_{l}", whole.ravel(), "{:d}".format)
                yield array("float", f"step_{l}", scale)
            else:
                yield array("float", f"weight_{l}", layer.weight.ravel())
            yield array("float", f"bias_{l}", bias)
            if layer.scale is not None:
                yield array("float", f"scale_{l}", layer.scale)
                yield array("float", f"shift_{l}", layer.bias)

    def predict(self):
        """Return the function of the outputs."""
        width = max(self.sizes[1:-1], default=1)
        two = len(self.layers) > 2
        lines = [f"void {self.name}_predict(const float *x, float *y)", "{"]
        if len(self.layers) > 1:
            lines.append(f"    float a[{width}]{f', b[{width}]' if two else ''};")
        if any(self.elementwise(layer) for layer in self.layers):
            lines.append("    int i;")
        source = "x"
        for l, layer in enumerate(self.layers):
            target = "y" if l == len(self.layers) - 1 else "ab"[l % 2]
            outputs, inputs = layer.weight.shape
            step = f", step_{l}" if self.int8 else ""
            lines.append(
                f"    layer({source}, {target}, weight_{l}{step}, bias_{l}, {inputs}, {outputs});"
            )
            if layer.scale is not None:
                lines.append(
                    f"    normalize({target}, {outputs}, scale_{l}, shift_{l}, "
                    f"{number(layer.epsilon)});"
                )
            if layer.activation.name == "softmax":
                lines.append(f"    softmax({target}, {outputs});")
            elif code := self.elementwise(layer):
                lines += [f"    for (i = 0; i < {outputs}; i++) {{",
                          f"        const float z = {target}[i];",
                          f"        {target}[i] = {code};", "    }"]  # fmt: skip
            source = target
        return "\n".join([*lines, "}", ""])

    def elementwise(self, layer):
        """Return the code of a layer's activation, or None where it takes none."""
        if layer.activation.name in ("identity", "softmax"):
            return None
        return ACTIVATIONS[layer.activation.name].format(k=number(layer.activation.parameter))

    def classify(self):
        """Return the function of the class, where outputs are of classes."""
        if not self.classifies:
            return ""
        n = self.sizes[-1]
        lines = [f"int {self.name}_classify(const float *x)", "{", f"    float y[{n}];"]
        if n == 1:
            lines += [f"    {self.name}_predict(x, y);", f"    return y[0] >= {self.limit};"]
        else:
            lines += ["    int i, best = 0;", f"    {self.name}_predict(x, y);",
                      f"    for (i = 1; i < {n}; i++)", "        if (y[i] > y[best])",
                      "            best = i;", "    return best;"]  # fmt: skip
        return "\n".join([*lines, "}", ""])


def quantized(weight):
    """Return the scale of each row, and the row as whole numbers from -127 to 127."""
    scale = np.abs(weight).max(axis=1) / 127
    scale[scale == 0] = 1
    return scale, np.rint(weight / scale[:, None]).astype(int)


def number(value):
    """Return a real number as C writes a float."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if re.search(r"[.e]", text) else ".0f")


def array(kind, name, values, text=number):
    """Return a constant array."""
    lines, line = [], "   "
    for value in values:
        item = f" {text(value)},"
        if len(line) + len(item) > 96:
            lines.append(line)
            line = "   "
        line += item
    return (
        f"static const {kind} {name}[{len(values)}] = {{\n" + "\n".join([*lines, line]) + "\n};\n"
    )

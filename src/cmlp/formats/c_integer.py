"""C99 code of a network of 8-bit integers that uses no floating-point operation.

The scheme is that of Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018, section 2.2: the real factor that converts the sums
of a layer to the inputs of the next layer is an integer of 31 bits and a right shift that rounds to
the nearest integer, ties away from zero. There is one factor for each unit.
"""

import math
import re

import numpy as np

from cmlp._core.quantized import PIECEWISE_LINEAR
from cmlp._model.quantized import MAX_OPERAND, MAX_WEIGHT
from cmlp.formats.c_integer_code import INTEGER_FUNCTIONS, POWERS, TO_LEVELS
from cmlp.formats.c_integer_tables import NUMPY_ACTIVATIONS, LevelTable
from cmlp.formats.c_text import render_array, render_float, render_int32

# The outputs of these activations are integers with FRACTION_BITS bits after the point.
BOUNDED_OUTPUTS = ("softmax", "sigmoid", "tanh", "hard_sigmoid")
FRACTION_BITS = 15

# Other outputs, whatever the inputs, are below 2^OUTPUT_BITS. One unit of the integer sums is at
# most 2^(MOST_BITS_OF_A_UNIT + 1): further bits would have no information.
OUTPUT_BITS = 30
MOST_BITS_OF_A_UNIT = 12

# The header states 2 to the power of minus the bits as a number of float32.
MOST_FRACTION_BITS = 100

MOST_CLASSES = 32767  # whose exponentials have a sum below 2^31


def to_multiplier(factor):
    """Return integers m and shift with m / 2^shift = `factor`, to 31 bits.

    Returns
    -------
    m : int
        0, or from 2^30 to 2^31 - 1.
    shift : int
        From 1 to 62. A factor of less than 2^-32, which no sum makes 1, becomes 0, and one of 2^30
        or more the greatest.
    """
    mantissa, exponent = math.frexp(factor)
    m = round(mantissa * 2**31)
    if m == 2**31:
        m, exponent = m // 2, exponent + 1
    shift = 31 - exponent
    if m == 0 or shift > 62:
        return 0, 62
    return (m, shift) if shift >= 1 else (2**31 - 1, 1)


class IntegerRenderer:
    """Renders the text of both files.

    Parameters
    ----------
    state : QuantizedState
    name : str
        Prefix of the functions' names.

    Raises
    ------
    ValueError
        If integers cannot express a layer; the message names it.
    """

    def __init__(self, state, name, *_):
        self.name, self.macro = name, name.upper()
        self.layers, self.sizes = state.layers, state.architecture.sizes
        self.is_classifier, self.task = state.is_classifier, state.task
        check_layers(self.layers)
        self.output = self.layers[-1].activation
        last = self.layers[-1]
        self.factor = last.inputs.scale * last.weight_scale.astype(np.float64)
        self.logit_bits = choose_fraction_bits(last, self.factor)
        self.is_bounded = self.output.name in BOUNDED_OUTPUTS
        self.output_bits = FRACTION_BITS if self.is_bounded else self.logit_bits
        self.tables = self.make_tables(16)
        self.kind = "int16_t"
        if any(table.is_coarse for table in self.tables.values()):
            self.tables, self.kind = self.make_tables(20), "int32_t"

    def make_tables(self, bits):
        """Return the tables of the hidden layers that need one, a dict by their indices."""
        return {
            l: LevelTable(layer.activation, self.layers[l + 1].inputs, bits)
            for l, layer in enumerate(self.layers[:-1])
            if not layer.is_piecewise_linear
        }

    def render_header(self):
        """Return the text of the header."""
        macro, first = self.macro, self.layers[0].inputs
        pixels = " These are the pixels of an image." * first.takes_bytes
        lines = [
            f"/* A multilayer perceptron, {'-'.join(map(str, self.sizes))}, written by cmlp.",
            " *",
            " * Its functions have integer operations only.",
            f" * An input x is the integer q = x / {macro}_INPUT_SCALE + {macro}_INPUT_ZERO_POINT,",
            f" * rounded, from 0 to 255.{pixels}",
            f" * An output is {macro}_OUTPUT_SCALE times the integer y.",
            " * The scales are constants for the program; no function uses them. */",
            f"#ifndef {macro}_H",
            f"#define {macro}_H",
            "",
            "#include <stdint.h>",
            "",
            f"#define {macro}_INPUTS {self.sizes[0]}",
            f"#define {macro}_OUTPUTS {self.sizes[-1]}",
            f"#define {macro}_INPUT_SCALE {render_float(first.scale)}",
            f"#define {macro}_INPUT_ZERO_POINT {first.zero_point}",
            f"#define {macro}_OUTPUT_SCALE {render_float(2.0**-self.output_bits)}",
            f"#define {macro}_OUTPUT_ZERO_POINT 0",
            f"#define {macro}_OUTPUT_FRACTION_BITS {self.output_bits}",
            "",
            "/* The integer of a constant x; for a variable, it has floating-point operations. */",
            f"#define {macro}_INPUT(x) \\",
            f"    ((uint8_t)((x) / {macro}_INPUT_SCALE + {macro}_INPUT_ZERO_POINT <= 0 ? 0 \\",
            f"               : (x) / {macro}_INPUT_SCALE + {macro}_INPUT_ZERO_POINT >= 255 \\",
            "               ? 255 \\",
            f"               : (x) / {macro}_INPUT_SCALE + {macro}_INPUT_ZERO_POINT + 0.5f))",
            "",
            "/* The outputs y for the inputs x. */",
            f"void {self.name}_predict(const uint8_t *x, int32_t *y);",
        ]
        if self.is_bounded:
            lines += [
                "",
                f"/* The pre-activations of the outputs, {macro}_LOGIT_SCALE times z. */",
                f"#define {macro}_LOGIT_SCALE {render_float(2.0**-self.logit_bits)}",
                f"#define {macro}_LOGIT_FRACTION_BITS {self.logit_bits}",
                f"void {self.name}_logits(const uint8_t *x, int32_t *z);",
            ]
        return "\n".join([*lines, *self.render_classify_declaration(), "", "#endif", ""])

    def render_classify_declaration(self):
        """Return the lines of the header that declare the function of classifiers."""
        if self.task == "multilabel":
            comment, kind, labels = "For each output, whether x has its label: 1 or 0.", "void", 1
        elif self.is_classifier:
            comment, kind, labels = "The class of the inputs x.", "int", 0
        else:
            return []
        parameters = "const uint8_t *x" + ", int *labels" * labels
        return ["", f"/* {comment} */", f"{kind} {self.name}_classify({parameters});"]

    def render_source(self, header_name):
        """Return the text of the source file, which includes the header of this name."""
        body = [*self.render_arrays(), self.render_logits(), self.render_predict()]
        text = "\n".join([*body, self.render_classify()])
        functions = []
        for code in INTEGER_FUNCTIONS:
            function = re.search(r"static \w+ (\w+)\(", code)[1]
            if re.search(rf"\b{function}\(", "\n".join([text, *functions])):
                functions.insert(0, code.format(kind=self.kind) if code is TO_LEVELS else code)
        if any("powers[" in code for code in functions):
            powers = render_array("uint32_t", "powers", POWERS, "{:d}".format)
            functions.insert(0, f"/* 2^(16 - i / 64). */\n{powers}")
        return "\n".join([f'#include "{header_name}"\n', *functions, text])

    def render_arrays(self):
        """Yield the integers as constant arrays."""
        for l, layer in enumerate(self.layers):
            yield render_array("int8_t", f"weight_{l}", layer.weight.ravel(), "{:d}".format)
            yield render_array("int32_t", f"start_{l}", layer.compute_start(), render_int32)
            factor = layer.inputs.scale * layer.weight_scale.astype(np.float64)
            if l == len(self.layers) - 1:
                factor = factor * 2.0**self.logit_bits
            elif l in self.tables:
                factor = factor / self.tables[l].unit
            else:
                factor = factor / self.layers[l + 1].inputs.scale
            yield from render_multipliers(factor, f"{l}")
            is_hidden = l < len(self.layers) - 1
            if is_hidden and layer.activation.name == "leaky_relu":
                yield from render_multipliers(factor * layer.activation.parameter, f"negative_{l}")
            if l in self.tables:
                table = self.tables[l]
                yield render_array(self.kind, f"from_{l}", table.start, "{:d}".format)
                yield render_array("uint8_t", f"level_{l}", table.level, "{:d}".format)

    def render_logits(self):
        """Return the function that computes the last layer's pre-activations.

        The integers alternate between two buffers, a and b.
        """
        static, name = ("", "logits") if self.is_bounded else ("static ", "compute")
        hidden = self.sizes[1:-1]
        buffers = [f"{buffer}[{max(hidden[k::2])}]" for k, buffer in enumerate("ab") if hidden[k:]]
        lines = [f"{static}void {self.name}_{name}(const uint8_t *x, int32_t *z)", "{"]
        lines += [f"    uint8_t {', '.join(buffers)};"] if buffers else []
        source = "x"
        for l in range(len(self.layers) - 1):
            lines += self.render_layer(l, source, "ab"[l % 2])
            source = "ab"[l % 2]
        l = len(self.layers) - 1
        lines.append(
            f"    to_fixed({source}, z, {name_arrays(l)}, {self.sizes[-2]}, {self.sizes[-1]});"
        )
        return "\n".join([*lines, "}", ""])

    def render_layer(self, l, source, target):
        """Return the lines of a hidden layer, from the buffer `source` to `target`."""
        activation, following = self.layers[l].activation, self.layers[l + 1].inputs
        sizes = f"{self.sizes[l]}, {self.sizes[l + 1]}"
        arguments = f"{source}, {target}, {name_arrays(l)}"
        if l in self.tables:
            return [
                f"    to_levels({arguments}, {sizes},",
                f"              from_{l}, level_{l}, {len(self.tables[l].start)});",
            ]
        _, low, high = PIECEWISE_LINEAR[activation.name](activation.parameter)
        zero_point = following.zero_point
        low = max(-zero_point, round_half_away(low / following.scale))
        high = min(MAX_OPERAND - zero_point, round_half_away(high / following.scale))
        bounds = f"{low}, {high}, {zero_point}"
        if activation.name == "leaky_relu":
            return [
                f"    to_integers_leaky({arguments},",
                f"                      m_negative_{l}, shift_negative_{l}, {sizes}, {bounds});",
            ]
        return [f"    to_integers({arguments}, {sizes},", f"                {bounds});"]

    def render_predict(self):
        """Return the function that computes the outputs."""
        compute = "logits" if self.is_bounded else "compute"
        lines = [f"void {self.name}_predict(const uint8_t *x, int32_t *y)", "{"]
        calls = [f"    {self.name}_{compute}(x, y);", *self.render_output()]
        if any("for (i" in line for line in calls):
            lines.append("    int i;")
        return "\n".join([*lines, *calls, "}", ""])

    def render_output(self):
        """Return the lines that apply the output activation to the array y."""
        outputs, name = self.sizes[-1], self.output.name
        if name in ("softmax", "sigmoid", "tanh"):
            # tanh is a function of exp(-2 abs(z)).
            exponent = math.log2(math.e) * 2.0 ** (16 - self.logit_bits) * (1 + (name == "tanh"))
            m, shift = to_multiplier(exponent)
            return [f"    fixed_{name}(y, {outputs}, {m}, {shift});"]
        if name == "identity":
            return []
        lines = [f"    for (i = 0; i < {outputs}; i++)"]
        if name == "hard_sigmoid":
            m, shift = to_multiplier(2.0 ** (FRACTION_BITS - self.logit_bits) / 6)
            one = 2**FRACTION_BITS
            return [
                lines[0] + " {",
                f"        const int32_t v = rescale(y[i], {m}, {shift});",
                f"        y[i] = v < {-one // 2} ? 0 : v > {one // 2} ? {one} : v + {one // 2};",
                "    }",
            ]
        if name == "leaky_relu":
            m, shift = to_multiplier(self.output.parameter)
            return [*lines, f"        y[i] = y[i] < 0 ? rescale(y[i], {m}, {shift}) : y[i];"]
        if name == "relu":
            return [*lines, "        y[i] = y[i] < 0 ? 0 : y[i];"]
        # hard_tanh; the pre-activations may all be less than 1.
        bound = min(round_half_away(2.0**self.logit_bits), 2**31 - 1)
        return [*lines, f"        y[i] = y[i] < -{bound} ? -{bound} : y[i] > {bound} ? {bound} "
                ": y[i];"]  # fmt: skip

    def render_classify(self):
        """Return the function that predicts the class; empty for other networks.

        It compares pre-activations: activations are increasing, and the threshold of an output is
        its value for the pre-activation 0.
        """
        if not self.is_classifier:
            return ""
        outputs = self.sizes[-1]
        call = f"    {self.name}_{'logits' if self.is_bounded else 'compute'}(x, z);"
        parameters = "const uint8_t *x" + ", int *labels" * (self.task == "multilabel")
        kind = "void" if self.task == "multilabel" else "int"
        lines = [f"{kind} {self.name}_classify({parameters})", "{", f"    int32_t z[{outputs}];"]
        if self.task == "multilabel":
            lines += [
                "    int i;",
                call,
                f"    for (i = 0; i < {outputs}; i++)",
                "        labels[i] = z[i] >= 0;",
            ]
        elif outputs == 1:
            lines += [call, "    return z[0] >= 0;"]
        else:
            lines += [
                "    int i, best = 0;",
                call,
                f"    for (i = 1; i < {outputs}; i++)",
                "        if (z[i] > z[best])",
                "            best = i;",
                "    return best;",
            ]
        return "\n".join([*lines, "}", ""])


def check_layers(layers):
    """Raise ValueError if integers cannot express a layer."""
    for l, layer in enumerate(layers):
        if layer.normalization is not None:
            raise ValueError(
                f"layer {l} must not have a layer normalization for arithmetic='int8', which has "
                "no square roots"
            )
    last, name = len(layers) - 1, layers[-1].activation.name
    allowed = (*PIECEWISE_LINEAR, *BOUNDED_OUTPUTS)
    if name not in allowed:
        raise ValueError(
            f"the activation of the output layer {last} must be one of {', '.join(allowed)} for "
            f"arithmetic='int8'; got {name!r}"
        )
    if name == "softmax" and not 2 <= len(layers[-1].bias) <= MOST_CLASSES:
        raise ValueError(
            f"the softmax of layer {last} must have from 2 to {MOST_CLASSES} outputs for "
            f"arithmetic='int8'; got {len(layers[-1].bias)}"
        )
    for l, layer in enumerate(layers[:-1]):
        if not (layer.is_piecewise_linear or layer.activation.name in NUMPY_ACTIVATIONS):
            raise ValueError(
                f"the activation of layer {l} must not be {layer.activation.name!r} for "
                "arithmetic='int8'"
            )


def choose_fraction_bits(layer, factor):
    """Return the bits after the point of the pre-activations of the last layer.

    Parameters
    ----------
    layer : QuantizedLayer
    factor : ndarray of float64, shape (outputs,)
        Scale of the sums of each unit.
    """
    zero_point = layer.inputs.zero_point
    widest = max(zero_point, MAX_OPERAND - zero_point)
    sums = np.abs(layer.weight.astype(np.int64)).sum(axis=1) * widest
    sums += np.abs(layer.bias.astype(np.int64))
    # An output without weights has the bound of a single weight of 1.
    bound = (np.maximum(sums, MAX_WEIGHT) * factor).max()
    most = MOST_BITS_OF_A_UNIT - math.floor(math.log2(factor.max()))
    bits = min(math.floor(OUTPUT_BITS - math.log2(bound)), most)
    return max(-MOST_FRACTION_BITS, min(bits, MOST_FRACTION_BITS))


def render_multipliers(factors, suffix):
    """Yield the arrays of the multipliers and the shifts of factors."""
    m, shift = zip(*map(to_multiplier, factors.tolist()), strict=True)
    yield render_array("int32_t", f"m_{suffix}", m, "{:d}".format)
    yield render_array("uint8_t", f"shift_{suffix}", shift, "{:d}".format)


def name_arrays(l):
    """Return the names of the arrays of layer l that all functions take."""
    return f"weight_{l}, start_{l}, m_{l}, shift_{l}"


def round_half_away(x):
    """Return a number rounded to an integer, ties away from 0; infinities as they are."""
    return x if math.isinf(x) else int(math.copysign(math.floor(abs(x) + 0.5), x))

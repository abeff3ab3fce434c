"""C99 code of a network of 8-bit integers.

It computes the same integers as the kernels (csrc/quantized_table.h): sums in int32, one
multiplication, clipping and rounding to the nearest integer, ties to even. The outputs of layers
whose activation is piecewise linear have the same bits.
"""

from cmlp._core.quantized import PIECEWISE_LINEAR
from cmlp._model.quantized import MAX_OPERAND
from cmlp.formats.c_integer_code import SUM
from cmlp.formats.c_source import SourceRenderer
from cmlp.formats.c_text import render_array, render_float, render_int32

QUANTIZE = """/* The integer of v = x / scale, from 0 to 255. */
static uint8_t quantize(float v, float low, float high, int zero_point)
{
    float rest;
    int i;
    v = v > low ? v : low;
    v = v < high ? v : high;
    i = (int)v;
    rest = v - (float)i;
    if (rest > 0.5f || (rest == 0.5f && i % 2 != 0))
        i++;
    else if (rest < -0.5f || (rest == -0.5f && i % 2 != 0))
        i--;
    return (uint8_t)(i + zero_point);
}
"""

TO_NUMBERS = """static void to_numbers(const uint8_t *q, float *z, const int8_t *w,
                       const int32_t *start, const float *factor, int inputs, int outputs)
{
    int i;
    for (i = 0; i < outputs; i++)
        z[i] = (float)sum(q, w + i * inputs, start[i], inputs) * factor[i];
}
"""

TO_INTEGERS = """static void to_integers(const uint8_t *q, uint8_t *r, const int8_t *w,
                        const int32_t *start, const float *factor, int inputs, int outputs,
                        float slope, float low, float high, int zero_point)
{
    int i;
    for (i = 0; i < outputs; i++) {
        float v = (float)sum(q, w + i * inputs, start[i], inputs) * factor[i];
        if (v < 0.0f)
            v = v * slope;
        r[i] = quantize(v, low, high, zero_point);
    }
}
"""


class QuantizedRenderer(SourceRenderer):
    """Renders the text of both files.

    Parameters
    ----------
    state : QuantizedState
    name, own_math
        As in `SourceRenderer`.
    is_int8 : bool
        Ignored: all weights are 8-bit integers.
    """

    def __init__(self, state, name, is_int8, own_math):
        self.name, self.is_int8, self.own_math = name, True, own_math
        self.layers = state.layers
        self.sizes = state.architecture.sizes
        self.is_classifier, self.task = state.is_classifier, state.task
        self.threshold = state.architecture.decision_threshold

    def is_direct(self, l):
        """Return whether the next layer's integers are computed from the sums of layer l."""
        return l < len(self.layers) - 1 and self.layers[l].is_piecewise_linear

    def render_layer_function(self):
        """Return the functions that compute the layers."""
        is_direct = [self.is_direct(l) for l in range(len(self.layers))]
        return "\n".join([QUANTIZE, SUM, TO_NUMBERS, *([TO_INTEGERS] if any(is_direct) else [])])

    def render_arrays(self):
        """Yield the integers and scales as constant arrays."""
        for l, layer in enumerate(self.layers):
            following = self.layers[l + 1].inputs if self.is_direct(l) else None
            yield render_array("int8_t", f"weight_{l}", layer.weight.ravel(), "{:d}".format)
            yield render_array("int32_t", f"start_{l}", layer.compute_start(), render_int32)
            yield render_array("float", f"factor_{l}", layer.compute_factor(following))
            if layer.normalization is not None:
                yield render_array("float", f"scale_{l}", layer.normalization.scale)
                yield render_array("float", f"shift_{l}", layer.normalization.shift)

    def render_predict(self):
        """Return the function that computes the outputs.

        The integers alternate between two buffers, a and b; pre-activations that are not converted
        directly are in `numbers`, or in y for the last layer.
        """
        depth = len(self.layers)
        indirect = [l for l in range(depth - 1) if not self.is_direct(l)]
        lines = [f"void {self.name}_predict(const float *x, float *y)", "{"]
        lines.append(f"    uint8_t a[{max(self.sizes[0:-1:2])}]"
                     + (f", b[{max(self.sizes[1:-1:2])}];" if depth > 1 else ";"))  # fmt: skip
        if indirect:
            lines.append(f"    float numbers[{max(self.sizes[l + 1] for l in indirect)}];")
        lines.append("    int i;")
        lines += self.render_quantization("x", "a", self.layers[0].inputs, self.sizes[0])
        for l in range(depth):
            lines += self.render_layer(l, "ab"[l % 2], "ab"[(l + 1) % 2])
        return "\n".join([*lines, "}", ""])

    def render_layer(self, l, source, target):
        """Return the lines of a layer, from the buffer `source` to `target` or the outputs."""
        layer = self.layers[l]
        outputs, inputs = layer.weight.shape
        arguments = f"weight_{l}, start_{l}, factor_{l}, {inputs}, {outputs}"
        if self.is_direct(l):
            slope, low, high = PIECEWISE_LINEAR[layer.activation.name](layer.activation.parameter)
            bounds = render_bounds(self.layers[l + 1].inputs, low, high)
            return [
                f"    to_integers({source}, {target}, {arguments},",
                f"                {render_float(slope)}, {bounds});",
            ]
        is_last = l == len(self.layers) - 1
        numbers = "y" if is_last else "numbers"
        lines = [f"    to_numbers({source}, {numbers}, {arguments});"]
        if layer.normalization is not None:
            lines.append(
                f"    normalize({numbers}, {outputs}, scale_{l}, shift_{l}, "
                f"{render_float(layer.normalization.eps)});"
            )
        lines += self.render_activation_loop(l, numbers, outputs)
        if not is_last:
            following = self.layers[l + 1].inputs
            lines += self.render_quantization(numbers, target, following, outputs)
        return lines

    @staticmethod
    def render_quantization(source, target, quantizer, size):
        """Return the loop that quantizes `size` numbers."""
        return [
            f"    for (i = 0; i < {size}; i++)",
            f"        {target}[i] = quantize({source}[i] * {render_float(quantizer.inverse)}, "
            f"{render_bounds(quantizer)});",
        ]


def render_bounds(quantizer, low=float("-inf"), high=float("inf")):
    """Return the arguments low, high and zero_point of the C function ``quantize``.

    Parameters
    ----------
    quantizer : Quantizer
    low, high : float
        Bounds of the numbers.
    """
    low = max(-quantizer.zero_point, low * quantizer.inverse)
    high = min(MAX_OPERAND - quantizer.zero_point, high * quantizer.inverse)
    return f"{render_float(low)}, {render_float(high)}, {quantizer.zero_point}"

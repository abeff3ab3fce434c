"""C99 code of a network that continues its training by stochastic gradient descent.

A step has the phases of the engine: it computes the activations of all samples of the batch, then
the gradients of all layers' pre-activations, and then updates each parameter by the sum over the
samples in their order. The buffers hold activations and gradients of one batch; no gradient of a
parameter is stored.
"""

import re
from functools import partial

import numpy as np

from cmlp._model.layers import InputDropout, InputNoise
from cmlp._model.quantized import QuantizedState
from cmlp._utils.validation import check_integer
from cmlp.formats.c_functions import ACTIVATION_CODE
from cmlp.formats.c_source import SourceRenderer, render_file
from cmlp.formats.c_text import render_array, render_float
from cmlp.formats.c_training_code import (
    BACKPROPAGATE,
    DERIVATIVE_CODE,
    DESCEND,
    EPOCH,
    LOSS_CODE,
    MACROS,
    RESET,
    SIGMOID_LOSS,
    SLOPE_CODE,
    SLOPE_FUNCTIONS,
    SOFTMAX_BACKWARD,
    SOFTMAX_LOSS,
    UPDATE,
)
from cmlp.formats.folding import refuse_encoders
from cmlp.optimizers import SGD

BATCH_SIZE = 32  # by default
MOST_SAMPLES = 2**15  # of a batch

# Options of an optimizer that the code does not have; the others are those of SGD.
OTHER_OPTIONS = ("l1", "penalty", "clip_norm", "clip_value", "average", "lr_factors",
                 "decay_factors")  # fmt: skip


def prepare(state, optimizer, batch_size, arithmetic, options):
    """Return a function that makes the renderer; raise if an argument does not fit.

    Parameters
    ----------
    state : ModelState
    optimizer : SGD or None
    batch_size : int or None
    arithmetic : str
    options : dict
        Of `c_source.write`.
    """
    if isinstance(state, QuantizedState):
        raise ValueError("train must be False for a quantized network; got True")
    if arithmetic != "float32":
        raise ValueError(f"arithmetic must be 'float32' with train=True; got {arithmetic!r}")
    if options.get("weights", "float32") != "float32":
        raise ValueError(f"weights must be 'float32' with train=True; got {options['weights']!r}")
    optimizer = SGD() if optimizer is None else optimizer
    check_optimizer(optimizer)
    batch_size = BATCH_SIZE if batch_size is None else batch_size
    check_integer("batch_size", batch_size, 1, MOST_SAMPLES)
    check_architecture(state.architecture)
    return partial(TrainingRenderer, optimizer=optimizer, batch_size=batch_size)


def check_optimizer(optimizer):
    """Raise TypeError or ValueError unless the code can apply an optimizer."""
    if type(optimizer) is not SGD:
        raise TypeError(f"optimizer must be an SGD with train=True; got {optimizer!r}")
    others = [name for name in OTHER_OPTIONS if getattr(optimizer, name)]
    others += ["accumulate"] * (optimizer.accumulate > 1)
    others += ["parametrization"] * (optimizer.parametrization != "standard")
    if others:
        raise ValueError(
            f"optimizer must not have {', '.join(others)} with train=True; got {optimizer!r}"
        )


def check_architecture(architecture):
    """Raise ValueError if the code cannot train a layer, or with the loss."""
    refuse_encoders(architecture, "train=True")
    for layer in architecture.layers:
        if isinstance(layer, (InputDropout, InputNoise)):
            raise ValueError(f"train=True does not support {type(layer).__name__}")
    for l, layer in enumerate(architecture.dense):
        if layer.normalization is not None:
            kind = type(layer.normalization).__name__
            hint = "; fold_batch_norm() returns a network without one" * (kind == "BatchNorm")
            raise ValueError(f"train=True does not support the {kind} of layer {l}{hint}")
        if layer.dropout:
            raise ValueError(
                f"train=True does not support the dropout of layer {l}; got {layer.dropout}"
            )
        if layer.max_norm is not None:
            raise ValueError(
                f"train=True does not support the max_norm of layer {l}; got {layer.max_norm}"
            )
        if layer.activation.parametric:
            raise ValueError(
                f"the activation of layer {l} must not be parametric with train=True; "
                f"got {layer.activation.name!r}"
            )
    loss = architecture.loss
    if loss.name not in LOSS_CODE or loss.blocks > 1:
        name = f"{loss.name} with several quantiles" if loss.name in LOSS_CODE else loss.name
        raise ValueError(f"loss must be one of {', '.join(LOSS_CODE)} with train=True; "
                         f"got {name}")  # fmt: skip


class TrainingRenderer(SourceRenderer):
    """Renders the text of both files.

    Parameters
    ----------
    state : ModelState
    name, is_int8, own_math
        As in `SourceRenderer`.
    optimizer : SGD
    batch_size : int
        Greatest number of samples of a batch.
    """

    def __init__(self, state, name, is_int8, own_math, optimizer, batch_size):
        super().__init__(state, name, is_int8, own_math)
        self.macro, self.optimizer, self.batch_size = name.upper(), optimizer, batch_size
        self.loss = state.architecture.loss
        self.frozen = [dense.frozen for dense in state.architecture.dense]
        self.has_labels = self.task in ("binary", "multiclass")
        self.target = "int" if self.has_labels else "float"
        # The least layer whose gradient is needed.
        trained = [l for l, frozen in enumerate(self.frozen) if not frozen]
        self.first_trained = trained[0] if trained else len(self.layers)
        output, loss = self.layers[-1].activation.name, self.loss.name
        self.fused = {
            ("softmax", "cross_entropy"): "softmax_loss",
            ("sigmoid", "binary_cross_entropy"): "sigmoid_loss",
        }.get((output, loss))

    @property
    def has_first_step(self):
        """Whether the first step differs: its gradient is not dampened."""
        return self.optimizer.momentum > 0 and self.optimizer.dampening > 0

    def render_header(self):
        """Return the text of the header."""
        name, macro = self.name, self.macro
        count = sum(layer.weight.size + layer.bias.size for layer in self.layers)
        what = {
            "binary": "y: n classes, 0 or 1.",
            "multiclass": f"y: n classes, from 0 to {self.sizes[-1] - 1}.",
            "multilabel": "y: n rows of 0 and 1.",
        }.get(self.task, "y: n rows of targets.")
        lines = [
            "",
            "/* All weights and biases, to store and to restore: of each layer the weights of its",
            " * first unit, of the second, and so on, then the biases. */",
            f"#define {macro}_PARAMETERS {count}",
            f"extern float {name}_parameters[{macro}_PARAMETERS];",
            "",
            "/* Greatest number of samples of a batch. */",
            f"#define {macro}_MAX_BATCH {self.batch_size}",
            "",
            "/* Train on a batch. x: n rows of inputs. " + what,
            f" * n: from 1 to {macro}_MAX_BATCH. lr: learning rate.",
            " * Returns the mean loss before the step; for other n, -1, and changes nothing. */",
            f"float {name}_train_step(const float *x, const {self.target} *y, int n, float lr);",
            "",
            "/* Train on n samples once, in their order, in batches; the last batch has those that",
            " * remain. Returns the mean loss; for n < 1 or another size of a batch, it returns -1",
            " * and changes nothing. */",
            f"float {name}_train_epoch(const float *x, const {self.target} *y, int n, int batch, "
            "float lr);",
        ]
        if self.optimizer.momentum:
            lines += [
                "",
                "/* Set the velocity of the momentum to 0, as at the beginning of a training. */",
                f"void {name}_reset_velocity(void);",
            ]
        head, end = super().render_header().rsplit("\n#endif", 1)
        return "\n".join([head.rstrip("\n"), *lines, "", "#endif" + end])

    def render_source(self, header_name):
        """Return the text of the source file, which includes the header of this name."""
        parts = [self.render_layer_function(), *self.render_arrays(), self.render_predict()]
        parts += [self.render_classify(), self.render_training()]
        return render_file("\n".join(filter(None, parts)), header_name, self.own_math)

    def render_arrays(self):
        """Yield the parameters, one array, and pointers to those of each layer."""
        pairs = [(layer.weight.ravel(), layer.bias) for layer in self.layers]
        numbers = np.concatenate([array for pair in pairs for array in pair])
        array = render_array("float", f"{self.name}_parameters", numbers)
        yield array.removeprefix("static const ")
        if self.optimizer.momentum:
            flag = "static int has_velocity;\n" * self.has_first_step
            yield f"static float velocity[{len(numbers)}];\n{flag}"
        for l, (weight, _) in enumerate(pairs):
            first = self.offsets[l]
            yield f"static float *const weight_{l} = {self.name}_parameters + {first};"
            first += len(weight)
            end = "\n" * self.is_last(l)
            yield f"static float *const bias_{l} = {self.name}_parameters + {first};{end}"

    @property
    def offsets(self):
        """Index of the first parameter of each layer."""
        counts = [layer.weight.size + layer.bias.size for layer in self.layers]
        return [sum(counts[:l]) for l in range(len(counts))]

    def render_training(self):
        """Return the functions that train, behind those that they call."""
        name, macro = self.name, self.macro
        buffers = []
        for l, size in enumerate(self.sizes[1:]):
            kinds = ["outputs"] + ["deltas"] * (l >= self.first_trained or self.is_last(l))
            buffers += [f"static float {kind}_{l}[{macro}_MAX_BATCH * {size}];" for kind in kinds]
        columns = "" if self.has_labels else f" * {macro}_OUTPUTS"
        epoch = EPOCH.format(name=name, macro=macro, target=self.target, columns=columns)
        main = "\n".join([*buffers, "", self.render_step(), epoch])
        if self.optimizer.momentum:
            flag = "    has_velocity = 0;\n" * self.has_first_step
            main += "\n" + RESET.format(name=name, macro=macro, flag=flag)
        # Callers first.
        codes = [*self.render_optimizer(), BACKPROPAGATE, SOFTMAX_BACKWARD, SOFTMAX_LOSS,
                 SIGMOID_LOSS, *SLOPE_FUNCTIONS]  # fmt: skip
        text = main
        for code in codes:
            function = re.search(r"static \w+ (\w+)", code)[1]
            if re.search(rf"\b{function}\(", text):
                text = f"{code}\n{text}"
        macros = [code for each, code in MACROS.items() if re.search(rf"\b{each}\(", text)]
        return "\n".join([*macros, "", text] if macros else [text])

    def render_optimizer(self):
        """Return the functions that update a layer and a parameter, the caller first."""
        sgd, decay = self.optimizer, self.optimizer.weight_decay
        body = ["    g += decay * *w;"] if decay else []
        if not sgd.momentum:
            body.append("    *w -= lr * g;")
        else:
            factor = f"has_velocity ? {render_float(1 - sgd.dampening)} : 1.0f"
            g = f"({factor}) * g" if sgd.dampening else "g"
            momentum = render_float(sgd.momentum)
            step = f"(g + {momentum} * *v)" if sgd.nesterov else "*v"
            body += [f"    *v = {momentum} * *v + {g};", f"    *w -= lr * {step};"]
        v = sgd.momentum != 0
        descend = DESCEND.format(
            velocity="float *v, " * v, decay="float decay, " if decay else "", body="\n".join(body)
        )
        update = UPDATE.format(
            v_parameter="float *v," * v,
            v="v + i * inputs + j, " * v,
            v_bias="v + outputs * inputs + i, " * v,
            decay=f"{render_float(decay)}, " if decay else "",
            bias_decay=f"{render_float(decay * sgd.decay_bias)}, " if decay else "",
        )
        return update, descend

    def render_step(self):
        """Return the function of a step."""
        name, macro, depth = self.name, self.macro, len(self.layers)
        lines = [
            f"float {name}_train_step(const float *x, const {self.target} *y, int n, float lr)",
            "{",
            "    const float factor = n < 1 ? 0.0f : 1.0f / (float)n;",
            "    float loss = 0.0f;",
            "    int i, k;",
        ]
        if self.layers[-1].activation.name in SLOPE_CODE:
            lines.append(f"    float slope[{self.sizes[-1]}];")
        sloped = [
            size for l, size in enumerate(self.sizes[1:-1])
            if l >= self.first_trained and self.layers[l].activation.name in SLOPE_CODE
        ]  # fmt: skip
        if sloped:
            lines.append(f"    float gradient[{max(sloped)}];")
        lines += [
            f"    if (n < 1 || n > {macro}_MAX_BATCH)",
            "        return -1.0f;",
            "    for (k = 0; k < n; k++) {",
        ]
        for l in range(depth):
            lines += self.render_forward(l)
        lines += self.render_loss()
        for l in range(depth - 1, self.first_trained, -1):
            lines += self.render_backward(l)
        lines.append("    }")
        for l in range(self.first_trained, depth):
            if not self.frozen[l]:
                lines += self.render_update_call(l)
        if self.has_first_step:
            lines.append("    has_velocity = 1;")
        if all(self.frozen):
            lines.append("    (void)lr;")
        return "\n".join([*lines, "    return loss * factor;", "}", ""])

    def is_last(self, l):
        """Return whether layer l is the output layer."""
        return l == len(self.layers) - 1

    def name_row(self, what, l):
        """Return the row of sample k in a buffer of layer l; layer -1 is the input."""
        return f"{'x' if l < 0 else f'{what}_{l}'} + k * {self.sizes[l + 1]}"

    def name_slope(self, l):
        """Return the element for the derivative of output i of layer l.

        A hidden layer stores it in the buffer of the gradients, which `render_backward` replaces.
        """
        return "slope[i]" if self.is_last(l) else f"deltas_{l}[k * {self.sizes[l + 1]} + i]"

    def render_forward(self, l):
        """Return the lines that compute the outputs of layer l, and slopes, for sample k.

        A head that is fused with the loss computes its activation in `render_loss`.
        """
        outputs, inputs = self.layers[l].weight.shape
        activation, row = self.layers[l].activation, self.name_row("outputs", l)
        arguments = f"{self.name_row('outputs', l - 1)}, {row}, weight_{l}, bias_{l}"
        lines = [f"        layer({arguments}, {inputs}, {outputs});"]
        if activation.name == "identity" or (self.is_last(l) and self.fused):
            return lines
        if activation.name == "softmax":
            return [*lines, f"        softmax({row}, {outputs});"]
        lines += [
            f"        for (i = 0; i < {outputs}; i++) {{",
            f"            float *const to = {row} + i;",
            "            const float z = *to;",
        ]
        if activation.name in SLOPE_CODE and (l >= self.first_trained or self.is_last(l)):
            lines.append(f"            {self.name_slope(l)} = {SLOPE_CODE[activation.name]};")
        code = ACTIVATION_CODE[activation.name].format(k=render_float(activation.parameter))
        return [*lines, f"            *to = {code};", "        }"]

    def render_target(self):
        """Return the expression of the target of output i of sample k."""
        n, loss = self.sizes[-1], self.loss
        if not self.has_labels:
            value = f"y[k * {n} + i]"
        else:
            value = "(float)y[k]" if n == 1 else "(y[k] == i ? 1.0f : 0.0f)"
        if loss.name in ("cross_entropy", "binary_cross_entropy") and loss.parameter:
            classes = n if loss.name == "cross_entropy" else 2
            kept, added = render_float(1 - loss.parameter), render_float(loss.parameter / classes)
            return f"{value} * {kept} + {added}"
        return value

    def render_loss(self):
        """Return the lines that add the loss of sample k and compute its gradient."""
        l, n = len(self.layers) - 1, self.sizes[-1]
        row, deltas = self.name_row("outputs", l), self.name_row("deltas", l)
        lines = [f"        for (i = 0; i < {n}; i++)"]
        if self.fused:
            return [
                *lines,
                f"            deltas_{l}[k * {n} + i] = {self.render_target()};",
                f"        loss += {self.fused}({row}, {deltas}, {n}, factor);",
            ]
        value, gradient = (
            code.format(n=render_float(n), k=render_float(self.loss.parameter))
            for code in LOSS_CODE[self.loss.name]
        )
        is_softmax = self.layers[l].activation.name == "softmax"
        derivative = None if is_softmax else self.render_derivative(l)
        product = f" * ({derivative})" if derivative else ""
        lines = [
            lines[0] + " {",
            f"            const float a = ({row})[i], t = {self.render_target()};",
            f"            loss += {value};",
            f"            deltas_{l}[k * {n} + i] = ({gradient}) * factor{product};",
            "        }",
        ]
        return [*lines, f"        softmax_backward({row}, {deltas}, {n});"] if is_softmax else lines

    def render_derivative(self, l):
        """Return the expression of the derivative of output i of layer l; None for identity."""
        activation = self.layers[l].activation
        if activation.name in SLOPE_CODE:
            return self.name_slope(l)
        code = DERIVATIVE_CODE[activation.name]
        return code and code.format(k=render_float(activation.parameter))

    def render_backward(self, l):
        """Return the lines that compute the gradients of layer l - 1 for sample k."""
        outputs, inputs = self.layers[l].weight.shape
        derivative, target = self.render_derivative(l - 1), f"deltas_{l - 1}[k * {inputs} + i]"
        is_sloped = self.layers[l - 1].activation.name in SLOPE_CODE
        # The buffer of the gradients holds the slopes until they are multiplied.
        to = "gradient" if is_sloped else self.name_row("deltas", l - 1)
        lines = [
            f"        backpropagate({self.name_row('deltas', l)}, {to}, weight_{l}, {inputs}, "
            f"{outputs});"
        ]
        if is_sloped:
            lines += [
                f"        for (i = 0; i < {inputs}; i++)", f"            {target} *= gradient[i];",
            ]  # fmt: skip
        elif derivative:
            lines += [
                f"        for (i = 0; i < {inputs}; i++) {{",
                f"            const float a = outputs_{l - 1}[k * {inputs} + i];",
                f"            {target} *= {derivative};" if " " not in derivative
                else f"            {target} *= ({derivative});",
                "        }",
            ]  # fmt: skip
        return lines

    def render_update_call(self, l):
        """Return the lines that update layer l."""
        outputs, inputs = self.layers[l].weight.shape
        source = "x" if l == 0 else f"outputs_{l - 1}"
        velocity = f"velocity + {self.offsets[l]}, " if self.optimizer.momentum else ""
        arguments = f"{source}, deltas_{l}, n, weight_{l}, bias_{l}, {velocity}"
        return [f"    update({arguments}{inputs}, {outputs}, lr);"]

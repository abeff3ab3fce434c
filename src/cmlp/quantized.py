"""`QuantizedNetwork`: a multilayer perceptron of 8-bit integers, which only predicts."""

import copy

import numpy as np

from cmlp import formats
from cmlp._core.inputs import Rows
from cmlp._core.quantized import accumulate_metrics
from cmlp._model.attributes import TaskAttributes
from cmlp._model.quantized import QuantizedState
from cmlp._training.prediction_methods import PredictionMethods
from cmlp._utils.validation import look_up
from cmlp.metrics import Metrics

# Methods of `Network` that a quantized network does not have.
TRAINING_METHODS = frozenset((
    "backprop", "backward", "evaluate", "fit", "partial_fit", "quantize", "resume", "train",
    "update_mini_batch",
))  # fmt: skip


class QuantizedNetwork(TaskAttributes, PredictionMethods):
    """A multilayer perceptron of 8-bit integers, which only predicts.

    `Network.quantize` makes one, and `load` reads one from a file. It has the methods of `Network`
    for predictions and the same tasks. Integer sums are exact: results have the same bits for any
    number of threads, and, unless an activation other than identity, relu, leaky_relu and hard_tanh
    or a layer normalization is computed, on every instruction set.

    Parameters
    ----------
    state : QuantizedState
        Used in place.

    Attributes
    ----------
    size : list of int
        Number of inputs, then number of units of each layer.
    num_layers : int
        Number of layers with weights.
    layers : tuple of QuantizedLayer
        Integers and scales of each layer: ``weight`` (int8), ``weight_scale``, ``bias`` (int32),
        ``inputs.scale`` and ``inputs.zero_point``. The arrays are read-only.
    activation, output, loss : tuple of str, str, str
    task : {"binary", "multiclass", "multilabel", "regression"}
        As in `Network`; it may be assigned to.
    is_classifier : bool
    score_name : str
        The metric that `score` returns.
    dtype : numpy.dtype
        float32, the type of the outputs, also if the network that was quantized has float64.
    state : QuantizedState

    Raises
    ------
    TypeError
        If `state` is another object.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import SGD, Network
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> net = Network([2, 8, 1], activation="tanh", loss="binary_cross_entropy", seed=0)
    >>> history = net.fit(X, [0, 1, 1, 0], epochs=2000, batch_size=4, optimizer=SGD(lr=0.5))
    >>> small = net.quantize(X)
    >>> small.predict(X)
    array([0, 1, 1, 0])
    """

    __slots__ = ("__weakref__", "_has_probabilities", "_program", "state")

    def __init__(self, state):
        if not isinstance(state, QuantizedState):
            raise TypeError(
                "state must be a QuantizedState, as Network.quantize(X) and "
                f"QuantizedNetwork.load(path) make it; got {type(state).__name__}"
            )
        self.state = state
        self._program, self._has_probabilities = state.program, state.architecture.has_probabilities

    def __getattr__(self, name):
        # Called for missing attributes only.
        hint = ""
        if name in TRAINING_METHODS:
            hint = "; it only predicts: train the Network and quantize it again"
        elif name == "forward":
            hint = "; call the network, with samples as rows"
        elif name in ("weight", "bias"):
            hint = f"; layers[0].{name} has the integers of the first layer"
        raise AttributeError(f"QuantizedNetwork has no attribute {name!r}{hint}")

    @property
    def num_layers(self):
        """Number of layers with weights."""
        return len(self.state.layers)

    @property
    def layers(self):
        """The layers' integers and scales, a tuple of QuantizedLayer."""
        return self.state.layers

    @property
    def activation(self):
        """Names of the hidden layers' activations, a tuple."""
        return tuple(layer.activation.name for layer in self.state.layers[:-1])

    @property
    def output(self):
        """Name of the last layer's activation."""
        return self.state.architecture.output.name

    @property
    def loss(self):
        """Name of the loss that the network was trained with."""
        return self.state.architecture.loss.name

    @property
    def dtype(self):
        """The type of the outputs: float32."""
        return self.state.architecture.dtype

    def _infer(self, rows, threads, tick=None):
        # Return the outputs, or None if X is not finite.
        out = np.empty((len(rows), self.state.architecture.outputs), self.dtype)
        if len(rows) and not self._program.infer(rows, out, threads, tick=tick):
            return None
        if (row := Rows(out).find_not_finite(self.dtype)) >= 0:
            raise ValueError(
                f"X must lead to outputs within the range of {self.dtype}; those of row {row} are "
                "not finite"
            )
        return out

    def _evaluate(self, rows, targets, values, names, threads):
        architecture, outputs = self.state.architecture, self._infer(rows, threads)
        metrics = Metrics(names, self.task, architecture.targets)
        accumulate_metrics(architecture.output, architecture.loss, outputs, targets, metrics.sums)
        return metrics

    def summary(self):
        """Print a table of the layers, the scales of their inputs, and the bytes of the arrays."""
        lines = [f"{'layer':<8}{'shape':<16}{'activation':<14}{'scale of inputs':>16}"
                 f"{'zero point':>12}{'bytes':>12}"]  # fmt: skip
        total = 0
        for l, layer in enumerate(self.layers):
            count = layer.weight.nbytes + layer.weight_scale.nbytes + layer.bias.nbytes
            total += count
            outputs, inputs = layer.weight.shape
            shape = f"{inputs} -> {outputs}"
            lines.append(
                f"{l + 1:<8}{shape:<16}{layer.activation.name:<14}{layer.inputs.scale:>16.6g}"
                f"{layer.inputs.zero_point:>12}{count:>12,}"
            )
        lines.append(
            f"{self.task}, 8-bit integers, calibrated by {self.state.method}, {total:,} bytes"
        )
        print("\n".join(lines))

    def copy(self):
        """Return an independent copy."""
        return copy.deepcopy(self)

    def save(self, path):
        """Write the network to a file, which `load` reads; an existing file is replaced atomically.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.npz`` or, with the package safetensors, ``.safetensors``.

        Raises
        ------
        ValueError
            If the path has another extension.
        """
        formats.get_native_format(path).write(self.state, path)

    @classmethod
    def load(cls, path, *, loss=None):
        """Read a network that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike
        loss : callable, optional
            The network's loss if it was a callable, which files do not store.

        Raises
        ------
        ValueError
            If the file is not a quantized network; the message names the file and the reason.
        FileNotFoundError
            If the file does not exist.
        """
        state = formats.get_native_format(path, for_reading=True).read(path, loss=loss)
        if not isinstance(state, QuantizedState):
            raise ValueError(
                f"{path} is a network that is not quantized; use Network.load(path).quantize(X)"
            )
        return cls(state)

    def to_onnx(self, path, *, opset=17, input_dtype="float32", labels=None):
        """Write the network as an ONNX model of 8-bit integers (the extra ``onnx``).

        Nodes QuantizeLinear and DequantizeLinear state the integers of all layers' inputs, weights
        and biases, from which a runtime that supports it selects integer products.

        Parameters
        ----------
        path, opset, labels
            As in `Network.to_onnx`.
        input_dtype : {"float32", "uint8"}, default "float32"
            With uint8 the model reads bytes, which mean their 255th part.

        Raises
        ------
        ValueError
            If an argument does not fit.
        ImportError
            If the package onnx is not installed.
        """
        formats.get_format("onnx").write(
            self.state, path, opset=opset, input_dtype=input_dtype, labels=labels
        )

    def to_c(self, path, *, name="model", weights="int8", own_math=False, arithmetic="float32"):
        """Write the network as one self-contained C99 file with a header beside it.

        The functions are those of `Network.to_c`. The file computes with the same integers as this
        network; weights take one byte each, and activations between layers too.

        With ``arithmetic="int8"`` the file has no floating-point operation: the factors between
        the integers of two layers are integers with a shift (Jacob et al., "Quantization and
        training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018,
        section 2.2). ``void NAME_predict(const uint8_t *x, int32_t *y)`` reads and writes integers
        whose scales and zero points are constants of the header. An integer between two layers may
        differ by 1 from that of this network where the rounding is close.

        Parameters
        ----------
        path, name, own_math
            As in `Network.to_c`. `own_math` has no effect on integer arithmetic.
        weights : {"int8"}, default "int8"
            The network has no others; for calls that suit `Network.to_c` too.
        arithmetic : {"float32", "int8"}, default "float32"
            The type of the numbers between the integers of two layers.

        Raises
        ------
        ValueError
            If an argument does not fit, or integers cannot express a layer, such as a layer
            normalization, which the message names.
        """
        look_up("weights", weights, {"int8": None})
        formats.get_format("c").write(
            self.state, path, name=name, own_math=own_math, arithmetic=arithmetic
        )

    def to_html(self, path, *, kind=None, shape=None, labels=None, names=None, ranges=None,
                values=None, title=None, center=None, pixels=None):  # fmt: skip
        """Write the network as one self-contained web page, which computes the same integers.

        Parameters
        ----------
        path, kind, shape, labels, names, ranges, values, title, center, pixels
            As in `Network.to_html`.

        Raises
        ------
        TypeError, ValueError, FileNotFoundError
            As in `Network.to_html`.
        """
        formats.get_format("html").write(
            self.state, path, kind=kind, shape=shape, labels=labels, names=names, ranges=ranges,
            values=values, title=title, center=center, pixels=pixels,
        )  # fmt: skip

    def __reduce__(self):
        return type(self), (self.state,)

    def __repr__(self):
        return f"{type(self).__name__}({self.state.architecture})"

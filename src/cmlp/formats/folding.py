"""A network in the form that exports use: encoders, then dense layers with batch norms folded in.

Noise and dropout act in training only, so exports leave them out.
"""

from dataclasses import dataclass, replace

import numpy as np

from cmlp._model.architecture import Architecture
from cmlp._model.layers import Dense, Encoder
from cmlp._model.state import ModelState
from cmlp.activations import Activation
from cmlp.formats.finite import check_finite
from cmlp.normalizations import BatchNorm, LayerNorm


@dataclass
class FoldedLayer:
    """A dense layer for prediction.

    Without layer normalization it computes ``activation(x W^T + bias)``; with it,
    ``activation(scale * normalize(x W^T) + bias)``.

    Attributes
    ----------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs,)
    activation : cmlp.activations.Activation
    scale : ndarray of float64, shape (outputs,), or None
        None without layer normalization.
    eps : float
        Added to the variance by the layer normalization.
    alpha : ndarray of float64, shape (outputs,), or None
        Factors of a parametric activation.
    """

    weight: np.ndarray
    bias: np.ndarray
    activation: Activation
    scale: np.ndarray | None = None
    eps: float = 0.0
    alpha: np.ndarray | None = None


class FoldedEncoder:
    """An input layer for prediction: it replaces some columns and copies the others.

    Parameters
    ----------
    layer : Encoder
    inputs : int
        Number of columns that it reads.
    values : dict from str to ndarray of float64
        Its tensors by name, in the shapes that the classes of `cmlp.layers` document.
    number : int
        Index of the layer among the layers of its kind.

    Attributes
    ----------
    outputs : int
        Number of columns that it computes.
    plan : ColumnPlan
    """

    def __init__(self, layer: Encoder, inputs, values, number):
        self.layer, self.inputs, self.values, self.number = layer, inputs, values, number
        self.outputs = layer.count_outputs(inputs)
        self.plan = layer.plan(inputs)

    def list_counts(self):
        """Return the number of outputs of each column that is replaced; a list of int."""
        counts = self.layer.count_column_outputs()
        return [counts] * len(self.plan.column) if isinstance(counts, int) else counts

    def compute_order(self):
        """Return the index of each output in [copied columns, computed columns].

        The computed columns come from the first replaced column, the second, and so on.

        Returns
        -------
        ndarray of int64, shape (outputs,)
        """
        plan, order = self.plan, np.empty(self.outputs, np.int64)
        order[plan.kept_target] = np.arange(len(plan.kept_target))
        first = len(plan.kept_target)
        for target, count in zip(plan.target, self.list_counts(), strict=True):
            order[target : target + count] = np.arange(first, first + count)
            first += count
        return order

    def stack_tables(self):
        """Return the vectors of an `Embedding`, with zeros for code 0 of each column.

        Returns
        -------
        table : ndarray, shape (categories and columns, dim)
        first : ndarray of int64, shape (columns,)
            Row of code 0 of each column.
        """
        first = self.plan.first_row + np.arange(len(self.plan.column))
        return np.insert(self.values["embedding"].T, self.plan.first_row, 0, axis=0), first

    def stack_maps(self):
        """Return the linear maps of a `Periodic`.

        Returns
        -------
        weight : ndarray, shape (columns, features, outputs of a map)
        bias : ndarray, shape (columns, outputs of a map)
        """
        weight, bias = self.values["periodic_weight"], self.values["periodic_bias"].T
        return weight.reshape(len(weight), *bias.shape).transpose(1, 0, 2), bias


def fold_encoders(state, dtype=np.float32):
    """Return the encoders of a network, in order.

    Parameters
    ----------
    state : ModelState
    dtype : numpy.dtype, default float32
        Of the export.

    Returns
    -------
    list of FoldedEncoder

    Raises
    ------
    ValueError
        If a parameter is not finite in `dtype`.
    """
    architecture = state.architecture
    columns, found, counts = architecture.inputs, [], {}
    for position, layer in enumerate(architecture.layers):
        if isinstance(layer, Encoder):
            tensors = {tensor: np.array(view, np.float64)
                       for tensor, view in state.parameters.views.items()
                       if tensor.layer == position}  # fmt: skip
            check_finite({tensor.key: array for tensor, array in tensors.items()}, dtype)
            values = {tensor.name: array for tensor, array in tensors.items()}
            number = counts[layer.kind] = counts.get(layer.kind, -1) + 1
            found.append(FoldedEncoder(layer, columns, values, number))
        columns = layer.count_outputs(columns)
    return found


def refuse_encoders(architecture, what):
    """Raise `ValueError` if a network has input layers.

    Parameters
    ----------
    architecture : Architecture
    what : str
        What does not support them, for the message.
    """
    if architecture.encoders:
        kinds = ", ".join(type(layer).__name__ for layer in architecture.encoders)
        raise ValueError(f"{what} does not support a network with input_layers; got {kinds}")


def fold_layers(state):
    """Return the dense layers that a network's predictions use.

    Parameters
    ----------
    state : ModelState

    Returns
    -------
    list of FoldedLayer

    Raises
    ------
    ValueError
        If a parameter is not finite, or is not in float32 after folding.
    """
    arrays = {name: np.array(array, np.float64) for name, array in state.to_arrays().items()}
    check_finite(arrays, np.float64)
    layers = []
    for l, dense in enumerate(state.architecture.dense):
        layer = FoldedLayer(arrays[f"weight_{l}"], arrays[f"bias_{l}"][:, 0], dense.activation)
        if isinstance(dense.normalization, BatchNorm):
            mean = arrays[f"running_mean_{l}"][:, 0]
            variance = arrays[f"running_variance_{l}"][:, 0]
            gain = arrays[f"scale_{l}"][:, 0] / np.sqrt(variance + dense.normalization.eps)
            layer.weight = layer.weight * gain[:, None]
            layer.bias = layer.bias - mean * gain
        elif isinstance(dense.normalization, LayerNorm):
            layer.scale = arrays[f"scale_{l}"][:, 0]
            layer.eps = dense.normalization.eps
        if dense.activation.parametric:
            layer.alpha = arrays[f"alpha_{l}"][:, 0]
        names = {"weight": layer.weight, "bias": layer.bias, "scale": layer.scale,
                 "alpha": layer.alpha}  # fmt: skip
        check_finite({f"{n}_{l}": a for n, a in names.items() if a is not None}, np.float32)
        check_parameter(l, layer.activation)
        layers.append(layer)
    return layers


def check_parameter(l, activation):
    """Raise ValueError unless the parameter of a layer's activation is a number of float32."""
    with np.errstate(over="ignore", under="ignore"):
        stored = np.float32(activation.parameter)
    if not np.isfinite(stored) or (stored == 0) != (activation.parameter == 0):
        raise ValueError(
            f"the parameter of {activation.name} of layer {l} must be in the range of float32; "
            f"got {activation.parameter:g}"
        )


def fold_batch_norms(state):
    """Return a copy of a state whose batch normalizations are folded into weights and biases."""
    arrays = {name: np.array(array, np.float64) for name, array in state.to_arrays().items()}
    layers, number = list(state.architecture.layers), 0
    folded = fold_layers(state)
    for position, layer in enumerate(layers):
        if isinstance(layer, Dense):
            if isinstance(layer.normalization, BatchNorm):
                layers[position] = replace(layer, normalization=None)
                arrays[f"weight_{number}"] = folded[number].weight
                arrays[f"bias_{number}"] = folded[number].bias[:, None]
            number += 1
    return rebuild(state, state.architecture.inputs, layers, arrays)


def rebuild(state, inputs, layers, arrays, loss=None):
    """Return a state with other layers and arrays, the task of `state`, and its loss or another."""
    old = state.architecture
    check_finite(arrays, old.dtype)
    architecture = Architecture.from_layers(
        inputs, layers, loss=loss or old.loss, init=old.init, dtype=old.dtype, seed=old.seed,
        compute_dtype=old.compute_dtype,
    )  # fmt: skip
    return ModelState.from_arrays(architecture, arrays, epoch=state.epoch, task=state.task)

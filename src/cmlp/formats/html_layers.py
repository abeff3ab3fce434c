"""The layers of a network as the web page's JavaScript reads them: fields for JSON, and arrays.

`web/network.js` has a function for each kind of layer, and a table of the activations.
"""

import math

import numpy as np

from cmlp._core.quantized import PIECEWISE_LINEAR
from cmlp._model.quantized import MAX_OPERAND, QuantizedState
from cmlp.formats.c_source import quantize
from cmlp.formats.folding import fold_encoders, fold_layers


class ArrayList:
    """The arrays of a page; fields refer to them by their index.

    Attributes
    ----------
    arrays : list of ndarray
        Of float32, int8 or int32, little-endian.
    """

    def __init__(self):
        self.arrays = []

    def add(self, values, dtype="<f4"):
        """Add an array; return the field that refers to it, or None for None."""
        if values is None:
            return None
        self.arrays.append(np.ascontiguousarray(values, dtype))
        return {"array": len(self.arrays) - 1}


def describe_network(state, arrays, is_int8=False):
    """Return the layers of a network, a list of dict.

    Parameters
    ----------
    state : ModelState or QuantizedState
    arrays : ArrayList
        The parameters are added to it.
    is_int8 : bool, default False
        Whether the weights of dense layers are 8-bit integers; those of a `QuantizedState` are in
        any case.

    Raises
    ------
    ValueError
        If a parameter is not finite in float32.
    """
    if isinstance(state, QuantizedState):
        return [describe_quantized(state, l, arrays) for l in range(len(state.layers))]
    encoders = [describe_encoder(encoder, arrays) for encoder in fold_encoders(state)]
    return encoders + [describe_dense(layer, arrays, is_int8) for layer in fold_layers(state)]


def describe_activation(activation, alpha, arrays):
    """Return the fields of an activation and its learned factors."""
    learned = None
    if activation.base is not None:
        learned = "prelu" if activation.name == "prelu" else "blend"
    base = activation.base or activation
    return {"activation": base.name, "parameter": base.parameter, "learned": learned,
            "alpha": arrays.add(alpha)}  # fmt: skip


def describe_dense(layer, arrays, is_int8):
    """Return the fields of a `FoldedLayer`."""
    step, weight = quantize(layer.weight) if is_int8 else (None, layer.weight)
    return {
        "kind": "dense",
        "weight": arrays.add(weight, "<i1" if is_int8 else "<f4"),
        "step": arrays.add(step),
        "bias": arrays.add(layer.bias),
        "scale": arrays.add(layer.scale),
        "eps": layer.eps,
        **describe_activation(layer.activation, layer.alpha, arrays),
    }


def describe_quantized(state, l, arrays):
    """Return the fields of layer l of a `QuantizedState`; see `formats.c_quantized`."""
    layer = state.layers[l]
    is_direct = l < len(state.layers) - 1 and layer.is_piecewise_linear
    following = state.layers[l + 1].inputs if is_direct else None
    normalization = layer.normalization
    fields = {
        "kind": "quantized",
        "input": {"inverse": layer.inputs.inverse, "zeroPoint": layer.inputs.zero_point},
        "next": None,
        "weight": arrays.add(layer.weight, "<i1"),
        "start": arrays.add(layer.compute_start(), "<i4"),
        "factor": arrays.add(layer.compute_factor(following)),
        "scale": arrays.add(normalization and normalization.scale),
        "shift": arrays.add(normalization and normalization.shift),
        "eps": normalization.eps if normalization else 0.0,
        **describe_activation(layer.activation, None, arrays),
    }
    if is_direct:
        slope, low, high = PIECEWISE_LINEAR[layer.activation.name](layer.activation.parameter)
        zero = following.zero_point
        bounds = (
            max(-zero, low * following.inverse),
            min(MAX_OPERAND - zero, high * following.inverse),
        )
        slope, low, high = (float(np.float32(value)) for value in (slope, *bounds))
        fields["next"] = {"slope": slope, "low": low, "high": high, "zeroPoint": zero,
                          "scale": following.scale}  # fmt: skip
    return fields


def describe_encoder(encoder, arrays):
    """Return the fields of a `FoldedEncoder`."""
    layer, plan, values = encoder.layer, encoder.plan, encoder.values
    if layer.kind == "scale":
        return {"kind": "scale", "factor": arrays.add(values["input_scale"].ravel())}
    fields = {
        "kind": layer.kind,
        "size": encoder.outputs,
        "kept": plan.kept_column.tolist(),
        "keptTo": plan.kept_target.tolist(),
        "from": plan.column.tolist(),
        "to": plan.target.tolist(),
    }
    if layer.kind != "periodic":
        fields["categories"] = plan.categories.tolist()
    if layer.kind == "embedding":
        fields |= {"dim": layer.dim, "table": arrays.add(values["embedding"].T)}
    if layer.kind == "periodic":
        weight, bias = encoder.stack_maps()
        phase = values["phase"].T / (2 * np.pi) if layer.has_phases else None
        fields |= {
            "frequencies": layer.frequencies,
            "outputs": layer.outputs_per_column,
            "frequency": arrays.add(values["frequency"].T),
            "phase": arrays.add(phase),
            "weight": arrays.add(weight.transpose(0, 2, 1)),
            "bias": arrays.add(bias),
            "rectifies": layer.rectifies,
            "keepsValue": layer.keeps_value,
        }
    return fields


def describe_head(state):
    """Return the fields that lead from a network's outputs to its predictions.

    Parameters
    ----------
    state : ModelState or QuantizedState
    """
    architecture, loss = state.architecture, state.architecture.loss
    is_classifier = state.is_classifier
    return {
        "isClassifier": is_classifier,
        "task": state.task,
        "hasProbabilities": is_classifier and architecture.has_probabilities,
        "threshold": architecture.decision_threshold,
        "temperature": 1.0,
        "targets": loss.count_targets(architecture.outputs),
        "logLink": loss.log_link,
        "nonCrossing": loss.non_crossing,
        "quantiles": list(loss.quantiles) if len(loss.quantiles) > 1 else [],
        "leastLogarithm": math.log(loss.parameter) if loss.has_std else None,
        "unit": None,
    }

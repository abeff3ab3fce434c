"""The table of a network's layers that notebooks show."""

from html import escape

from cmlp._model.description import describe_layers
from cmlp._model.quantized import QuantizedState
from cmlp._utils.html import (
    format_number,
    render_box,
    render_details,
    render_table,
    render_values,
)

COLUMNS = ("layer", "kind", "inputs → units", "activation", "normalization", "dropout",
           "parameters", "bytes")  # fmt: skip

NUMERIC = {"layer", "inputs → units", "dropout", "parameters", "bytes"}


def render_network(name, state):
    """Return the HTML of a network.

    Parameters
    ----------
    name : str
        Its class.
    state : ModelState or QuantizedState
    """
    architecture, layers = state.architecture, describe_layers(state)
    is_quantized = isinstance(state, QuantizedState)
    rows = [
        [
            "" if layer.dense_index is None else layer.dense_index, layer.kind,
            f"{layer.inputs:,} → {layer.outputs:,}", layer.activation, layer.normalization,
            f"{layer.dropout:g}" if layer.dropout else "", f"{layer.parameters:,}",
            f"{layer.nbytes:,}",
        ]
        for layer in layers
    ]  # fmt: skip
    sizes = " → ".join(f"{size:,}" for size in architecture.sizes)
    total = sum(layer.parameters for layer in layers)
    nbytes = sum(layer.nbytes for layer in layers)
    dtype = "8-bit integers" if is_quantized else architecture.dtype.name
    text = (f"{state.task}, loss {architecture.loss.name}, {dtype}, {total:,} parameters, "
            f"{nbytes:,} bytes")  # fmt: skip
    body = f"<p>{escape(text)}</p>"
    body += render_table(COLUMNS, rows, NUMERIC)
    body += render_details("Details", "", render_values(list_details(state, layers)), False)
    is_trained = is_quantized or state.training is not None or state.epoch > 0
    return render_box(render_details(name, sizes, body, True), is_trained)


def list_details(state, layers):
    """Return the arguments and records that are not in the table, a dict from name to value."""
    architecture = state.architecture
    found = {"loss": architecture.loss.header, "init": architecture.init}
    if isinstance(state, QuantizedState):
        found["calibration"] = state.method
        found |= {
            f"inputs of layer {l}": f"scale {layer.inputs.scale:.6g}, zero point "
            f"{layer.inputs.zero_point}" for l, layer in enumerate(state.layers)
        }  # fmt: skip
    else:
        found["seed"] = architecture.seed
        found |= {"compute_dtype": architecture.compute_dtype} if architecture.rounds else {}
        found["epochs trained"] = state.epoch
    if architecture.max_norm is not None:
        found["max_norm"] = architecture.max_norm
    for i, layer in enumerate(layer for layer in layers if layer.detail):
        found[f"input layer {i}"] = layer.detail
    for name, value in (state.training or {}).items():
        found[f"last training: {name}"] = format_number(value)
    return found

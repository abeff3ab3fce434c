"""Networks of 8-bit integers in native files: the header's section ``quantization``.

The header has the other keys of the network that was quantized, too.
"""

from cmlp._model.quantized import METHODS, QuantizedState, Quantizer
from cmlp._utils.schema import Fields, Group, Integer, Items, Real, Text

SECTION = Fields(
    {"method": Text(METHODS), "inputs": Items(Group([Real(0.0), Integer(0, 255)]))},
    {},
)


def pack_quantized(state):
    """Return a `QuantizedState` as a header and named arrays; see `archive.pack`."""
    architecture = state.architecture
    header = {
        **architecture.header,
        "epoch": 0,
        "training": state.training,
        "quantization": {
            "method": state.method,
            "inputs": [[layer.inputs.scale, layer.inputs.zero_point] for layer in state.layers],
        },
    }
    if state.task != architecture.tasks[0]:
        header["task"] = state.task
    return header, state.to_arrays()


def unpack_quantized(reader, architecture, task, training):
    """Return the `QuantizedState` that a file stores.

    Parameters
    ----------
    reader : ArchiveReader
    architecture : Architecture
    task : str or None
    training : dict or None

    Raises
    ------
    ValueError
        If the contents of the file are invalid.
    """
    arrays = {
        name: reader.read(name, shape, dtype)
        for name, (shape, dtype) in QuantizedState.list_shapes(architecture).items()
    }
    reader.check_all_read()
    if task not in architecture.tasks:  # another loss
        task = None
    try:
        section = SECTION.check("quantization", reader.header["quantization"])
        quantizers = [Quantizer(*values) for values in section["inputs"]]
        return QuantizedState.from_arrays(
            architecture, arrays, quantizers, section["method"], task=task, training=training
        )
    except (TypeError, ValueError) as error:
        raise reader.make_error(error) from None

"""`NetworkLayer`: a layer of a network with its parameters; and networks made of such layers."""

from cmlp._model.architecture import Architecture, resolve_dtype
from cmlp._model.layers import Dense, Layer
from cmlp._model.state import ModelState
from cmlp._utils.validation import convert_dtype, to_list
from cmlp.losses import choose_default_loss


class NetworkLayer:
    """A layer of a network: its specification, and views of its parameters and statistics.

    Parameters
    ----------
    state : ModelState
        Of the network.
    position : int
        Index of the layer in the architecture.
    inputs : int
        Number of columns that it reads.

    Attributes
    ----------
    specification : Layer
        `cmlp.layers.Dense` or another class of that module.
    inputs, outputs : int
        Numbers of columns that the layer reads and computes.
    frozen : bool
        Whether training leaves it as it is.
    arrays : dict from str to ndarray
        All of its parameters and running statistics by name; views.
    weight, bias, scale, alpha, running_mean, running_variance : ndarray or None
        Items of `arrays`.
    """

    def __init__(self, state, position, inputs):
        self.state, self.position, self.inputs = state, position, inputs

    @property
    def specification(self):
        """The layer's specification."""
        return self.state.architecture.layers[self.position]

    @property
    def outputs(self):
        """Number of columns that the layer computes."""
        return self.specification.count_outputs(self.inputs)

    @property
    def frozen(self):
        """Whether training leaves the layer as it is."""
        return self.specification.frozen

    @property
    def arrays(self):
        """The parameters and running statistics by name, a dict of views."""
        views = {**self.state.parameters.views, **self.state.statistics.views}
        return {tensor.name: view for tensor, view in views.items()
                if tensor.layer == self.position}  # fmt: skip

    weight = property(lambda self: self.arrays.get("weight"))
    bias = property(lambda self: self.arrays.get("bias"))
    scale = property(lambda self: self.arrays.get("scale"))
    alpha = property(lambda self: self.arrays.get("alpha"))
    running_mean = property(lambda self: self.arrays.get("running_mean"))
    running_variance = property(lambda self: self.arrays.get("running_variance"))

    @property
    def is_last(self):
        """Whether it is its network's last layer."""
        return self.position == len(self.state.architecture.layers) - 1

    def __repr__(self):
        return f"<{describe_layer(self.specification, self.inputs)}>"


def list_layers(state):
    """Return all layers of a network in order; a list of `NetworkLayer`."""
    layers, columns = [], state.architecture.inputs
    for position, specification in enumerate(state.architecture.layers):
        layers.append(NetworkLayer(state, position, columns))
        columns = specification.count_outputs(columns)
    return layers


def describe_layer(layer, inputs):
    """Return the kind, the sizes and the options of a layer's specification as text."""
    sizes = f"{type(layer).__name__} {inputs} -> {layer.count_outputs(inputs)}"
    if not isinstance(layer, Dense):
        return sizes + (", frozen" if layer.frozen else "")
    options = [layer.label]
    if layer.normalization is not None:
        options.append(repr(layer.normalization))
    if layer.dropout:
        options.append(f"dropout={layer.dropout:g}")
    if layer.frozen:
        options.append("frozen")
    return f"{sizes}, {', '.join(options)}"


def build_state(layers, *, inputs=None, loss=None, init="auto", dtype=None, seed=None,
                compute_dtype=None):  # fmt: skip
    """Return the state of a network of given layers; see `cmlp.Network.from_layers`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    layers = to_list("layers", layers, "layers")
    for i, layer in enumerate(layers):
        if not isinstance(layer, (NetworkLayer, Layer)):
            raise TypeError(
                f"layers[{i}] must be a layer of a network, as in net.layers, or of cmlp.layers; "
                f"got {layer!r}"
            )
    if not layers:
        raise ValueError("layers must have at least one layer; got none")
    used = [layer for layer in layers if isinstance(layer, NetworkLayer)]
    inputs = choose_inputs(layers[0], inputs)
    check_sizes(layers, inputs)
    last, dtype = layers[-1], choose_dtype(used, dtype)
    ends_network = isinstance(last, NetworkLayer) and last.is_last
    specifications = [get_specification(layer) for layer in layers]
    if loss is None:
        loss = last.state.architecture.loss if ends_network else choose_default_loss(
            getattr(specifications[-1], "label", "")
        )  # fmt: skip
    if compute_dtype is None and used and dtype == "float32":
        names = {layer.state.architecture.compute_dtype for layer in used}
        compute_dtype = names.pop() if names == {"bfloat16"} else None
    architecture = Architecture.from_layers(
        inputs, specifications, loss=loss, init=init, dtype=dtype, seed=seed,
        compute_dtype=compute_dtype,
    )  # fmt: skip
    state = ModelState.initialize(architecture)
    for layer, target in zip(layers, list_layers(state), strict=True):
        if isinstance(layer, NetworkLayer):
            for name, view in target.arrays.items():
                view[:] = convert_dtype(name, layer.arrays[name], architecture.dtype)
    if ends_network and last.state.task in architecture.tasks:
        state.task = last.state.task
    return state


def get_specification(layer):
    """Return the specification of a `NetworkLayer`, or a specification as it is."""
    return layer.specification if isinstance(layer, NetworkLayer) else layer


def choose_inputs(first, inputs):
    """Return the number of columns that the first layer reads."""
    if isinstance(first, NetworkLayer):
        if inputs not in (None, first.inputs):
            raise ValueError(
                f"inputs must be {first.inputs}, the inputs of layers[0], {first!r}; got {inputs!r}"
            )
        return first.inputs
    if inputs is None:
        raise ValueError(
            "inputs must be a whole number if layers[0] is not a layer of a network; got None and "
            f"layers[0]={first!r}"
        )
    return inputs


def choose_dtype(used, dtype):
    """Return the dtype; by default all layers of networks must have the same."""
    names = sorted({layer.state.architecture.dtype.name for layer in used})
    if dtype is None and len(names) > 1:
        raise ValueError(f"dtype must be given for layers of {' and '.join(names)}; got None")
    return resolve_dtype(dtype or (names[0] if names else "float32"))


def check_sizes(layers, columns):
    """Raise `ValueError` unless each layer can read the outputs of the one before."""
    before = "the network's input"
    for i, layer in enumerate(layers):
        specification = get_specification(layer)
        if isinstance(layer, NetworkLayer) and layer.inputs != columns:
            raise ValueError(
                f"layers[{i}], {layer!r}, must read the {columns} outputs of {before}; it reads "
                f"{layer.inputs}"
            )
        if isinstance(specification, Dense):
            is_hidden = specification.activation.hidden
            if i < len(layers) - 1 and not is_hidden:
                raise ValueError(
                    f"layers[{i}], <{describe_layer(specification, columns)}>, must be the last "
                    f"because of its activation; layers[{i + 1}] follows"
                )
        elif hasattr(specification, "check_inputs"):
            specification.check_inputs(columns)
        before = f"layers[{i}], <{describe_layer(specification, columns)}>"
        columns = specification.count_outputs(columns)

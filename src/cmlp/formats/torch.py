"""PyTorch modules: `torch.nn.Sequential` of dense layers."""

import numpy as np

from cmlp.activations import ACTIVATIONS, celu, elu, leaky_relu, parametric, prelu
from cmlp.formats.builder import SequenceBuilder
from cmlp.formats.finite import check_finite
from cmlp.formats.folding import fold_encoders
from cmlp.normalizations import BatchNorm, LayerNorm

# Activation -> name of the module in torch.nn, and its arguments for the activation's parameter k.
MODULES = {
    "identity": ("Identity", lambda k: {}),
    "sigmoid": ("Sigmoid", lambda k: {}),
    "hard_sigmoid": ("Hardsigmoid", lambda k: {}),
    "tanh": ("Tanh", lambda k: {}),
    "hard_tanh": ("Hardtanh", lambda k: {}),
    "relu": ("ReLU", lambda k: {}),
    "leaky_relu": ("LeakyReLU", lambda k: {"negative_slope": k}),
    "elu": ("ELU", lambda k: {"alpha": k}),
    "selu": ("SELU", lambda k: {}),
    "celu": ("CELU", lambda k: {"alpha": k}),
    "gelu": ("GELU", lambda k: {}),
    "gelu_tanh": ("GELU", lambda k: {"approximate": "tanh"}),
    "silu": ("SiLU", lambda k: {}),
    "mish": ("Mish", lambda k: {}),
    "softplus": ("Softplus", lambda k: {}),
    "softsign": ("Softsign", lambda k: {}),
    "softmax": ("Softmax", lambda k: {"dim": 1}),
}

# Module -> arguments that must have these values, as cmlp's activation has no such parameter.
FIXED_ARGUMENTS = {
    "Hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "Softplus": {"beta": 1.0, "threshold": 20.0},
}

# Modules that do not change a prediction for rows.
IGNORED = ("Flatten", "Identity")

ACTIVATION_MODULES = {module[0]: activation for activation, module in MODULES.items() if module}

SUPPORTED = (
    "Linear, BatchNorm1d (with running statistics), LayerNorm, Dropout, AlphaDropout, "
    f"{', '.join(IGNORED)} and the activations "
    f"{', '.join(name for name in ACTIVATION_MODULES if name not in IGNORED)} "
    "(Hardtanh and Softplus with default arguments)"
)


def write(state, target=None):
    """Return a module with the same outputs as the network; see `cmlp.Network.to_torch`.

    Parameters
    ----------
    state : ModelState
    target : None
        Not used.

    Returns
    -------
    torch.nn.Sequential
        In evaluation mode.

    Raises
    ------
    ValueError
        If a parameter is not finite.
    """
    import torch
    from torch import nn

    architecture, arrays = state.architecture, state.to_arrays()
    check_finite(arrays, architecture.dtype)
    dtype = getattr(torch, architecture.dtype.name)

    def convert(name):
        array = arrays[name]
        vector_or_matrix = array if name.startswith("weight") else array[:, 0]
        return torch.tensor(np.array(vector_or_matrix), dtype=dtype)

    modules = [nn.Dropout(architecture.input_dropout)] if architecture.input_dropout else []
    modules += [
        make_encoder(encoder, dtype) for encoder in fold_encoders(state, architecture.dtype)
    ]
    inputs = architecture.encoded_inputs
    for l, layer in enumerate(architecture.dense):
        normalization, first = layer.normalization, len(modules)
        linear = nn.Linear(inputs, layer.units, bias=normalization is None, dtype=dtype)
        linear.weight.data = convert(f"weight_{l}")
        modules.append(linear)
        if normalization is None:
            linear.bias.data = convert(f"bias_{l}")
        else:
            if isinstance(normalization, BatchNorm):
                module = nn.BatchNorm1d(
                    layer.units, normalization.eps, normalization.momentum, dtype=dtype
                )
                module.running_mean.data = convert(f"running_mean_{l}")
                module.running_var.data = convert(f"running_variance_{l}")
            else:
                module = nn.LayerNorm(layer.units, normalization.eps, dtype=dtype)
            module.weight.data, module.bias.data = convert(f"scale_{l}"), convert(f"bias_{l}")
            modules.append(module)
        alpha = convert(f"alpha_{l}") if layer.activation.parametric else None
        modules.append(make_activation(layer.activation, alpha))
        for module in modules[first:]:
            module.requires_grad_(not layer.frozen)
        if layer.dropout:
            modules.append(nn.Dropout(layer.dropout))
        inputs = layer.units
    return nn.Sequential(*modules).eval()


def make_encoder(encoder, dtype):
    """Return the module of a `FoldedEncoder`, with parameters of a dtype of PyTorch."""
    import torch

    from cmlp.formats import torch_modules

    layer, plan, values = encoder.layer, encoder.plan, encoder.values

    def convert(array):
        return torch.tensor(np.ascontiguousarray(array), dtype=dtype)

    if layer.kind == "scale":
        return torch_modules.Scale(convert(values["input_scale"][:, 0]))
    columns = plan.column, plan.kept_column, encoder.compute_order()
    if layer.kind == "one_hot":
        return torch_modules.OneHot(plan.categories.tolist(), *columns)
    if layer.kind == "embedding":
        return torch_modules.Embedding(convert(values["embedding"].T), plan.categories, *columns)
    weight, bias = encoder.stack_maps()
    phase = convert(values["phase"].T) if layer.has_phases else None
    return torch_modules.Periodic(
        convert(values["frequency"].T), phase, convert(weight), convert(bias), layer.rectifies,
        layer.keeps_value, *columns,
    )  # fmt: skip


def make_activation(activation, alpha=None):
    """Return the module of an activation.

    Parameters
    ----------
    activation : Activation
    alpha : torch.Tensor, shape (units,), optional
        Factors of a parametric activation.
    """
    from torch import nn

    from cmlp.formats.torch_modules import Parametric

    if activation.name == "prelu":
        module = nn.PReLU(len(alpha), dtype=alpha.dtype)
        module.weight.data = alpha
        return module
    if activation.base is not None:
        return Parametric(make_activation(activation.base), alpha)
    name, get_arguments = MODULES[activation.name]
    return getattr(nn, name)(**get_arguments(activation.parameter))


def read(module, loss=None):
    """Return the state of a network from a module; see `cmlp.Network.from_torch`.

    Parameters
    ----------
    module : torch.nn.Sequential
    loss : str, Loss or callable, optional
        By default the loss that suits the output activation.

    Returns
    -------
    ModelState

    Raises
    ------
    ValueError
        If a layer is not supported; the message names it.
    """
    builder = SequenceBuilder("Linear", "bias=False")
    for index, layer in enumerate(iterate_modules(module)):
        add_module(builder, index, layer)
    return builder.build(loss)


def iterate_modules(module):
    """Yield the modules of nested Sequentials, in order."""
    if type(module).__name__ == "Sequential":
        for child in module:
            yield from iterate_modules(child)
    else:
        yield module


def add_module(builder, index, module):
    """Add a module to a `SequenceBuilder`; `index` is its position in the flattened module."""
    kind = type(module).__name__
    label = f"layer {index}: {kind}"
    if kind == "Linear":
        dtype = str(module.weight.dtype).removeprefix("torch.")
        builder.add_dense(to_numpy(module.weight), to_numpy(module.bias), dtype)
    elif kind == "BatchNorm1d" and module.track_running_stats:
        momentum = 0.1 if module.momentum is None else module.momentum
        builder.add_batch_norm(
            label, BatchNorm(momentum, module.eps), to_numpy(module.weight),
            to_numpy(module.bias), to_numpy(module.running_mean), to_numpy(module.running_var),
        )  # fmt: skip
    elif kind == "LayerNorm":
        builder.add_layer_norm(
            label, LayerNorm(module.eps), to_numpy(module.weight), to_numpy(module.bias)
        )
    elif kind in ("Dropout", "AlphaDropout"):
        builder.add_dropout(module.p)
    elif kind == "Softmax" and module.dim not in (1, -1):
        raise ValueError(
            f"dim of {label} must be 1 or -1, the outputs of each row; got {module.dim!r}"
        )
    elif kind == "LogSoftmax":
        raise ValueError(
            f"{label} is not supported; leave it out, so that the outputs are the logits, or use "
            "Softmax(1)"
        )
    elif kind == "PReLU":
        builder.add_activation(label, prelu(), to_numpy(module.weight))
    elif kind not in IGNORED:
        is_parametric = kind == "Parametric" and hasattr(module, "alpha")
        activation = find_activation(module.f if is_parametric else module)
        if is_parametric and activation is not None:
            builder.add_activation(label, parametric(activation), to_numpy(module.alpha))
            return
        if activation is None:
            raise ValueError(
                f"layer {index}: {module} is not supported; supported layers are {SUPPORTED}"
            )
        builder.add_activation(label, activation)


def to_numpy(tensor):
    """Return a tensor as a float64 array; None stays None."""
    return None if tensor is None else tensor.detach().cpu().double().numpy()


def find_activation(module):
    """Return the activation that a module computes, or None if cmlp does not have it."""
    name = type(module).__name__
    if name == "GELU":
        return ACTIVATIONS["gelu_tanh" if module.approximate == "tanh" else "gelu"]
    if name == "LeakyReLU":
        return leaky_relu(module.negative_slope)
    if name == "ELU":
        return elu(module.alpha)
    if name == "CELU":
        return celu(module.alpha)
    fixed = FIXED_ARGUMENTS.get(name, {})
    if any(getattr(module, argument) != value for argument, value in fixed.items()):
        return None
    return ACTIVATIONS[ACTIVATION_MODULES[name]] if name in ACTIVATION_MODULES else None

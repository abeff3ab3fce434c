"""Networks as PyTorch modules, out and in."""

import numpy as np

from cmlp.activations import ACTIVATIONS, celu, elu, leaky_relu
from cmlp.checks import optional
from cmlp.files.layers import usual_loss
from cmlp.files.sequence import Sequence
from cmlp.normalizations import BatchNorm, LayerNorm


def package():
    """Return the package; raises `ImportError` without it."""
    return optional("torch", "to_torch and from_torch", "PyTorch", "torch")


# Of each activation the name of its module, and the arguments, k being the parameter.
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


def write(network):
    """Return a network as a `torch.nn.Sequential`; see `Network.to_torch`."""
    torch = package()
    nn, architecture = torch.nn, network._architecture
    dtype = getattr(torch, network.dtype.name)

    def tensor(array):
        return torch.tensor(np.array(array), dtype=dtype)

    modules = [nn.Dropout(architecture.input_dropout)] if architecture.input_dropout else []
    kinds, rates = (*architecture.normalization, None), (*architecture.dropout, 0.0)
    for l, activation in enumerate(architecture.activations):
        inputs, outputs = network.size[l : l + 2]
        kind = kinds[l]
        linear = nn.Linear(inputs, outputs, bias=kind is None, dtype=dtype)
        linear.weight.data = tensor(network.weight[l])
        modules.append(linear)
        bias = tensor(network.bias[l][:, 0])
        if kind is None:
            linear.bias.data = bias
        else:
            if isinstance(kind, BatchNorm):
                normal = nn.BatchNorm1d(outputs, kind.eps, kind.momentum, dtype=dtype)
                normal.running_mean.data = tensor(network.running_mean[l][:, 0])
                normal.running_var.data = tensor(network.running_variance[l][:, 0])
            else:
                normal = nn.LayerNorm(outputs, kind.eps, dtype=dtype)
            normal.weight.data, normal.bias.data = tensor(network.scale[l][:, 0]), bias
            modules.append(normal)
        name, arguments = MODULES[activation.name]
        modules.append(getattr(nn, name)(**arguments(activation.parameter)))
        if rates[l]:
            modules.append(nn.Dropout(rates[l]))
    return nn.Sequential(*modules).eval()


def activation_of(module):
    """Return the activation of a module, or None where it is none that is known."""
    name = type(module).__name__
    if name == "GELU":
        return ACTIVATIONS["gelu_tanh" if module.approximate == "tanh" else "gelu"]
    if name == "LeakyReLU":
        return leaky_relu(module.negative_slope)
    if name == "ELU":
        return elu(module.alpha)
    if name == "CELU":
        return celu(module.alpha)
    usual = {"Hardtanh": ("min_val", -1.0, "max_val", 1.0),
             "Softplus": ("beta", 1.0, "threshold", 20.0)}.get(name)  # fmt: skip
    if usual and (getattr(module, usual[0]), getattr(module, usual[2])) != usual[1::2]:
        return None
    return next((ACTIVATIONS[n] for n, (kind, _) in MODULES.items() if kind == name), None)


def flattened(module):
    """Yield the modules of nested Sequentials."""
    if type(module).__name__ == "Sequential":
        for child in module:
            yield from flattened(child)
    else:
        yield module


def read(module, make, loss):
    """Return the network of a Sequential, made by `make`; see `Network.from_torch`."""
    package()
    sequence = Sequence()
    for place, part in enumerate(flattened(module)):
        kind = type(part).__name__

        def numbers(tensor):
            return tensor.detach().cpu().double().numpy()

        if kind == "Linear":
            bias = None if part.bias is None else numbers(part.bias)
            sequence.dense(numbers(part.weight), bias, str(part.weight.dtype).split(".")[-1])
        elif kind == "BatchNorm1d" and part.track_running_stats:
            affine = (None, None) if part.weight is None else (
                numbers(part.weight), numbers(part.bias))  # fmt: skip
            momentum = 0.1 if part.momentum is None else part.momentum
            sequence.batch_norm(place, BatchNorm(momentum, part.eps), *affine,
                                numbers(part.running_mean), numbers(part.running_var))  # fmt: skip
        elif kind == "LayerNorm":
            affine = (None, None) if part.weight is None else (
                numbers(part.weight),
                None if part.bias is None else numbers(part.bias))  # fmt: skip
            sequence.layer_norm(place, LayerNorm(part.eps), *affine)
        elif kind in ("Dropout", "AlphaDropout"):
            sequence.dropout(place, part.p)
        elif kind in ("Flatten", "Identity"):
            continue
        elif (activation := activation_of(part)) is not None:
            sequence.activation(place, activation)
        else:
            raise ValueError(f"module {place}, {part}, is none that a network can have")
    return sequence.network(make, loss or usual_loss(sequence.output_name))

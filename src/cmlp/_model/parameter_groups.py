"""The settings of an optimizer for each tensor, and the tensors that share settings."""

import math
from dataclasses import replace
from typing import NamedTuple


class ParameterGroup(NamedTuple):
    """The settings that an optimizer has for some tensors.

    Attributes
    ----------
    hyper : tuple of float
        Hyper-parameters of the update, in the order of csrc/optimizers.h.
    l1, l2 : float
        Factors of each parameter's sign and value that are added to its gradient.
    decay : float
        Coefficient of decoupled decay.
    rate_factor : float
        Factor of the learning rate; 0: the tensors are not trained.
    step_factor : float
        Further factor of the update, but not of decoupled decay.
    is_penalized : bool
        Whether `Optimizer.penalty` applies.
    """

    hyper: tuple[float, ...]
    l1: float
    l2: float
    decay: float
    rate_factor: float
    step_factor: float
    is_penalized: bool


def make_groups(optimizer, tensors, frozen=frozenset()):
    """Return the groups of an optimizer, and the index of each tensor's group.

    Parameters
    ----------
    optimizer : Optimizer
    tensors : sequence of Tensor
    frozen : frozenset of int
        `Tensor.layer` of the tensors that are not trained.

    Returns
    -------
    groups : list of ParameterGroup
    indices : dict from Tensor to int

    Raises
    ------
    ValueError
        If a factor is given for a tensor or a layer that the network does not have.
    """
    check_names("lr_factors", optimizer.lr_factors, tensors)
    check_names("decay_factors", optimizer.decay_factors, tensors)
    groups, indices = {}, {}
    for tensor in tensors:
        group = make_group(optimizer, tensor)
        if tensor.layer in frozen:
            group = group._replace(rate_factor=0.0)
        indices[tensor] = groups.setdefault(group, len(groups))
    return list(groups), indices


def check_trainable(tensors, frozen):
    """Raise `ValueError` if all tensors are frozen."""
    if frozen and all(tensor.layer in frozen for tensor in tensors):
        raise ValueError("the network must have a layer that is not frozen; call unfreeze first")


def make_group(optimizer, tensor):
    """Return the settings of an optimizer for a tensor.

    With `parametrization="ntk"` the settings for weights W = V / sqrt(n) give the optimizer's step
    for V. The gradient with respect to V is that with respect to W, divided by sqrt(n); and W moves
    by the step of V, divided by sqrt(n).
    """
    rate_factor = multiply_factors(optimizer.lr_factors, tensor)
    decay_factor = multiply_factors(optimizer.decay_factors, tensor)
    is_weight = tensor.name == "weight"
    if not (is_weight or optimizer.decay_bias):
        decay_factor = 0.0
    hyper, l1, l2, step_factor = optimizer.hyper, optimizer.l1, optimizer.l2, 1.0
    if is_weight and optimizer.parametrization == "ntk":
        root = math.sqrt(tensor.columns)
        is_linear = optimizer.kernel == "momentum"  # the step is proportional to the gradient
        l1, l2, step_factor = l1 * root, l2 * tensor.columns, 1 / root ** (2 if is_linear else 1)
        hyper = scale_epsilon(optimizer, root)
    return ParameterGroup(
        hyper, l1 * decay_factor, l2 * decay_factor, optimizer.decay * decay_factor, rate_factor,
        step_factor, optimizer.penalty is not None and is_weight,
    )  # fmt: skip


def scale_epsilon(optimizer, factor):
    """Return the hyper-parameters of an optimizer with `eps`, if it has one, times a factor."""
    if not hasattr(optimizer, "eps"):
        return optimizer.hyper
    return replace(optimizer, eps=optimizer.eps * factor).hyper


def list_names(tensor):
    """Return the names that select a tensor: its kind, its layer, and the tensor alone."""
    return tensor.name, f"layer_{tensor.number}", tensor.key


def multiply_factors(factors, tensor):
    """Return the product of the factors whose name selects a tensor; 1 without any."""
    return math.prod(factors[name] for name in list_names(tensor) if name in factors)


def check_names(argument, factors, tensors):
    """Raise `ValueError` unless each name of some factors selects a tensor."""
    allowed = dict.fromkeys(name for tensor in tensors for name in list_names(tensor))
    for name in factors:
        if name not in allowed:
            raise ValueError(f"{argument} must have names of {', '.join(allowed)}; got {name!r}")

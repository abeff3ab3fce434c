"""The networks of an estimator for tables as one PyTorch module."""

import math

import numpy as np
import torch
from torch import nn

from cmlp.formats.torch import write
from cmlp.tabular.calibration import LEAST_PROBABILITY


def make_module(model):
    """Return the module of an `ExportedModel`, in evaluation mode."""
    networks = [write(state) for state in model.states]
    if model.classes is not None:
        return AveragedClassifier(networks, model.temperature, len(model.classes)).eval()
    return AveragedRegressor(networks, model).eval()


class AveragedNetworks(nn.Module):
    """Base class: networks whose predictions are averaged.

    Parameters
    ----------
    networks : list of torch.nn.Module
        They read the matrix that the estimator's `encode` returns.
    """

    def __init__(self, networks):
        super().__init__()
        self.networks = nn.ModuleList(networks)


class AveragedClassifier(AveragedNetworks):
    """Probabilities of classes.

    Parameters
    ----------
    networks : list of torch.nn.Module
        None if there is a single class.
    temperature : float
        Softmax(log(p) / temperature) replaces probabilities p.
    n_classes : int
    """

    def __init__(self, networks, temperature, n_classes):
        super().__init__(networks)
        self.temperature, self.n_classes = temperature, n_classes

    def forward(self, x):
        """Return the probabilities, shape (n, n_classes)."""
        if self.n_classes == 1:
            return torch.ones_like(x[:, :1])
        found = torch.stack([network(x) for network in self.networks])
        if self.temperature != 1:
            logits = found.clamp_min(LEAST_PROBABILITY).log() / self.temperature
            found = logits.softmax(2)
        return found.mean(0)


class AveragedRegressor(AveragedNetworks):
    """Predictions of a regressor in the units of its targets, float64.

    Parameters
    ----------
    networks : list of torch.nn.Module
    model : ExportedModel
    """

    scale: torch.Tensor
    shift: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    def __init__(self, networks, model):
        super().__init__(networks)
        targets, loss = model.targets, model.loss
        self.n_predictions, self.is_vector = model.n_predictions, model.is_vector
        self.has_std, self.non_crossing = loss.has_std, loss.non_crossing
        self.least = math.log(loss.parameter) if loss.has_std else None
        limits = (targets.lowest, targets.highest) if model.clamps else (-np.inf, np.inf)
        arrays = {"scale": targets.deviation, "shift": targets.mean, "lowest": limits[0],
                  "highest": limits[1]}  # fmt: skip
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float64), persistent=False)

    def forward(self, x):
        """Return the predictions and, of normal distributions, the standard deviations."""
        outputs = torch.stack([network(x) for network in self.networks])
        values = outputs[..., : self.n_predictions]
        if self.non_crossing:
            steps = nn.functional.softplus(values[..., 1:])
            values = torch.cat([values[..., :1], steps], 2).cumsum(2)
        means = values.double() * self.scale + self.shift
        prediction = self._drop_column(means.clamp(self.lowest, self.highest).mean(0))
        if not self.has_std:
            return prediction
        excess = outputs[..., self.n_predictions :] - self.least
        deviations = ((nn.functional.softplus(excess) + self.least) / 2).exp().double() * self.scale
        variance = deviations.square().mean(0) + means.var(0, correction=0)
        return prediction, self._drop_column(variance.sqrt())

    def _drop_column(self, values):
        return values[:, 0] if self.is_vector else values

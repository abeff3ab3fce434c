"""Standardized inputs and targets, folded into the first and last weights of a network.

A network is trained on (x - mean) / deviation. Afterwards, dividing its first weights by the
deviations and subtracting their product with the means from the first biases makes it compute the
same from x itself, so that files, exports and predictions need no other step.
"""

from dataclasses import dataclass

import numpy as np

from cmlp import Network
from cmlp.formats.sklearn_affine import (
    divide,
    fold_first_layer,
    fold_last_layer,
    has_affine_predictions,
)

# Losses whose targets are standardized, as the estimators for tables do. The delta of huber, and
# the 1 of log_cosh, then count deviations; the minima of the others do not depend on the unit.
STANDARDIZED_LOSSES = ("mse", "mae", "huber", "log_cosh", "pinball", "gaussian_nll")


@dataclass
class Standardization:
    """Means and deviations of columns.

    Attributes
    ----------
    mean, deviation : ndarray of float64, shape (n_columns,)
        The deviation is 1 for a constant column.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def learn(cls, values):
        """Return those of an array (n_rows,) or (n_rows, n_columns)."""
        table = values.reshape(len(values), -1)
        mean = table.mean(0, dtype=np.float64)
        deviation = table.std(0, dtype=np.float64)
        # The rounding of a constant column is not a deviation.
        deviation[deviation <= 1e-9 * np.abs(mean)] = 1.0
        deviation[deviation == 0] = 1.0
        return cls(mean, deviation)

    def apply(self, values):
        """Return an array of the shape of `values`, float32 or, for targets (n_rows,), float64."""
        if values.ndim == 1:
            return (values - self.mean[0]) / self.deviation[0]
        scaled = (values - self.mean.astype(np.float32)) / self.deviation.astype(np.float32)
        return scaled.astype(np.float32, copy=False)


def can_fold(network):
    """Return whether `fold_standardization` supports a network.

    It supports neither input layers nor layer normalization of the first layer, which subtracts a
    mean over the units before the bias is added.
    """
    has_layer_norm = network.scale[0] is not None and network.running_mean[0] is None
    return not (network.state.architecture.encoders or has_layer_norm)


def can_fold_targets(network):
    """Return whether `fold_standardization` supports standardized targets of a network."""
    return network.loss in STANDARDIZED_LOSSES and has_affine_predictions(
        network.state.architecture
    )


def fold_standardization(network, columns, targets=None):
    """Return a network that reads columns and predicts targets in their own units.

    Parameters
    ----------
    network : Network
        Trained on standardized columns.
    columns : Standardization
    targets : Standardization, optional
        Of one target, if the network was trained on standardized targets.

    Returns
    -------
    Network
        Without input noise, input dropout, and `max_norm` of the first and the last layer; see
        `fold_first_layer` and `fold_last_layer`.
    """

    def fold(weight, shift):
        return divide(weight, shift, columns.mean, columns.deviation)

    state = fold_first_layer(network.state, fold, "the standardization")
    if targets is not None:
        state = fold_last_layer(state, targets.mean, targets.deviation)
    state.training = network.state.training
    return Network.from_state(state)

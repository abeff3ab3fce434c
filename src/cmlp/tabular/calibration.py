"""Temperature scaling of class probabilities."""

import numpy as np
from scipy.optimize import minimize_scalar

# The temperature is between 1 / MAX_TEMPERATURE and this.
MAX_TEMPERATURE = 100.0

LEAST_PROBABILITY = 1e-30


def apply_temperature(probabilities, temperature):
    """Return softmax(log(p) / T) for rows p; they stay unchanged if T is 1.

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017,
    section 4.2.

    Parameters
    ----------
    probabilities : ndarray, shape (n_samples, n_classes)
    temperature : float
    """
    if temperature == 1:
        return probabilities
    logits = np.log(np.maximum(probabilities, LEAST_PROBABILITY)) / temperature
    scaled = np.exp(logits - logits.max(1, keepdims=True))
    return scaled / scaled.sum(1, keepdims=True)


def fit_temperature(probabilities, codes, weights):
    """Return the temperature with the least mean negative log-likelihood of the classes.

    Each sample counts as 1 - 1 / (n_samples + 2) of its class and the rest of the others, so that
    perfect predictions do not become certainties: Platt, "Probabilistic outputs for support vector
    machines", 1999, section 2.2.

    Parameters
    ----------
    probabilities : ndarray, shape (n_samples, n_classes)
        Of samples that the networks have not been trained on.
    codes : ndarray of int, shape (n_samples,)
    weights : ndarray, shape (n_samples,), or None
    """
    probabilities = probabilities.astype(np.float64)
    rows = np.arange(len(codes))

    n_classes = probabilities.shape[1]
    rest = 1 / (len(codes) + 2)
    shares = np.full(probabilities.shape, rest / (n_classes - 1))
    shares[rows, codes] = 1 - rest

    def measure(logarithm):
        scaled = apply_temperature(probabilities, np.exp(logarithm))
        losses = -(shares * np.log(np.maximum(scaled, LEAST_PROBABILITY))).sum(1)
        return np.average(losses, weights=weights)

    bound = np.log(MAX_TEMPERATURE)
    found = minimize_scalar(measure, bounds=(-bound, bound), method="bounded")
    return float(np.exp(found.x))

"""The mathematics in plain NumPy, float64, batch-wise: shares no code with cmlp.

Weights are (outputs, inputs), biases (outputs, 1), samples rows.
"""

import numpy as np


def sigmoid(z):
    small = np.exp(-np.abs(z))
    return np.where(z < 0, small, 1) / (1 + small)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": softmax,
}

# Derivative from input and output; softmax has a Jacobian instead.
DERIVATIVES = {
    "identity": lambda z, a: np.ones_like(z),
    "sigmoid": lambda z, a: a * (1 - a),
    "tanh": lambda z, a: 1 - a**2,
    "relu": lambda z, a: (z > 0).astype(float),
}

# Per sample, by outputs and targets.
LOSSES = {
    "quadratic": lambda a, y: ((a - y) ** 2).sum(axis=1) / 2,
    "mse": lambda a, y: ((a - y) ** 2).mean(axis=1),
    "cross_entropy": lambda a, y: (
        -np.where(y > 0, y * np.log(np.where(y > 0, a, 1)), 0).sum(axis=1)
    ),
    "binary_cross_entropy": lambda a, y: -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(axis=1),
}

LOSS_GRADIENTS = {
    "quadratic": lambda a, y: a - y,
    "mse": lambda a, y: 2 * (a - y) / a.shape[1],
    "cross_entropy": lambda a, y: -y / a,
    "binary_cross_entropy": lambda a, y: (1 - y) / (1 - a) - y / a,
}


def forward(weights, biases, activations, X):
    """Return the input sums and outputs of all layers; outputs begin with X."""
    sums, outputs = [], [np.asarray(X, float)]
    for w, b, name in zip(weights, biases, activations, strict=True):
        sums.append(outputs[-1] @ w.T + b.T)
        outputs.append(ACTIVATIONS[name](sums[-1]))
    return sums, outputs


def mean_loss(weights, biases, activations, loss, X, y):
    return LOSSES[loss](forward(weights, biases, activations, X)[1][-1], y).mean()


def gradient(weights, biases, activations, loss, X, y):
    """Return mean loss, weight gradients, bias gradients."""
    sums, outputs = forward(weights, biases, activations, X)
    through = LOSS_GRADIENTS[loss](outputs[-1], y) / len(X)
    nabla_w, nabla_b = [], []
    for layer in reversed(range(len(weights))):
        a = outputs[layer + 1]
        if activations[layer] == "softmax":
            delta = a * (through - (through * a).sum(axis=1, keepdims=True))
        else:
            delta = through * DERIVATIVES[activations[layer]](sums[layer], a)
        nabla_w.insert(0, delta.T @ outputs[layer])
        nabla_b.insert(0, delta.sum(axis=0)[:, None])
        through = delta @ weights[layer]
    return LOSSES[loss](outputs[-1], y).mean(), nabla_w, nabla_b


def sgd(weights, biases, activations, loss, X, y, lr, batch_size):
    """Train in place for one epoch in order; return the mean loss over the samples."""
    total = 0
    for start in range(0, len(X), batch_size):
        part = slice(start, start + batch_size)
        value, nabla_w, nabla_b = gradient(weights, biases, activations, loss, X[part], y[part])
        total += value * len(X[part])
        for parameters, nablas in ((weights, nabla_w), (biases, nabla_b)):
            for parameter, nabla in zip(parameters, nablas, strict=True):
                parameter -= lr * nabla
    return total / len(X)


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def sgd_steps(*parameters, lr):
    """Return a function that takes a step in place, given the gradients."""

    def step(*gradients):
        for p, g in zip(parameters, gradients, strict=True):
            p -= lr * g

    return step


def adam_steps(*parameters, lr, betas, eps):
    """Kingma and Ba, 2015, algorithm 1."""
    means = [np.zeros_like(p) for p in parameters]
    squares = [np.zeros_like(p) for p in parameters]
    t = 0

    def step(*gradients):
        nonlocal t
        t += 1
        for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
            m[:] = betas[0] * m + (1 - betas[0]) * g
            v[:] = betas[1] * v + (1 - betas[1]) * g**2
            corrected = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
            p -= lr * corrected[0] / (np.sqrt(corrected[1]) + eps)

    return step


OPTIMIZERS = {"sgd": sgd_steps, "adam": adam_steps}

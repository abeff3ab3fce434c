"""Drop-in replacements of the reference programs' classes and helpers.

`MLP` is the reference's sigmoid network. `Model` is the network of its comment: one hidden layer
with tanh, softmax outputs, one sample per step.
"""

import os

import numpy as np

from cmlp._training.arguments import convert_targets
from cmlp._training.inputs import as_matrix, convert_rows, to_real_array
from cmlp._training.loop import train_plain_epoch
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import (
    check_count,
    check_integer,
    check_positive,
    check_unmasked,
    convert_dtype,
)
from cmlp.network import Network

__all__ = [
    "MLP", "Model", "convert_to_one_hot", "cross_entropy_loss", "dsigmoid", "load_data",
    "sigmoid", "softmax", "to_one_hot",
]  # fmt: skip


class MLP(Network):
    """The reference's network: sigmoid activations, quadratic loss, its initial weights.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, then number of units of each layer.
    dtype, seed
        As in `Network`. The reference computes in float64.
    """

    __slots__ = ()

    def __init__(self, sizes, *, dtype="float32", seed=None):
        super().__init__(sizes, init="reference", dtype=dtype, seed=seed)


class Model:
    """The network of the reference's comment: a tanh layer, softmax outputs, cross-entropy.

    Parameters
    ----------
    input_dim, hidden_dim, output_dim : int
    dtype, seed
        As in `Network`. The reference computes in float64.

    Attributes
    ----------
    W1, b1, W2, b2 : ndarray, shapes (in, hidden), (1, hidden), (hidden, out), (1, out)
        Views of the parameters; initially standard normal weights and zero biases.
    z1, a1, z2, a2 : ndarray
        Pre-activations and activations of both layers, after a call of `forward`.
    network : Network
        The network that `train` trains.
    """

    def __init__(self, input_dim, hidden_dim, output_dim, *, dtype="float32", seed=None):
        self.input_dim, self.hidden_dim, self.output_dim = input_dim, hidden_dim, output_dim
        self.network = Network(
            [input_dim, hidden_dim, output_dim], activation="tanh", loss="cross_entropy",
            init="reference", dtype=dtype, seed=seed,
        )  # fmt: skip
        self.network.bias = [np.zeros((hidden_dim, 1)), np.zeros((output_dim, 1))]

    @property
    def W1(self):
        """Weights of the hidden layer, (in, hidden)."""
        return self.network.weight[0].T

    @W1.setter
    def W1(self, value):
        self.network.weight[0] = np.transpose(value)

    @property
    def b1(self):
        """Biases of the hidden layer, (1, hidden)."""
        return self.network.bias[0].T

    @b1.setter
    def b1(self, value):
        self.network.bias[0] = np.reshape(value, (self.hidden_dim, 1))

    @property
    def W2(self):
        """Weights of the last layer, (hidden, out)."""
        return self.network.weight[1].T

    @W2.setter
    def W2(self, value):
        self.network.weight[1] = np.transpose(value)

    @property
    def b2(self):
        """Biases of the last layer, (1, out)."""
        return self.network.bias[1].T

    @b2.setter
    def b2(self, value):
        self.network.bias[1] = np.reshape(value, (self.output_dim, 1))

    def forward(self, x):
        """Return the probabilities (n, out) of samples and store z1, a1, z2, a2.

        Parameters
        ----------
        x : array_like, shape (n, in)
            Samples.
        """
        dtype = self.network.dtype
        x = convert_dtype("x", as_matrix(x, self.input_dim, dtype, "x"), dtype)
        self.z1 = x @ self.W1 + self.b1
        self.a1 = np.tanh(self.z1)
        self.z2 = self.a1 @ self.W2 + self.b2
        self.a2 = softmax(self.z2)
        return self.a2

    def backward(self, x, y_true, y_pred):
        """Return the gradient of the summed loss at the last `forward`.

        Parameters
        ----------
        x : array_like, shape (n, in)
        y_true, y_pred : array_like, shape (n, out)

        Returns
        -------
        dW1, db1, dW2, db2 : ndarray, shapes (in, hidden), (hidden,), (hidden, out), (1, out)
        """
        delta2 = np.asarray(y_pred) - y_true
        delta1 = delta2 @ self.W2.T * (1 - self.a1**2)
        return (
            np.transpose(x) @ delta1,
            delta1.sum(axis=0),
            self.a1.T @ delta2,
            delta2.sum(axis=0, keepdims=True),
        )

    def train(self, x_train, y_train, epochs, learning_rate):
        """Take one step for each sample, in order, and print the loss after each epoch.

        Parameters
        ----------
        x_train : array_like, shape (n, in)
        y_train : array_like, shape (n, out)
            One-hot.
        epochs : int
        learning_rate : float
            Positive and finite.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        TrainingDiverged
            If the loss of a sample, or a parameter after an epoch, is not finite.
        """
        epochs = check_count("epochs", epochs)
        check_positive("learning_rate", learning_rate)
        threads, state = resolve_threads(), self.network.state
        rows, targets, out = self._prepare(x_train, y_train)
        for epoch in range(epochs):
            train_plain_epoch(state, rows, targets, None, 1, learning_rate, threads, epoch=epoch)
            loss = state.program.infer(rows, targets, None, out, threads)
            print(f"Epoch {epoch}, loss: {loss:f}")

    def test(self, x_test, y_test):
        """Print the loss and the accuracy.

        Parameters
        ----------
        x_test : array_like, shape (n, in)
        y_test : array_like, shape (n, out) or (n,)
            One-hot, or labels.
        """
        rows, targets, out = self._prepare(x_test, y_test)
        loss = self.network.state.program.infer(rows, targets, None, out, resolve_threads())
        labels = np.asarray(y_test)
        labels = labels.argmax(axis=1) if labels.shape == out.shape else labels.reshape(-1)
        accuracy = np.mean(out.argmax(axis=1) == labels)
        print(f"Test loss: {loss:f}, accuracy: {accuracy:f}")

    def _prepare(self, x, y):
        # Return rows, targets and an uninitialized array for the outputs.
        rows = convert_rows(to_real(x), self.input_dim, self.network.dtype)
        targets, _ = convert_targets(self.network.state.architecture, rows, y)
        return rows, targets, np.empty((len(rows), self.output_dim), self.network.dtype)


def to_real(x):
    """Return uint8 values as float32 without scaling, as in the reference."""
    check_unmasked("x", x)
    x = np.asarray(x)
    return x.astype(np.float32) if x.dtype == np.uint8 else x


def sigmoid(inX):
    """Return 1 / (1 + exp(-x)), without overflow.

    Parameters
    ----------
    inX : array_like of float
        The numbers x.
    """
    small = np.exp(-np.abs(inX))
    return np.where(np.asarray(inX) < 0, small, 1.0) / (1.0 + small)


def dsigmoid(z):
    """Return the derivative of the sigmoid at z (in the reference this function raises).

    Parameters
    ----------
    z : array_like of float
        Pre-activations.
    """
    return sigmoid(z) * (1 - sigmoid(z))


def convert_to_one_hot(y, C):
    """Return labels as one-hot columns, shape (C, n).

    Parameters
    ----------
    y : array_like of int, n elements
        Labels from 0 to C - 1.
    C : int
        Number of classes.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    return np.eye(C)[check_labels("y", y, check_integer("C", C)).reshape(-1)].T


def to_one_hot(labels, num_classes):
    """Return labels as one-hot rows, shape (n, num_classes).

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Labels from 0 to ``num_classes - 1``.
    num_classes : int
        Number of classes.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    labels = check_labels("labels", labels, check_integer("num_classes", num_classes))
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (n,); got {labels.shape}")
    one_hot = np.zeros((len(labels), num_classes))
    one_hot[np.arange(len(labels)), labels] = 1
    return one_hot


def check_labels(argument, labels, classes):
    """Return labels as an integer array; raise unless they are whole numbers below `classes`."""
    labels = to_real_array(argument, labels)
    is_label = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    if not is_label.all():
        raise ValueError(
            f"{argument} must be whole numbers from 0 to {classes - 1}; "
            f"got {labels[~is_label].flat[0]}"
        )
    return labels.astype(np.int64)


def softmax(x):
    """Return the softmax of each row; its maximum is subtracted first, to avoid overflow.

    Parameters
    ----------
    x : array_like of float, shape (n, classes)
        Pre-activations.
    """
    exp_x = np.exp(x - np.max(x, axis=1, keepdims=True))
    return exp_x / np.sum(exp_x, axis=1, keepdims=True)


def cross_entropy_loss(y_pred, y_true):
    """Return minus the mean over samples of the sum of y log p.

    Parameters
    ----------
    y_pred : ndarray, shape (n, classes)
        Probabilities p.
    y_true : ndarray, shape (n, classes)
        One-hot targets y.
    """
    return -np.sum(y_true * np.log(y_pred)) / len(y_true)


def load_data(root=None):
    """Return MNIST's (train images, train labels, test images, test labels).

    Parameters
    ----------
    root : str or os.PathLike, optional
        Directory with the four IDX ``.gz`` files; by default the working directory, then the
        directories that `cmlp.datasets.load_mnist` searches.

    Returns
    -------
    tuple of ndarray
        Images uint8 (n, 784), labels uint8 (n,).
    """
    from cmlp.datasets import load_mnist

    if root is None and os.path.exists("train-images-idx3-ubyte.gz"):
        root = "."
    (x_train, y_train), (x_test, y_test) = load_mnist(root)
    return x_train.reshape(-1, 784), y_train, x_test.reshape(-1, 784), y_test

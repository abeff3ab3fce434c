"""The classes and helpers of the reference programs, drop-in.

`MLP` is the reference's sigmoid network, `Model` the one of its comment: one hidden
layer of tanh, softmax, one sample a step.
"""

import os

import numpy as np

from cmlp import batches, fitting, threads
from cmlp._core.epochs import train
from cmlp.network import Network


class MLP(Network):
    """The reference's network: sigmoid everywhere, quadratic loss, its first weights.

    Parameters
    ----------
    sizes : sequence of int
        The widths of the layers, inputs first.
    dtype, seed
        As of `Network`. The reference computes in float64.
    """

    def __init__(self, sizes, *, dtype="float32", seed=None):
        super().__init__(sizes, init="reference", dtype=dtype, seed=seed)


class Model:
    """The network of the reference's comment: tanh, then softmax, cross-entropy.

    Parameters
    ----------
    input_dim, hidden_dim, output_dim : int
    dtype, seed
        As of `Network`. The reference computes in float64.

    Attributes
    ----------
    W1, b1, W2, b2 : ndarray, shapes (in, hidden), (1, hidden), (hidden, out), (1, out)
        Views of the parameters; standard normal weights and zero biases at first.
    z1, a1, z2, a2 : ndarray
        Input sums and outputs of both layers, after a `forward`.
    network : Network
        What does the work.
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
        """Return the probabilities (n, out) of samples (n, in), and keep what led to them."""
        x = np.asarray(batches.as_matrix(x, self.input_dim, self.network.dtype, "x"),
                       self.network.dtype)  # fmt: skip
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
        """
        team = threads.resolve()
        rows, targets, _ = fitting.data(self.network, as_numbers(x_train), y_train)
        out = np.empty((len(rows), self.output_dim), self.network.dtype)
        for epoch in range(epochs):
            train(self.network._program, rows, targets, None, 1, learning_rate, team)
            loss = self.network._program.infer(rows, targets, None, out, team)
            print(f"Epoch {epoch}, loss: {loss:f}")

    def test(self, x_test, y_test):
        """Print the loss and the accuracy; `y_test` is one-hot, shape (n, out)."""
        rows, targets, _ = fitting.data(self.network, as_numbers(x_test), y_test)
        out = np.empty((len(rows), self.output_dim), self.network.dtype)
        loss = self.network._program.infer(rows, targets, None, out, threads.resolve())
        accuracy = np.mean(out.argmax(axis=1) == np.argmax(y_test, axis=1))
        print(f"Test loss: {loss:f}, accuracy: {accuracy:f}")


def as_numbers(x):
    """Return bytes as the numbers that they are: the reference does not scale them."""
    x = np.asarray(x)
    return x.astype(np.float32) if x.dtype == np.uint8 else x


def sigmoid(inX):
    """Return 1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(inX))
    return np.where(np.asarray(inX) < 0, small, 1.0) / (1.0 + small)


def dsigmoid(z):
    """Return the derivative of the sigmoid at z (the reference calls a number here)."""
    return sigmoid(z) * (1 - sigmoid(z))


def convert_to_one_hot(y, C):
    """Return labels as one-hot columns, shape (C, n)."""
    return np.eye(C)[np.reshape(y, -1)].T


def to_one_hot(labels, num_classes):
    """Return labels as one-hot rows, shape (n, num_classes)."""
    one_hot = np.zeros((len(labels), num_classes))
    one_hot[np.arange(len(labels)), labels] = 1
    return one_hot


def softmax(x):
    """Return the softmax of each row, shifted by its maximum so that nothing overflows."""
    exp_x = np.exp(x - np.max(x, axis=1, keepdims=True))
    return exp_x / np.sum(exp_x, axis=1, keepdims=True)


def cross_entropy_loss(y_pred, y_true):
    """Return minus the mean over samples of the sum of y log p; both of shape (n, classes)."""
    return -np.sum(y_true * np.log(y_pred)) / len(y_true)


def load_data(root=None):
    """Return MNIST's (train images, train labels, test images, test labels).

    Parameters
    ----------
    root : str or os.PathLike, optional
        A folder with the four IDX ``.gz`` files; by default the working folder, then
        where `cmlp.datasets.load_mnist` looks.

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

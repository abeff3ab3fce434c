"""The reference programs, restated: NumPy, float64, one sample at a time.

The benchmarks compare times with it, and the tests compare results with it to 1e-9. It repeats
the reference's algorithm without improvements: lists of arrays, one gradient per sample, and new
lists for each sum.
"""

import random

import numpy as np


def sigmoid(x):
    return 1.0 / (1 + np.exp(-x))


class MLP:
    """The reference's network, for any layer sizes."""

    def __init__(self, sizes):
        self.size = sizes
        self.num_layers = len(sizes) - 1
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.weight = [np.random.randn(after, before) for before, after in pairs]
        self.bias = [np.random.rand(after, 1) for after in sizes[1:]]

    def forward(self, x):
        for b, w in zip(self.bias, self.weight, strict=True):
            x = sigmoid(np.dot(w, x) + b)
        return x

    def backprop(self, x, y):
        nabla_w = [np.zeros(w.shape) for w in self.weight]
        nabla_b = [np.zeros(b.shape) for b in self.bias]
        activation = x.reshape(-1, 1)
        activations = [activation]
        for b, w in zip(self.bias, self.weight, strict=True):
            activation = sigmoid(np.dot(w, activation) + b)
            activations.append(activation)
        loss = np.power(activations[-1] - y, 2).sum()
        delta = activations[-1] * (1 - activations[-1]) * (activations[-1] - y)
        nabla_b[-1] = delta
        nabla_w[-1] = np.dot(delta, activations[-2].T)
        for layer in range(2, self.num_layers + 1):
            a = activations[-layer]
            delta = np.dot(self.weight[-layer + 1].T, delta) * a * (1 - a)
            nabla_b[-layer] = delta
            nabla_w[-layer] = np.dot(delta, activations[-layer - 1].T)
        return nabla_w, nabla_b, loss

    def update_mini_batch(self, batch, lr):
        nabla_w = [np.zeros(w.shape) for w in self.weight]
        nabla_b = [np.zeros(b.shape) for b in self.bias]
        loss = 0
        for x, y in batch:
            sample_w, sample_b, sample_loss = self.backprop(x, y)
            nabla_w = [total + new for total, new in zip(nabla_w, sample_w, strict=True)]
            nabla_b = [total + new for total, new in zip(nabla_b, sample_b, strict=True)]
            loss += sample_loss
        nabla_w = [w / len(batch) for w in nabla_w]
        nabla_b = [b / len(batch) for b in nabla_b]
        self.weight = [w - lr * nabla for w, nabla in zip(self.weight, nabla_w, strict=True)]
        self.bias = [b - lr * nabla for b, nabla in zip(self.bias, nabla_b, strict=True)]
        return loss / len(batch)

    def train(self, training_data, epoches, batchsz, lr, test_data, shuffle=random.shuffle):
        n = len(training_data)
        for epoch in range(epoches):
            shuffle(training_data)
            for start in range(0, n, batchsz):
                loss = self.update_mini_batch(training_data[start : start + batchsz], lr)
            if test_data:
                print(f"Epoch {epoch}:{self.evaluate(test_data)}/{len(test_data)}", loss)
            else:
                print(f"Epoch {epoch} complete")

    def evaluate(self, test_data):
        results = [(np.argmax(self.forward(x.reshape(-1, 1))), y) for x, y in test_data]
        return sum(int(predicted == y) for predicted, y in results)


class Model:
    """The network in the reference's comment: tanh, softmax, one sample per step."""

    def __init__(self, input_dim, hidden_dim, output_dim):
        self.W1 = np.random.randn(input_dim, hidden_dim)
        self.b1 = np.zeros((1, hidden_dim))
        self.W2 = np.random.randn(hidden_dim, output_dim)
        self.b2 = np.zeros((1, output_dim))

    def forward(self, x):
        self.z1 = np.dot(x, self.W1) + self.b1
        self.a1 = np.tanh(self.z1)
        self.z2 = np.dot(self.a1, self.W2) + self.b2
        exp_z2 = np.exp(self.z2)
        self.a2 = exp_z2 / np.sum(exp_z2, axis=1, keepdims=True)
        return self.a2

    def backward(self, x, y_true, y_pred):
        delta2 = y_pred - y_true
        delta1 = np.dot(delta2, self.W2.T) * (1 - np.power(self.a1, 2))
        dW2 = np.dot(self.a1.T, delta2)
        db2 = np.sum(delta2, axis=0, keepdims=True)
        dW1 = np.dot(x.T, delta1)
        db1 = np.sum(delta1, axis=0)
        return dW1, db1, dW2, db2

    def train(self, x_train, y_train, epochs, learning_rate):
        for epoch in range(epochs):
            for i in range(len(x_train)):
                x, y_true = x_train[i : i + 1], y_train[i : i + 1]
                y_pred = self.forward(x)
                dW1, db1, dW2, db2 = self.backward(x, y_true, y_pred)
                self.W1 -= learning_rate * dW1
                self.b1 -= learning_rate * db1
                self.W2 -= learning_rate * dW2
                self.b2 -= learning_rate * db2
            loss = -np.sum(y_train * np.log(self.forward(x_train))) / len(y_train)
            print(f"Epoch {epoch}, loss: {loss:f}")

    def test(self, x_test, y_test):
        y_pred = self.forward(x_test)
        loss = -np.sum(y_test * np.log(y_pred)) / len(y_test)
        accuracy = np.mean(np.argmax(y_pred, axis=1) == np.argmax(y_test, axis=1))
        print(f"Test loss: {loss:f}, accuracy: {accuracy:f}")

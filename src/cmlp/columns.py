"""The reference's methods, which take a sample as a column and data as a list of pairs.

Numbers are used as they come here: bytes are not scaled, as the reference does not.
"""

import numpy as np

from cmlp import threads
from cmlp._core import epochs
from cmlp._core.samples import Rows, Targets
from cmlp.batches import as_labels, real_array
from cmlp.checks import check_positive, check_whole
from cmlp.training import shuffled


class ColumnMethods:
    """The methods of the reference's `MLP`, for any number of layers and any loss."""

    def forward(self, x):
        """Return the outputs for samples as columns.

        Parameters
        ----------
        x : array_like, shape (inputs, 1), (inputs, m) or (inputs,)

        Returns
        -------
        ndarray, shape (outputs, m)

        Raises
        ------
        ValueError
            If the number of rows is not that of the network's inputs.
        """
        columns = real_array("x", x)
        if columns.ndim == 1:
            columns = columns[:, None]
        if columns.ndim != 2 or len(columns) != self.size[0]:
            raise ValueError(f"x must have shape ({self.size[0]}, m), got {np.shape(x)}")
        rows = np.ascontiguousarray(columns.T, self.dtype)
        return np.ascontiguousarray(self._outputs(Rows(rows), checks=False).T)

    def backprop(self, x, y):
        """Return the gradient of one sample's loss.

        Parameters
        ----------
        x : array_like of `inputs` elements, any shape
        y : array_like, shape (outputs, 1) or (outputs,), or a whole label

        Returns
        -------
        nabla_w : list of ndarray, shapes (outputs, inputs) of each layer
        nabla_b : list of ndarray, shapes (outputs, 1)
        loss : float
            For the quadratic loss, as in the reference, the sum of (a - y)^2, which is
            twice what the gradient belongs to; for others the loss itself.
        """
        rows, targets = self._pairs([(x, y)])
        gradient = self._new_parameters()
        loss = self._program.gradient(rows, targets, gradient.padded, threads.resolve())
        return list(gradient.weights), list(gradient.biases), self._reference_loss(loss)

    def update_mini_batch(self, batch, lr):
        """Take one step of gradient descent.

        Parameters
        ----------
        batch : list of (x, y)
            As in `backprop`.
        lr : float

        Returns
        -------
        float
            The mean loss of the batch before the step, as `backprop` counts it.
        """
        check_positive("lr", lr)
        rows, targets = self._pairs(batch)
        loss, _ = self._epoch_of(rows, targets, None, len(rows), lr)
        return self._reference_loss(loss)

    def train(self, training_data, epoches, batchsz, lr, test_data=None, *, shuffle=True):
        """Train by mini-batch gradient descent and print a line an epoch.

        Parameters
        ----------
        training_data : list of (x, y)
            As in `backprop`; converted once.
        epoches : int
        batchsz : int
        lr : float
        test_data : list of (x, label), optional
            Evaluated after each epoch.
        shuffle : bool, default True
            Whether each epoch has an order of its own, by the network's seed.
        """
        epoches = check_whole("epoches", epoches, 0)
        batchsz = check_whole("batchsz", batchsz)
        check_positive("lr", lr)
        rows, targets = self._pairs(training_data, "training_data")
        test = self._labelled(test_data) if test_data else None
        for epoch in range(epoches):
            order = shuffled(self.seed, self._epoch, len(rows)) if shuffle else None
            _, last_loss = self._epoch_of(rows, targets, order, batchsz, lr)
            if test:
                loss = self._reference_loss(last_loss)
                print(f"Epoch {epoch}:{self._right_answers(*test)}/{len(test_data)}", loss)
            else:
                print(f"Epoch {epoch} complete")

    def evaluate(self, test_data):
        """Return how many samples of a list of (x, label) have their label as greatest output."""
        return self._right_answers(*self._labelled(test_data))

    def _epoch_of(self, rows, targets, order, batch_size, lr):
        noise = self.seed, self._epoch
        self._epoch += 1
        return epochs.train(
            self._program, rows, targets, order, batch_size, lr, threads.resolve(), noise=noise
        )

    def _reference_loss(self, loss):
        return 2 * loss if self.loss == "quadratic" else loss

    def _right_answers(self, rows, labels):
        return int((self._outputs(rows, checks=False).argmax(axis=1) == labels).sum())

    def _labelled(self, pairs):
        labels = np.array([int(np.reshape(y, -1)[0]) for _, y in pairs])
        return self._samples([x for x, _ in pairs], "test_data"), labels

    def _pairs(self, pairs, name="batch"):
        if self._architecture.loss.call:
            raise TypeError("the reference's methods need a loss of cmlp's, not a callable")
        if len(pairs) == 0:
            raise ValueError(f"{name} is empty; it must be a list of at least one (x, y)")
        rows = self._samples([x for x, _ in pairs], name)
        if np.ndim(pairs[0][1]) == 0 and self.size[-1] > 1:
            labels = real_array("y", [y for _, y in pairs])
            return rows, Targets(as_labels(labels, self.size[-1]))
        return rows, Targets(self._stack([y for _, y in pairs], self.size[-1], name, "y"))

    def _samples(self, xs, name):
        return Rows(self._stack(xs, self.size[0], name, "x"))

    def _stack(self, arrays, width, name, part):
        # One conversion into the network's own type, whatever the samples' shapes.
        stacked = np.empty((len(arrays), width), self.dtype)
        for i, array in enumerate(arrays):
            if np.size(array) != width:
                raise ValueError(
                    f"{part} of {name}[{i}] must have {width} elements, got shape {np.shape(array)}"
                )
            stacked[i] = np.reshape(array, width)
        return stacked

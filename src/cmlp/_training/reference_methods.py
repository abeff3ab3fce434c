"""The methods of the reference's `MLP`, which take samples as columns and data as lists of pairs.

uint8 input is not scaled, as in the reference.
"""

import numpy as np

from cmlp._core.inputs import Rows, Targets
from cmlp._model.parameter_groups import check_trainable
from cmlp._model.tasks import infer_task
from cmlp._training.evaluation import compute_outputs
from cmlp._training.inputs import as_labels, to_real_array
from cmlp._training.loop import train_plain_epoch
from cmlp._training.sources import make_shuffled_order
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import check_count, check_integer, check_positive, convert_dtype


class ReferenceMethods:
    """The methods of the reference's `MLP`, for any number of layers and any built-in loss.

    A mixin of `Network`: it uses the attributes `state`, `loss`, `dtype` and `seed`.
    """

    __slots__ = ()

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
            If the number of rows of `x` is not the network's number of inputs, or `x` is not
            finite.
        """
        columns = to_real_array("x", x)
        if columns.ndim == 1:
            columns = columns[:, None]
        inputs = self.state.architecture.inputs
        if columns.ndim != 2 or len(columns) != inputs:
            hint = ""
            if columns.ndim == 2 and columns.shape[1] == inputs:
                hint = "; forward takes samples as columns: for rows call the network, net(X)"
            raise ValueError(f"x must have shape ({inputs}, m); got {np.shape(x)}{hint}")
        rows = Rows(convert_dtype("x", columns.T, self.dtype))
        outputs = compute_outputs(self.state, rows)
        if outputs is None:
            rows.check_finite(self.dtype, "x, transposed,")
        return np.ascontiguousarray(outputs.T)

    def backprop(self, x, y):
        """Return the gradient of the loss of one sample.

        Parameters
        ----------
        x : array_like of `inputs` elements, any shape
        y : array_like, shape (outputs, 1) or (outputs,), or int
            The targets, or a label.

        Returns
        -------
        nabla_w : list of ndarray
            Gradient with respect to each layer's weights, (outputs, inputs).
        nabla_b : list of ndarray
            Gradient with respect to each layer's biases, (outputs, 1).
        loss : float
            For the quadratic loss sum (a - y)^2, as in the reference: twice the function whose
            gradient is returned. For other losses the loss itself.
        """
        rows, targets = self._convert_pairs([(x, y)])
        gradient = self.state.parameters.make_zeros()
        loss = self.state.program.gradient(rows, targets, gradient.block, resolve_threads())
        if not np.isfinite(loss):
            self.state.check_finite()
        weights, biases = gradient.get_views("weight"), gradient.get_views("bias")
        return weights, biases, self._reference_loss(loss)

    def update_mini_batch(self, batch, lr):
        """Take one step of gradient descent.

        Parameters
        ----------
        batch : list of (x, y)
            As in `backprop`.
        lr : float
            Learning rate.

        Returns
        -------
        float
            Mean loss of the batch before the step, as `backprop` computes it.

        Raises
        ------
        TrainingDiverged
            If the loss or a parameter after the step is not finite.
        """
        check_positive("lr", lr)
        rows, targets = self._convert_pairs(batch)
        loss, _ = self._train_epoch(rows, targets, None, len(rows), lr)
        if not np.isfinite(loss):
            self.state.check_finite()
        return self._reference_loss(loss)

    def train(self, training_data, epoches, batchsz, lr, test_data=None, *, shuffle=True):
        """Train by gradient descent in batches and print one line for each epoch.

        Parameters
        ----------
        training_data : list of (x, y)
            As in `backprop`; converted once.
        epoches : int
            Number of epochs.
        batchsz : int
            Batch size.
        lr : float
            Learning rate.
        test_data : list of (x, label), optional
            As in `evaluate`, which is called after each epoch.
        shuffle : bool, default True
            Whether to shuffle the samples before each epoch, by the network's seed.

        Raises
        ------
        TrainingDiverged
            If the loss of a batch, or a parameter after an epoch, is not finite.
        """
        epoches = check_count("epoches", epoches)
        batchsz = check_integer("batchsz", batchsz)
        check_positive("lr", lr)
        rows, targets = self._convert_pairs(training_data, "training_data", "fit(X, y)")
        test = self._convert_labeled(test_data) if test_data else None
        self.state.check_finite()
        self.state.task = infer_task(self.state.architecture.tasks, targets.array)
        for epoch in range(epoches):
            order = make_shuffled_order(self.seed, self.state.epoch, len(rows)) if shuffle else None
            _, last_loss = self._train_epoch(rows, targets, order, batchsz, lr, epoch)
            if test:
                loss = self._reference_loss(last_loss)
                print(f"Epoch {epoch}:{self._count_correct(*test)}/{len(test[1])}", loss)
            else:
                print(f"Epoch {epoch} complete")

    def evaluate(self, test_data, y=None):
        """Return how many of the samples (x, label) have their greatest output at the label.

        If the loss has several outputs for each target, the predicted targets replace the outputs:
        the means of gaussian_nll, and of pinball the quantile nearest to 1/2.

        Parameters
        ----------
        test_data : list of (x, label)
            `x` as in `backprop`, `label` an integer.
        y : None
            Not supported: for arrays X, y see `Network.score`.

        Raises
        ------
        TypeError, ValueError
            If `test_data` is not such a list, or `y` is given.
        """
        if y is not None:
            raise TypeError(
                "evaluate takes a list of pairs (x, label), as the reference does; for arrays call "
                "score(X, y)"
            )
        return self._count_correct(*self._convert_labeled(test_data))

    def _train_epoch(self, rows, targets, order, batch_size, lr, epoch=0):
        check_trainable(self.state.parameters.tensors, self.state.parameters.frozen)
        noise = self.seed, self.state.epoch
        self.state.epoch += 1
        return train_plain_epoch(
            self.state, rows, targets, order, batch_size, lr, resolve_threads(), epoch=epoch,
            noise=noise,
        )  # fmt: skip

    def _reference_loss(self, loss):
        return 2 * loss if self.loss == "quadratic" else loss

    def _count_correct(self, rows, labels):
        outputs = compute_outputs(self.state, rows)
        points = self.state.architecture.loss.predict_point(outputs)
        return int((points.argmax(axis=1) == labels).sum())

    def _convert_labeled(self, pairs):
        pairs = list_pairs("test_data", pairs, "score(X, y)")
        labels = np.empty(len(pairs), np.int64)
        for i, (_, label) in enumerate(pairs):
            value = to_real_array(f"label of test_data[{i}]", label)
            if value.size != 1 or value.item() != int(value.item()):
                raise ValueError(
                    f"label of test_data[{i}] must be one integer; got shape {value.shape}"
                    + (f", {value.item()}" if value.size == 1 else "")
                )
            labels[i] = value.item()
        inputs = self.state.architecture.inputs
        return Rows(self._stack([x for x, _ in pairs], inputs, "test_data", "x")), labels

    def _convert_pairs(self, pairs, name="batch", alternative="partial_fit(X, y)"):
        architecture = self.state.architecture
        if architecture.loss.call:
            raise TypeError("the reference's methods do not support a loss that is a callable")
        pairs = list_pairs(name, pairs, alternative)
        if len(pairs) == 0:
            raise ValueError(f"{name} must be a list of at least one (x, y); got {pairs!r}")
        rows = Rows(self._stack([x for x, _ in pairs], architecture.inputs, name, "x"))
        width = architecture.targets
        if np.ndim(pairs[0][1]) == 0 and width > 1:
            labels = to_real_array("y", [y for _, y in pairs])
            return rows, Targets(as_labels(labels, width))
        return rows, Targets(self._stack([y for _, y in pairs], width, name, "y"))

    def _stack(self, arrays, width, name, item):
        # Return an array of shape (len(arrays), width) of the network's dtype.
        stacked = np.empty((len(arrays), width), self.dtype)
        for i, array in enumerate(arrays):
            if np.size(array) != width:
                raise ValueError(
                    f"{item} of {name}[{i}] must have {width} elements, one sample; got shape "
                    f"{np.shape(array)}"
                )
            array = to_real_array(f"{item} of {name}[{i}]", array)
            stacked[i] = convert_dtype(f"{item} of {name}[{i}]", array, self.dtype).reshape(width)
        Rows(stacked).check_finite(self.dtype, f"{item} of {name}")
        return stacked


def list_pairs(name, pairs, alternative):
    """Return pairs (x, y) as a list.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    pairs : sequence of (x, y)
    alternative : str
        The method that takes arrays X, y, in messages.

    Raises
    ------
    TypeError
        If an item is not a pair.
    """
    is_array = is_numeric_array(pairs) or not hasattr(pairs, "__iter__")
    pairs = [pairs] if is_array else list(pairs)
    for i, pair in enumerate(pairs):
        if is_numeric_array(pair) or not hasattr(pair, "__len__") or len(pair) != 2:
            got = f"{type(pair).__name__} as {name}[{i}]"
            raise TypeError(
                f"{name} must be a list of pairs (x, y), one for each sample; "
                f"got {type(pair).__name__ if is_array else got}; for arrays call {alternative}"
            )
    return pairs


def is_numeric_array(value):
    """Return whether `value` is an array of numbers, not of objects."""
    return getattr(getattr(value, "dtype", None), "kind", "O") != "O"

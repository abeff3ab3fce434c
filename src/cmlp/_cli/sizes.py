"""The layer sizes of ``cmlp train``, and the labels that they must suit."""

import numpy as np

from cmlp import losses
from cmlp._cli.errors import CommandError

# Losses of regression: a label column is a number to predict with one output, not a class.
REGRESSION_LOSSES = [
    name for name, loss in losses.LOSSES.items() if loss.output == "identity" and not loss.scores
]

# Greatest number of classes without --layers. Beyond FEW_CLASSES there must be SAMPLES_PER_CLASS
# samples for each: whole numbers that are not classes, such as prices, would otherwise become
# networks with thousands of outputs.
FEW_CLASSES, MANY_CLASSES, SAMPLES_PER_CLASS = 100, 1000, 10


def resolve_sizes(layers, loss, X, y, y_test):
    """Return the layer sizes, inputs first, as a list of int.

    Parameters
    ----------
    layers : str, list of int or None
        None for one hidden layer of 30 units.
    loss : Loss
    X : array_like, shape (n_samples, ...)
    y : ndarray, shape (n_samples,) or (n_samples, n_outputs)
    y_test : ndarray
        The same for test data.
    """
    inputs = int(np.prod(np.shape(X)[1:]))
    sizes = None if layers is None else parse_layers(layers, inputs)
    if y.ndim == 2:
        outputs = y.shape[1]
    elif loss.name in REGRESSION_LOSSES:
        outputs = 1
    else:
        outputs = count_classes(sizes, np.concatenate([y, y_test]))
    outputs *= loss.blocks
    if sizes is None:
        return [inputs, 30, outputs]
    if loss.name in REGRESSION_LOSSES and sizes[-1] != outputs:
        raise CommandError(
            f"--layers {layers}: the last must be {outputs} for --loss {loss.name}, "
            "which predicts numbers"
        )
    return sizes


def count_classes(sizes, labels):
    """Return the number of classes of labels, at least 2.

    Parameters
    ----------
    sizes : list of int or None
        The sizes that ``--layers`` lists; without, labels that are hardly classes are refused.
    labels : ndarray, shape (n_samples,)
    """
    hint = "to predict a number, use --loss mse"
    if sizes is None:
        limit = min(max(FEW_CLASSES, len(labels) // SAMPLES_PER_CLASS), MANY_CLASSES)
        check_labels(labels, limit, f"{hint}; for more classes, give --layers")
    else:
        check_labels(labels, max(sizes[-1], 2), hint)
    return max(int(labels.max()) + 1, 2)


def parse_layers(layers, inputs):
    """Return the sizes that ``--layers`` lists, a list of int that begins with `inputs`."""
    try:
        sizes = [int(size) for size in (layers.split(",") if isinstance(layers, str) else layers)]
    except (TypeError, ValueError):
        raise CommandError(
            f"--layers {layers}: it must be whole numbers separated by commas"
        ) from None
    if sizes[0] != inputs:
        raise CommandError(
            f"--layers {layers}: the first must be {inputs}, the number of columns of the data"
        )
    return sizes


def check_labels(labels, classes, hint):
    """Raise `CommandError` unless all labels are whole numbers from 0 to `classes` - 1.

    Parameters
    ----------
    labels : ndarray, shape (n_samples,)
    classes : int
    hint : str
        The end of the message.
    """
    is_label = (labels == np.trunc(labels)) & (labels >= 0) & (labels < classes)
    if not is_label.all():
        worst = labels[~is_label]
        raise CommandError(
            f"labels must be whole numbers from 0 to {classes - 1}; got {worst.max()}; {hint}"
        )

"""Scores of models and confusion matrices."""

import numpy as np

from cmlp._cli.errors import MOST_CLASSES, CommandError, list_names
from cmlp._cli.models import match_values
from cmlp._cli.sizes import check_labels
from cmlp._cli.tables import find_missing

# Larger confusion matrices do not fit on a screen.
MOST_MATRIX_CLASSES = 40


def convert_target(table, name, classes=None):
    """Return the rows of a table that have a target, and their targets.

    Parameters
    ----------
    table : Table
    name : str
    classes : ndarray, optional
        The labels of a classifier, if the column is one of categories.

    Returns
    -------
    inputs : Table
    y : ndarray, shape (n_rows,)
        Labels as in `classes`, where they occur there; int64 if all are whole numbers, else
        float64.
    n_dropped : int

    Raises
    ------
    CommandError
        If no row has a target.
    """
    inputs, values = table.pop(name)
    is_missing = find_missing(values)
    inputs, values = inputs.take(~is_missing), values[~is_missing]
    if not len(values):
        raise CommandError(f"{table.path}: no row has a value of the target {name!r}")
    if classes is not None:
        values = match_values(values, classes.tolist())
    elif (values == np.trunc(values)).all() and (np.abs(values) <= 2**53).all():
        values = values.astype(np.int64)
    return inputs, values, int(is_missing.sum())


def score_estimator(model, X, y, shows_matrix=False):
    """Return the lines with the scores of an estimator; the last one is accuracy or R^2.

    Parameters
    ----------
    model : RealMLPClassifier or RealMLPRegressor
    X : dict from str to ndarray
    y : ndarray, shape (n_rows,)
    shows_matrix : bool, default False
        Whether the lines begin with the confusion matrix.
    """
    if hasattr(model, "classes_"):
        return score_classifier(model, X, y, shows_matrix)
    predicted = model.predict(X)
    lines = []
    if predicted.ndim == 1:
        lines.append(f"test rmse: {np.sqrt(np.mean((predicted - y) ** 2)):.6g}")
    name = "d2_pinball" if model.loss == "pinball" else "r2"
    return [*lines, f"test {name}: {model.score(X, y):.4f}"]


def score_classifier(model, X, y, shows_matrix):
    """Return the lines of `score_estimator` for a classifier.

    Raises
    ------
    CommandError
        If the model has none of the classes in `y`.
    """
    classes = model.classes_.tolist()
    index = {label: i for i, label in enumerate(classes)}
    unknown = sorted({label for label in y.tolist() if label not in index}, key=str)
    if len(unknown) == len(set(y.tolist())):
        raise CommandError(
            f"the target must have classes of the model, {list_names(classes, MOST_CLASSES)}; got "
            f"{list_names(unknown, MOST_CLASSES)}"
        )
    proba = model.predict_proba(X)
    predicted = proba.argmax(axis=1)
    index |= {label: len(classes) + i for i, label in enumerate(unknown)}
    codes = np.array([index[label] for label in y.tolist()])
    lines = format_confusion(codes, predicted, [*classes, *unknown]) if shows_matrix else []
    if unknown:
        lines.append(f"the model has no class {list_names(unknown, MOST_CLASSES)}: no log loss")
    else:
        chosen = proba[np.arange(len(codes)), codes].astype(np.float64)
        tiny = np.finfo(proba.dtype).tiny
        lines.append(f"test log_loss: {-np.log(np.maximum(chosen, tiny)).mean():.4f}")
    return [*lines, f"test accuracy: {np.mean(codes == predicted):.4f}"]


def score_network(network, X, y, shows_matrix=False):
    """Return the lines with the score of a network; see `score_estimator`."""
    if network.is_classifier and y.ndim == 1:
        check_labels(y, max(network.size[-1], 2), "the model is a classifier")
    lines, score = [], network.score(X, y)
    if shows_matrix and network.task in ("binary", "multiclass"):
        labels = y.argmax(axis=1) if y.ndim == 2 else y.astype(np.intp)
        lines = format_confusion(labels, network.predict(X), range(max(network.size[-1], 2)))
    if network.score_name == "r2" and y.ndim == 1:
        error = network.predict(X).reshape(len(y)).astype(np.float64) - y
        lines.append(f"test rmse: {np.sqrt(np.mean(error**2)):.6g}")
    return [*lines, f"test {network.score_name}: {score:.4f}"]


def format_confusion(labels, predicted, names):
    """Return the lines of the confusion matrix: rows are true classes, columns predicted ones.

    Parameters
    ----------
    labels, predicted : ndarray of int, shape (n_samples,)
    names : sequence
        Of the classes.
    """
    if len(names) > MOST_MATRIX_CLASSES:
        return [f"no confusion matrix: {len(names)} classes are more than {MOST_MATRIX_CLASSES}"]
    table = np.zeros((len(names), len(names)), int)
    np.add.at(table, (labels, predicted), 1)
    names = [" ".join(str(name).split()) or "''" for name in names]
    first = max(map(len, names)) + 1
    most = table.max(axis=0).tolist()
    widths = [max(len(name), len(str(n))) + 1 for name, n in zip(names, most, strict=True)]
    pairs = list(zip(names, widths, strict=True))
    lines = ["rows: true class, columns: predicted class"]
    lines.append(" " * first + "".join(f"{name:>{width}}" for name, width in pairs))
    for name, row in zip(names, table, strict=True):
        cells = "".join(f"{count:>{width}}" for count, width in zip(row, widths, strict=True))
        lines.append(f"{name:>{first}}{cells}")
    return lines

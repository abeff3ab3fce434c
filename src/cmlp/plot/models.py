"""The networks of a model, and its predictions beside the true values."""

from typing import NamedTuple

import numpy as np

from cmlp._model.architecture import Architecture
from cmlp._model.tasks import check_targets, convert_outputs
from cmlp._training.inputs import prepare_targets
from cmlp._utils.validation import check_unmasked, to_list
from cmlp.network import Network
from cmlp.quantized import QuantizedNetwork
from cmlp.reference import Model

NETWORKS = Network, QuantizedNetwork

# Attributes of scikit-learn's searches and wrappers that hold the fitted estimator.
INNER = ("best_estimator_", "estimator_", "regressor_")


class ClassPredictions(NamedTuple):
    """Predicted classes beside the true ones.

    Attributes
    ----------
    classes : list
        The label of each class.
    names : list of str
        The name of each class.
    true, predicted : ndarray of int, shape (n,)
        Indices of classes.
    probabilities : ndarray of float64, shape (n, classes), or None
    """

    classes: list
    names: list
    true: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None


def unwrap(model):
    """Return the last step of a pipeline and the fitted estimator of a search, or the model."""
    while True:
        if isinstance(model, Model):
            return model.network
        if isinstance(model, NETWORKS):
            return model
        if isinstance(getattr(model, "steps", None), list) and model.steps:
            model = model.steps[-1][1]
            continue
        inner = [getattr(model, name) for name in INNER if hasattr(model, name)]
        if not inner:
            return model
        model = inner[0]


def get_network(model):
    """Return the network of a model, of several the first one, which has the others' layers.

    Raises
    ------
    TypeError
        If it has none.
    """
    model = unwrap(model)
    if isinstance(model, NETWORKS):
        return model
    found = getattr(model, "networks_", None) or [getattr(model, "network_", None)]
    if not isinstance(found[0], NETWORKS):
        raise TypeError(
            "model must be a Network, a QuantizedNetwork or a fitted estimator of cmlp; "
            f"got {type(model).__name__}"
        )
    return found[0]


def predict_classes(model, X, y, labels=None, *, with_probabilities=False):
    """Return the classes that a model predicts, beside the true ones.

    Parameters
    ----------
    model : Network, QuantizedNetwork or classifier with scikit-learn's methods
    X : array_like
        As `model` takes it, at least one sample.
    y : array_like, shape (n,)
        Labels; for a network also one-hot rows.
    labels : sequence of str, optional
        Names of the classes.
    with_probabilities : bool, default False
        Whether to compute probabilities, too; the prediction is then the class of the greatest one.

    Returns
    -------
    ClassPredictions

    Raises
    ------
    TypeError
        If the model is not a classifier, or has no probabilities.
    ValueError
        If its labels do not exclude each other, or X, y or `labels` does not fit.
    """
    check_unmasked("y", y)
    if isinstance(model, Model):
        model = model.network
    compute = predict_by_network if isinstance(model, NETWORKS) else predict_by_estimator
    classes, true, predicted, probabilities = compute(model, X, y, with_probabilities)
    # Otherwise Matplotlib reads text between two dollar signs as a formula.
    names = [str(each).replace("$", r"\$") for each in classes]
    if labels is not None:
        names = [str(label) for label in to_list("labels", labels, "names")]
        if len(names) != len(classes):
            raise ValueError(
                f"labels must be {len(classes)} names, one for each class; got {len(names)}"
            )
    return ClassPredictions(classes, names, true, predicted, probabilities)


def predict_by_network(network, X, y, with_probabilities):
    """Return classes, true and predicted ones, and probabilities; see `predict_classes`."""
    architecture, task = network.state.architecture, network.task
    if task not in ("binary", "multiclass"):
        raise TypeError(
            "model must be a classifier of classes that exclude each other; "
            f"got a network whose task is {task!r}"
        )
    outputs = network.predict_proba(X) if with_probabilities else network(X)
    check_samples(outputs)
    true = read_targets(architecture, task, y, len(outputs))
    if true.ndim == 2:
        has_one_class = ((true == 0) | (true == 1)).all()
        if task == "multiclass" and not (has_one_class and (true.sum(axis=1) == 1).all()):
            raise ValueError("y must hold labels or one-hot rows; got other rows")
        if not has_one_class:
            raise ValueError("y must hold 0 and 1; got other numbers")
        true = true.argmax(axis=1) if task == "multiclass" else true[:, 0]
    predicted = convert_outputs(architecture, task, outputs)
    classes = list(range(max(2, architecture.outputs)))
    probabilities = outputs.astype(np.float64) if with_probabilities else None
    if with_probabilities and task == "binary":
        probabilities = np.hstack([1 - probabilities, probabilities])
    return classes, true.astype(np.intp), predicted, probabilities


def read_targets(architecture: Architecture, task, y, n_samples):
    """Return the targets of a network as it is trained with them: labels (n,) or values (n, k)."""
    targets = prepare_targets(y, n_samples, architecture).array
    check_targets(architecture.tasks, task, targets)
    return targets


def predict_by_estimator(model, X, y, with_probabilities):
    """Return the same for an estimator."""
    classes = getattr(model, "classes_", None)
    method = "predict_proba" if with_probabilities else "predict"
    if classes is None or not hasattr(model, "predict"):
        raise TypeError(
            f"model must be a network or a fitted classifier; got {type(model).__name__}"
        )
    if not hasattr(model, method):
        raise TypeError(f"model must have the method {method}; got {type(model).__name__}")
    found = getattr(model, method)(X)
    dimensions = 2 if with_probabilities else 1
    if isinstance(classes, list) or isinstance(found, list) or np.ndim(found) != dimensions:
        raise TypeError("model must be a classifier of a single label for each sample")
    found, classes = np.asarray(found), np.asarray(classes).tolist()
    check_samples(found)
    true = encode_labels(y, classes, len(found))
    if not with_probabilities:
        return classes, true, encode_labels(found, classes, len(found)), None
    return classes, true, found.argmax(axis=1), found.astype(np.float64)


def check_samples(found):
    """Raise `ValueError` unless there is at least one prediction."""
    if not len(found):
        raise ValueError("X must have at least one sample; got none")


def encode_labels(y, classes, n_samples):
    """Return the index of each label in a list of classes, ndarray of int, shape (n,).

    Raises
    ------
    ValueError
        If there is another number of labels, or a label is not a class.
    """
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n_samples,):
        raise ValueError(f"y must have {n_samples} labels, like X; got shape {array.shape}")
    indices = {label: index for index, label in enumerate(classes)}
    codes = np.array([indices.get(label, -1) for label in array.tolist()], np.intp)
    if (codes < 0).any():
        row = (codes < 0).argmax()
        raise ValueError(
            f"y must hold classes of the model, {', '.join(map(repr, classes[:20]))}"
            f"{', ...' if len(classes) > 20 else ''}; got {array.tolist()[row]!r} in row {row}"
        )
    return codes


def predict_values(model, X, y):
    """Return the true and the predicted values of a regressor, ndarray of float64, (n, targets).

    Raises
    ------
    TypeError
        If the model is not a regressor.
    ValueError
        If X or y does not fit, y is not finite, or the model predicts several quantiles.
    """
    check_unmasked("y", y)
    if isinstance(model, NETWORKS):
        if model.is_classifier:
            raise TypeError(
                f"model must be a regressor; got a network whose task is {model.task!r}"
            )
        outputs = model(X)
        check_samples(outputs)
        architecture = model.state.architecture
        true = read_targets(architecture, model.task, y, len(outputs))
        predicted = architecture.loss.predict(outputs)
    else:
        if not hasattr(model, "predict") or hasattr(model, "classes_"):
            raise TypeError(f"model must be a network or a regressor; got {type(model).__name__}")
        predicted = np.asarray(model.predict(X))
        check_samples(predicted)
        true = np.asarray(y)
    true, predicted = (each.reshape(len(each), -1).astype(np.float64) if each.ndim else each
                       for each in (true, predicted))  # fmt: skip
    if true.shape != predicted.shape:
        raise ValueError(
            f"y must have the shape of the predictions, {predicted.shape}; got {true.shape}"
        )
    if not np.isfinite(true).all():
        raise ValueError("y must be finite; got NaN or infinity")
    return true, predicted

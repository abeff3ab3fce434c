"""The task of a network: what kind of targets it learns.

Predictions, the default score and the metrics depend on the task:

================  ===========================================================================
``"binary"``      one output, two classes
``"multiclass"``  several outputs; the index of the greatest one is the class
``"multilabel"``  several outputs, each a label that is present or not, whatever the others are
``"regression"``  real targets
================  ===========================================================================

`list_tasks` derives from output and loss which tasks a network can have; the targets of `fit`
choose among them (`infer_task`).
"""

import numpy as np

# In ascending order of generality: targets that suit a task also suit the later tasks of a network
# with the same number of outputs.
TASKS = ("binary", "multiclass", "multilabel", "regression")

# Largest difference between 1 and the sum of a row of probabilities; float32 rounds the targets.
SUM_TOLERANCE = 1e-3


def list_tasks(output, loss, outputs):
    """Return the tasks that a network can have, a tuple; the first one is the default.

    Parameters
    ----------
    output : cmlp.activations.Activation
        Of the last layer.
    loss : cmlp.losses.Loss
    outputs : int
        Number of outputs.
    """
    if not (output.threshold > 0 or loss.scores):
        return ("regression",)
    tasks = ("binary",) if outputs == 1 else ("multiclass",)
    if output.name == "softmax" or loss.name == "cross_entropy":
        return tasks  # the classes exclude each other
    if outputs > 1:
        tasks += ("multilabel",)
    return tasks if loss.has_class_targets else (*tasks, "regression")


def check_task(tasks, task):
    """Raise `ValueError` unless `task` is one of `tasks`."""
    if task not in tasks:
        raise ValueError(
            f"task must be {' or '.join(map(repr, tasks))} for this output and loss; got {task!r}"
        )


def infer_task(tasks, targets, before=None):
    """Return the task that the targets of training choose.

    With one output, targets other than 0 and 1 mean regression, unless the loss is one of classes.
    With several outputs, labels mean multiclass. For a binary cross-entropy and for hinge losses,
    rows mean multilabel. For other losses they mean multiclass if each is one-hot or sums to 1,
    multilabel if they hold 0 and 1, and regression otherwise.

    Parameters
    ----------
    tasks : tuple of str
        See `list_tasks`.
    targets : ndarray
        Labels, shape (n,), or values, shape (n, outputs).
    before : str, optional
        The task that earlier targets of the same data set chose. Rows do not make it less general.
    """
    if len(tasks) == 1 or targets.ndim == 1:
        return tasks[0]
    if "regression" not in tasks:
        return tasks[-1]
    if targets.shape[1] == 1:
        task = "binary" if has_only_0_and_1(targets) else "regression"
    elif are_distributions(targets):
        task = "multiclass"
    else:
        task = "multilabel" if has_only_0_and_1(targets) else "regression"
    return task if before is None else max(task, before, key=TASKS.index)


def check_targets(tasks, task, targets, name="y"):
    """Raise `ValueError` unless predictions of a task can be compared with targets.

    Parameters
    ----------
    tasks : tuple of str
        See `list_tasks`.
    task : str
    targets : ndarray
        Labels, shape (n,), or values, shape (n, outputs).
    name : str
        Name of the argument in messages.
    """
    if len(tasks) == 1 or task == "regression":
        return
    if task == "multilabel" and targets.ndim == 1:
        raise ValueError(
            f"{name} must have a row of 0 and 1 for each sample, as the network's task is "
            f"'multilabel'; got shape {targets.shape}"
        )
    if task == "multiclass":
        is_suitable = targets.ndim == 1 or are_distributions(targets)
        allowed = "labels (n,) or one-hot rows"
    else:
        is_suitable = "regression" not in tasks or has_only_0_and_1(targets)
        allowed = "0 and 1"
    if not is_suitable:
        others = " or ".join(repr(other) for other in tasks if other != task)
        raise ValueError(
            f"{name} must hold {allowed}, as the network's task is {task!r}; got other rows; "
            f"`fit` on such targets, or assigning to `task`, makes it {others}"
        )


def has_only_0_and_1(targets):
    """Return whether all values are 0 or 1."""
    return bool(((targets == 0) | (targets == 1)).all())


def are_distributions(targets):
    """Return whether each row is not negative and sums to 1, as one-hot rows do."""
    is_normalized = np.abs(targets.sum(axis=1) - 1) <= SUM_TOLERANCE
    return bool(is_normalized.all() and (targets >= 0).all())


def convert_outputs(architecture, task, outputs):
    """Return the predictions for a network's outputs.

    Parameters
    ----------
    architecture : Architecture
    task : str
    outputs : ndarray, shape (n, outputs)

    Returns
    -------
    ndarray, shape (n,), (n, targets) or (n, outputs)
        As `cmlp.Network.predict`.
    """
    if task != "regression":
        return architecture.classify(outputs, task)
    return drop_single_column(architecture.loss.predict(outputs))


def drop_single_column(array):
    """Return an array (n, 1) as (n,), and others unchanged."""
    return array[:, 0] if array.shape[1] == 1 else array

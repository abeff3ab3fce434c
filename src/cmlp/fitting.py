"""The arguments of `Network.fit`, checked, into a course of training."""

import numpy as np

from cmlp import batches, checkpoints, threads, training
from cmlp._core.samples import Targets
from cmlp.callbacks import Checkpoint, checked_callbacks
from cmlp.checks import check_switch, check_whole
from cmlp.lbfgs import LBFGS
from cmlp.metrics import Metrics, checked_metrics
from cmlp.optimizers import OPTIMIZERS, SGD, Optimizer
from cmlp.progress import choose
from cmlp.running import Running


def prepare(network, X, y, *, epochs=10, batch_size=32, optimizer=None, schedule=None,
            shuffle=True, validation_data=None, validation_split=0.0, sample_weight=None,
            class_weight=None, early_stopping=None, callbacks=(), metrics=(), restore_good=False,
            sparse="auto", progress=None, verbose=None, threads=None, running=None):  # fmt: skip
    """Return a `training.Course`; the arguments are those of `Network.fit`.

    It is where a checkpoint was, if the network is one that `Network.resume` returned.

    Parameters
    ----------
    running : cmlp.running.Running, optional
        An optimizer that has worked before.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the network is as it was.
    """
    epochs = check_whole("epochs", epochs, 0)
    batch_size = check_whole("batch_size", batch_size)
    optimizer = checked_optimizer(optimizer)
    schedule = begun(schedule)
    told = checked_callbacks(callbacks, early_stopping)
    metrics = checked_metrics(metrics, network.is_classifier, network.size[-1])
    check_switch("restore_good", restore_good)
    team = resolve_threads(threads)
    if y is None:
        source = iterable(network, X, validation_split, sample_weight, class_weight)
        source.check(schedule, optimizer)
        validate = validation_of_data(network, validation_data, metrics, team)
    else:
        source, validate = arrays(
            network, X, y, batch_size, shuffle, (sample_weight, class_weight), validation_data,
            validation_split, metrics, sparse, team,
        )  # fmt: skip
    if validate is None:
        check_monitors([schedule, *told])
    options = {
        "validate": validate, "epochs": epochs, "optimizer": optimizer, "schedule": schedule,
        "callbacks": told, "metrics": metrics, "threads": team, "restore_good": restore_good,
        "progress": choose(progress, verbose, epochs, source.samples),
    }  # fmt: skip
    if isinstance(optimizer, LBFGS):
        check_full_batch(network, source, schedule, metrics, told, restore_good)
        return training.FullBatchCourse(network, source, running=None, **options)
    course = training.Course(
        network, source, running=running or Running(network, optimizer), **options
    )
    if network._resumed is not None:
        checkpoints.restore(course, *network._resumed)
        network._resumed = None
    return course


def begun(schedule):
    """Return what runs through one call of `fit`, given a schedule, a callable or None."""
    if schedule is None:
        return None
    # They take a sixth of the package's import: they come when there is one.
    from cmlp.schedules import checked_schedule

    return checked_schedule(schedule)


def arrays(network, X, y, batch_size, shuffle, weights, validation_data, validation_split,
           metrics, sparse, team):  # fmt: skip
    """Return the `Samples` of arrays, and what gives the validation quantities, or None."""
    rows, targets, values = data(network, X, y, weights=weights)
    if len(rows) == 0:
        raise ValueError("X is empty; training needs at least one sample")
    if network._architecture.input_noise:
        if rows.is_sparse:
            raise ValueError("input_noise leaves no zeros to skip; pass X.toarray()")
        sparse = False
    density = batches.sparse_density(network, min(batch_size, len(rows)))
    rows = batches.compressed(rows, sparse, team, density)
    subset, held_out = split(network, len(rows), validation_split)
    if held_out is not None and validation_data is not None:
        raise ValueError("validation_data and validation_split exclude each other")
    validate = validation_of_data(network, validation_data, metrics, team)
    if held_out is not None:
        validate = validation(network, rows, targets, values, held_out, metrics, team)
    return training.Samples(rows, targets, values, subset, batch_size, bool(shuffle)), validate


def iterable(network, X, validation_split, sample_weight, class_weight):
    """Return the `Batches` of an iterable."""
    if not (callable(X) or (hasattr(X, "__iter__") and not hasattr(X, "__array__"))):
        raise TypeError(
            "y is missing; without it X must be an iterable of batches (X, y), or a callable "
            f"that returns one, got {type(X).__name__}"
        )
    if validation_split or sample_weight is not None or class_weight is not None:
        raise ValueError(
            "an iterable of batches goes without validation_split, sample_weight and "
            "class_weight; a batch may be (X, y, sample_weight)"
        )

    def convert(batch, number):
        if not (isinstance(batch, (tuple, list)) and len(batch) in (2, 3)):
            raise TypeError(
                f"batch {number} must be (X, y) or (X, y, sample_weight), "
                f"got {type(batch).__name__}"
            )
        X, y, *weights = batch
        found = data(network, X, y, f" of batch {number}", (weights[0] if weights else None, None))
        if len(found[0]) == 0:
            raise ValueError(f"X of batch {number} is empty")
        if network._architecture.input_noise and found[0].is_sparse:
            raise ValueError("input_noise leaves no zeros to skip; pass X.toarray()")
        return found

    return training.Batches(X, convert)


def data(network, X, y, suffix="", weights=None):
    """Return rows, targets and, for a loss in Python, the values to compare with."""
    outputs, loss = network.size[-1], network._architecture.loss
    rows = batches.as_rows(X, network.size[0], network.dtype, "X" + suffix)
    name, values = "y" + suffix, None
    if loss.call:
        values = np.asarray(y)
        if values.ndim == 0 or len(values) != len(rows):
            raise ValueError(
                f"{name} must have as many samples as X, {len(rows)}, got shape {values.shape}"
            )
        if weights is not None and any(weight is not None for weight in weights):
            raise ValueError("a loss that is a callable knows no sample or class weights")
    comparable = values is None or (
        values.dtype.kind in "biuf" and values.shape in ((len(rows),), (len(rows), outputs))
    )
    if not comparable:  # only the loss knows what they mean
        targets = Targets(np.zeros((len(rows), outputs), network.dtype))
    else:
        targets = batches.as_targets(y, len(rows), outputs, loss, network.dtype, name)
    if weights is not None and len(rows):
        targets.weighted(batches.as_weights(*weights, y, len(rows), outputs))
    return rows, targets, values


def split(network, samples, fraction):
    """Return the rows to train on and those held out, both None where none are."""
    if not (isinstance(fraction, (int, float)) and 0 <= fraction < 1):
        raise ValueError(f"validation_split must lie in [0, 1), got {fraction!r}")
    if fraction == 0:
        return None, None
    held = round(samples * fraction)
    if not 0 < held < samples:
        raise ValueError(
            f"validation_split={fraction} of {samples} samples leaves "
            f"{samples - held} to train on and {held} to validate with"
        )
    # An order of its own, by an epoch that no training reaches.
    order = training.shuffled(network.seed, 2**32 - 1, samples)
    return order[held:], order[:held]


def validation_of_data(network, validation_data, metrics, team):
    """Return what gives the quantities of `validation_data`, or None."""
    if validation_data is None:
        return None
    X, y = pair_of("validation_data", validation_data)
    rows, targets, values = data(network, X, y, " of validation_data")
    if len(rows) == 0:
        raise ValueError("X of validation_data is empty")
    return validation(network, rows, targets, values, None, metrics, team)


def pair_of(name, value):
    """Return X and y; raise `TypeError` unless it is a pair of them."""
    try:
        X, y = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a pair (X, y)") from None
    return X, y


def validation(network, rows, targets, values, held_out, metrics, team):
    """Return what gives the loss and the metrics of rows, or of those held out."""
    score = () if network._architecture.loss.call else (network.score_name,)
    names = tuple(dict.fromkeys([*score, *metrics]))

    def validate():
        loss, found = evaluate(network, rows, targets, values, held_out, names, team)
        return {"val_loss": loss, **found.results("val_")}

    return validate


def evaluate(network, rows, targets, values, order, names, team):
    """Return the mean loss of rows, in an order or all, and their `Metrics`."""
    found = Metrics(names, network.is_classifier, network.size[-1])
    function, out = network._architecture.loss, None
    samples = len(rows) if order is None else len(order)
    if function.call:
        out = np.empty((samples, network.size[-1]), network.dtype)
    loss = network._program.infer(rows, targets, order, out, team, False, found.tally)
    if function.call:
        loss, _ = function(out, values if order is None else values[order])
    return loss, found


def check_full_batch(network, source, schedule, metrics, callbacks, restore_good):
    """Raise where something has no meaning for L-BFGS."""
    if isinstance(source, training.Batches):
        raise ValueError("LBFGS needs all samples at once: X and y must be arrays")
    if source.subset is not None:
        raise ValueError("LBFGS takes validation_data, but no validation_split")
    if network._architecture.loss.call:
        raise ValueError("LBFGS needs a loss of cmlp's")
    if schedule is not None or metrics:
        raise ValueError("LBFGS takes no schedule and no metrics; validation_data has its score")
    if network._architecture.max_norm or restore_good:
        raise ValueError("LBFGS takes neither max_norm nor restore_good")
    if any(c.wants_batches or isinstance(c, Checkpoint) for c in callbacks):
        raise ValueError("LBFGS has no batches to tell of, and SciPy keeps what a checkpoint needs")


def check_monitors(watchers):
    """Raise if one of them watches a quantity of validation data, of which there are none."""
    for watcher in watchers:
        monitor = getattr(watcher, "monitor", "")
        if monitor.startswith("val_"):
            raise ValueError(f"monitor={monitor!r} needs validation_data or validation_split")


def checked_optimizer(optimizer):
    """Return the optimizer, or the default."""
    if optimizer is None:
        return SGD()
    if not isinstance(optimizer, (Optimizer, LBFGS)):
        names = ", ".join([kind.__name__ for kind in OPTIMIZERS.values()] + ["LBFGS"])
        raise TypeError(f"optimizer must be an instance of one of {names}, got {optimizer!r}")
    return optimizer


resolve_threads = threads.resolve

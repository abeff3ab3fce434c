"""Validation of the arguments of `Network.fit`, and their conversion to a `TrainingRun`."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmlp._core.inputs import Targets
from cmlp._model.optimizer_choice import parse_optimizer, resolve_optimizer
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.parameter_groups import check_trainable
from cmlp._model.state import SPLIT_EPOCH
from cmlp._model.tasks import check_targets, infer_task
from cmlp._training import checkpoint
from cmlp._training.augmentation import AugmentedImages, AugmentedSource
from cmlp._training.evaluation import make_validation
from cmlp._training.inputs import (
    combine_weights,
    convert_samples,
    decide_compression,
    prepare_rows,
    prepare_targets,
    raise_if_not_transformable,
    split_pair,
)
from cmlp._training.loop import TrainingRun
from cmlp._training.metric_functions import check_functions, check_monitors, measure_functions
from cmlp._training.progress import choose_progress
from cmlp._training.sources import ArraySource, BatchSource
from cmlp._training.splits import check_validation_split, is_given, split_rows
from cmlp._utils.fields import check_fields, checked_field
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import (
    check_bool,
    check_count,
    check_integer,
    check_unmasked,
)
from cmlp.callbacks import Checkpoint, resolve_callbacks
from cmlp.lbfgs import LBFGS
from cmlp.metrics import resolve_metrics, split_metrics


@dataclass(kw_only=True, eq=False, repr=False)
class FitOptions:
    """The keyword arguments of `Network.fit`, which documents them."""

    epochs: int = checked_field(check_count, 10)
    batch_size: int = checked_field(check_integer, 32)
    optimizer: Any = None
    schedule: Any = None
    decay_schedule: Any = None
    dropout_schedule: Any = None
    shuffle: bool = checked_field(check_bool, True)
    drop_last: bool = checked_field(check_bool, False)
    validation_data: Any = None
    validation_split: Any = checked_field(check_validation_split, 0.0)
    sample_weight: Any = None
    class_weight: Any = None
    early_stopping: Any = None
    callbacks: Any = ()
    metrics: Any = ()
    restore_good: bool = checked_field(check_bool, False)
    sparse: bool | str = "auto"
    progress: bool | None = None
    verbose: int | None = None
    threads: int | None = None
    comm: Any = None
    shards: int | None = checked_field(check_integer, None, optional=True)
    distribute: bool = checked_field(check_bool, False)
    reproducible: bool = checked_field(check_bool, True)
    sync_every: int | None = checked_field(check_integer, None, optional=True)

    def __post_init__(self):
        check_fields(self)

    @property
    def is_sharded(self):
        """Whether an argument asks for training on shards."""
        return bool(
            self.comm is not None or self.shards is not None or self.distribute
            or not self.reproducible or self.sync_every is not None
        )  # fmt: skip


OPTION_NAMES = tuple(FitOptions.__dataclass_fields__)


class TaskChoice:
    """The task that the targets of a training run choose; see `cmlp._model.tasks.infer_task`.

    Parameters
    ----------
    architecture : Architecture
    metrics : tuple of str
        Metrics that the task must have.
    task : str or None
        The task that earlier calls with parts of the same data set chose.
    functions : tuple of cmlp.metrics.Metric, default ()

    Attributes
    ----------
    task : str or None
        None before the first targets if there were no earlier ones.
    is_chosen : bool
        Whether this run has had targets.
    """

    def __init__(self, architecture, metrics, task=None, functions=()):
        self.architecture, self.metrics, self.task = architecture, metrics, task
        self.functions, self.is_chosen = functions, False

    @property
    def has_metrics(self):
        """Whether metrics compare outputs with targets."""
        return bool(self.metrics or self.functions)

    def observe(self, targets, values, name="y"):
        """Choose the task by targets for the engine, and `values` for a loss in Python.

        Raises
        ------
        ValueError
            If the targets do not suit earlier ones, or a metric does not suit the task.
        """
        tasks, array = self.architecture.tasks, targets.array
        task = self.task or tasks[0]
        if is_comparable(values, targets.n, self.architecture.targets):
            if self.is_chosen and (array.ndim == 1 or "regression" not in tasks):
                check_targets(tasks, task, array, name)
            else:
                task = infer_task(tasks, array, self.task)
        if not self.is_chosen or task != self.task:
            resolve_metrics(self.metrics, (task,))
        self.task, self.is_chosen = task, True


def prepare_on_ranks(comm, reproducible):
    """Return a context for the preparation of training: the `Exchange` of `comm`, or None.

    If the ``with`` block fails on one rank, the other ranks end too.
    """
    if comm is None:
        return nullcontext()
    from cmlp._training.sharding import make_exchange

    return make_exchange(comm, reproducible).aborts()


def prepare_training(network, X, y, options, *, optimizer_state=None, earlier_task=None,
                     exchange=None):  # fmt: skip
    """Return the `TrainingRun` of one call of `fit`.

    If the network was returned by `Network.resume`, the run continues where the checkpoint was
    written.

    Parameters
    ----------
    network : Network
    X, y : array_like, or an iterable and None
        As in `Network.fit`.
    options : FitOptions
    optimizer_state : OptimizerState, optional
        State to continue with; by default a new one.
    earlier_task : str, optional
        The task that earlier parts of the same data set chose.
    exchange : Exchange, optional
        As `prepare_on_ranks` returns it.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the network is unchanged.
    """
    state, optimizer = network.state, choose_optimizer(options.optimizer, network.state)
    if options.is_sharded:
        # Imported here because few calls need it.
        from cmlp._training.sharding import prepare_sharded

        return prepare_sharded(
            network, X, y, options, optimizer, prepare_parts, exchange, optimizer_state,
            earlier_task,
        )  # fmt: skip
    source, common = prepare_parts(network, X, y, options, optimizer, earlier_task)
    if isinstance(optimizer, LBFGS):
        if state.checkpoint is not None:
            raise ValueError("a resumed network must continue with the optimizer of its checkpoint")
        check_full_batch(state.architecture, source, common, options)
        from cmlp._training.lbfgs import FullBatchRun

        return FullBatchRun(network, source, optimizer_state=None, **common)
    is_continued = optimizer_state is not None
    if not is_continued:
        optimizer_state = OptimizerState(optimizer, state.parameters)
    run = TrainingRun(network, source, optimizer_state=optimizer_state, **common)
    run.checks_parameters = not is_continued
    if state.checkpoint is not None:
        run.restore(checkpoint.from_snapshot(state.checkpoint, state))
    return run


def choose_optimizer(optimizer, state):
    """Return the optimizer of a run; None selects the checkpoint's if the run resumes one."""
    if optimizer is None and state.checkpoint is not None:
        text = checkpoint.from_snapshot(state.checkpoint, state).signature["optimizer"]
        try:
            return parse_optimizer(text)
        except ValueError:
            raise ValueError(
                f"optimizer must be given to resume this checkpoint, which has {text}"
            ) from None
    return resolve_optimizer(optimizer)


def prepare_parts(network, X, y, options, optimizer, earlier_task=None, shows=True):
    """Return the source of the samples and other arguments of `TrainingRun`.

    Parameters
    ----------
    network, X, y, options, earlier_task
        As for `prepare_training`.
    optimizer : Optimizer
    shows : bool, default True
        Whether progress may be shown.

    Returns
    -------
    source : ArraySource or BatchSource
    common : dict
    """
    state = network.state
    architecture = state.architecture
    check_trainable(state.parameters.tensors, state.parameters.frozen)
    schedules = start_schedules(options)
    schedule = schedules["schedule"]
    callbacks = resolve_callbacks(options.callbacks, options.early_stopping)
    names, functions = split_metrics(options.metrics)
    metrics = resolve_metrics(names, architecture.tasks)
    check_functions(functions, architecture)
    task_choice = TaskChoice(
        architecture, metrics, earlier_task if state.checkpoint is None else state.task, functions
    )
    threads = resolve_threads(options.threads)
    if options.epochs > SPLIT_EPOCH - state.epoch:
        raise ValueError(
            f"epochs must be at most {SPLIT_EPOCH - state.epoch} for a network that has been "
            f"trained for {state.epoch}; got {options.epochs}"
        )
    if y is None:
        source = make_batch_source(architecture, X, options, task_choice)
        source.check(schedules.values(), optimizer)
        validate = prepare_validation(state, options.validation_data, task_choice, threads, None)
    else:
        source, validate = make_array_source(state, X, y, options, task_choice, threads)
    check_monitors([schedule, *callbacks], functions, validate is not None)
    if functions:
        validate = measure_functions(
            state, source, functions, threads, validate, is_sharded=options.is_sharded
        )
    progress, verbose = (options.progress, options.verbose) if shows else (False, None)
    return source, {
        "validate": validate, "epochs": options.epochs, "optimizer": optimizer,
        **schedules, "callbacks": callbacks, "metrics": metrics, "threads": threads,
        "functions": tuple(metric.name for metric in functions),
        "restore_good": options.restore_good, "task_choice": task_choice,
        "progress": choose_progress(progress, verbose, options.epochs, source.n_samples),
    }  # fmt: skip


def start_schedules(options):
    """Return what computes the factors of learning rate, weight decay and dropout, a dict.

    Raises
    ------
    TypeError, ValueError
        If a schedule is neither one of `cmlp.schedules` nor a callable, or that of weight decay or
        dropout depends on the results of epochs.
    """
    names = ("schedule", "decay_schedule", "dropout_schedule")
    if all(getattr(options, name) is None for name in names):
        return dict.fromkeys(names)
    # Imported here because the module takes a sixth of the time of `import cmlp`.
    from cmlp.schedules import start_schedule

    started = {name: start_schedule(getattr(options, name), name) for name in names}
    for name in names[1:]:
        if hasattr(started[name], "state"):
            raise ValueError(
                f"{name} must not depend on the results of epochs; got {getattr(options, name)!r}"
            )
    return started


def make_array_source(state, X, y, options, task_choice, threads):
    """Return the `ArraySource` for the arrays X and y, and the validation function or None."""
    architecture = state.architecture
    images = X if isinstance(X, AugmentedImages) else None
    rows = convert_samples(X if images is None else images.samples, architecture)
    if images is not None and architecture.code_columns:
        raise ValueError("X must not be augmented with OneHot or Embedding, whose inputs are codes")
    if len(rows) == 0:
        raise ValueError(f"X must have at least one sample; got shape (0, {rows.width})")
    weights = options.sample_weight, options.class_weight
    targets, values = convert_targets(
        architecture, rows, y, weights=weights, for_metrics=task_choice.has_metrics
    )
    task_choice.observe(targets, values)
    how = {"batch_size": options.batch_size, "sparse": options.sparse}
    if images is None:
        rows = prepare_rows(rows, architecture, **how, threads=threads)
    else:
        compresses = decide_compression(rows, architecture, **how)
    subset, held_out = split_rows(architecture.seed, len(rows), options.validation_split)
    if held_out is not None and options.validation_data is not None:
        raise ValueError("validation_data and validation_split must not be given together")
    if held_out is None:
        validate = prepare_validation(
            state, options.validation_data, task_choice, threads, task_choice.task
        )
    else:
        validate = make_validation(
            state, rows, targets, values, held_out, task_choice.metrics, threads,
            task_choice.functions,
        )  # fmt: skip
    common = (
        rows, targets, values, subset, options.batch_size, options.shuffle, options.drop_last
    )  # fmt: skip
    if images is None:
        return ArraySource(*common), validate
    # A resumed run ends earlier, and prepares one chunk that it does not need.
    end_epoch = state.epoch + options.epochs
    return AugmentedSource(images, *common, compresses, threads, end_epoch), validate


def make_batch_source(architecture, X, options, task_choice):
    """Return the `BatchSource` for the iterable X."""
    if not (callable(X) or (hasattr(X, "__iter__") and not hasattr(X, "__array__"))):
        raise TypeError(
            "X must be an iterable of batches (X, y), or a callable that returns one, if y is "
            f"None; got {type(X).__name__}"
        )
    if (
        is_given(options.validation_split)
        or options.sample_weight is not None
        or options.class_weight is not None
        or options.drop_last
    ):
        raise ValueError(
            "validation_split, sample_weight, class_weight and drop_last must not be given with an "
            "iterable of batches; a batch may be (X, y, sample_weight)"
        )

    def convert(batch, number):
        if not (isinstance(batch, (tuple, list)) and len(batch) in (2, 3)):
            raise TypeError(
                f"batch {number} must be (X, y) or (X, y, sample_weight); "
                f"got {type(batch).__name__}"
            )
        X, y, *weights = batch
        suffix = f" of batch {number}"
        rows = convert_samples(X, architecture, "X" + suffix)
        weights = weights[0] if weights else None
        targets, values = convert_targets(
            architecture, rows, y, suffix, (weights, None), for_metrics=task_choice.has_metrics
        )
        if len(rows) == 0:
            raise ValueError(
                f"X of batch {number} must have at least one sample; got shape (0, {rows.width})"
            )
        raise_if_not_transformable(rows, architecture, "X" + suffix)
        task_choice.observe(targets, values, "y" + suffix)
        return rows, targets, values

    return BatchSource(X, convert)


def is_comparable(values, n_samples, outputs):
    """Return whether outputs can be compared with targets.

    Parameters
    ----------
    values : ndarray or None
        Targets for a loss in Python, which may be of any kind; None for other losses.
    n_samples, outputs : int
    """
    return values is None or (
        values.dtype.kind in "biuf" and values.shape in ((n_samples,), (n_samples, outputs))
    )


def convert_targets(architecture, rows, y, suffix="", weights=None, for_metrics=False):
    """Convert y to the engine's targets and, for a loss in Python, to an array of its items.

    Parameters
    ----------
    architecture : Architecture
    rows : Rows
    y : array_like
        As in `Network.fit`; for a loss in Python any array with one item for each row. With one
        output, that loss receives items (n,) in the outputs' shape, (n, 1).
    suffix : str
        Appended to the name of the argument in messages.
    weights : tuple (sample_weight, class_weight), optional
    for_metrics : bool, default False
        Whether to refuse targets that only a loss in Python can compare with outputs.

    Returns
    -------
    targets : Targets
    values : ndarray or None
    """
    n_samples, outputs = len(rows), architecture.targets
    name, values = "y" + suffix, None
    if architecture.loss.call:
        check_unmasked(name, y)
        values = np.asarray(y)
        if values.ndim == 0 or len(values) != n_samples:
            raise ValueError(
                f"{name} must have {n_samples} samples, like X; got shape {values.shape}"
            )
        if values.ndim == 1 and outputs == 1:
            values = values.reshape(n_samples, 1)
        if weights is not None and any(weight is not None for weight in weights):
            raise ValueError(
                "sample_weight and class_weight must not be given with a loss that is a callable"
            )
    # The engine needs targets for metrics. Targets that only the loss can read become zeros.
    if is_comparable(values, n_samples, outputs):
        targets = prepare_targets(y, n_samples, architecture, name)
    elif for_metrics:
        raise ValueError(
            f"{name} must hold real numbers of shape ({n_samples},) or ({n_samples}, {outputs}) "
            f"for metrics; got {values.dtype}, shape {values.shape}"
        )
    else:
        targets = Targets(np.zeros((n_samples, outputs), architecture.dtype))
    if weights is not None and n_samples:
        weights = combine_weights(*weights, y, n_samples, outputs, architecture.dtype)
        targets.set_weights(weights)
    return targets, values


def prepare_validation(state, validation_data, task_choice, threads, task):
    """Return the validation function for `validation_data`; None if it is None.

    The data must suit the task, unless that is None: not known yet.
    """
    if validation_data is None:
        return None
    X, y = split_pair("validation_data", validation_data)
    architecture, suffix = state.architecture, " of validation_data"
    rows = convert_samples(X, architecture, "X" + suffix)
    targets, values = convert_targets(
        architecture, rows, y, suffix, for_metrics=task_choice.has_metrics
    )
    if len(rows) == 0:
        raise ValueError(
            f"X of validation_data must have at least one sample; got shape (0, {rows.width})"
        )
    if task is not None and (values is None or task_choice.has_metrics):
        check_targets(architecture.tasks, task, targets.array, "y" + suffix)
    return make_validation(
        state, rows, targets, values, None, task_choice.metrics, threads, task_choice.functions
    )


def check_full_batch(architecture, source, common, options):
    """Raise `ValueError` if an argument of `fit` is not supported by L-BFGS."""
    if isinstance(source, BatchSource):
        raise ValueError(
            "X and y must be arrays with LBFGS, which uses all samples in each iteration"
        )
    if isinstance(source, AugmentedSource):
        raise ValueError("X must not be augmented with LBFGS, which needs the same samples always")
    if source.subset is not None:
        raise ValueError("LBFGS supports validation_data, but not validation_split")
    if architecture.loss.call:
        raise ValueError("LBFGS does not support a loss that is a callable")
    schedules = (common[name] for name in ("schedule", "decay_schedule", "dropout_schedule"))
    if any(each is not None for each in schedules) or common["metrics"]:
        raise ValueError("LBFGS supports neither schedules nor metrics; use validation_data")
    if options.drop_last:
        raise ValueError("LBFGS does not support drop_last; it uses all samples")
    if architecture.max_norm or options.restore_good:
        raise ValueError("LBFGS supports neither max_norm nor restore_good")
    if any(c.wants_batches or isinstance(c, Checkpoint) for c in common["callbacks"]):
        raise ValueError("LBFGS does not support per-batch callbacks or Checkpoint")

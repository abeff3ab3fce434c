"""Training runs as the data that a checkpoint file stores, and back.

`SCHEMA` and `RELATIONS` declare the fields, values and shapes that a file may have. A snapshot
that was read is checked by them as a whole before anything of it is used.
"""

import numpy as np

from cmlp._model.optimizer_state import POSITION
from cmlp._model.state import ARRAY_DTYPES, TrainingSnapshot
from cmlp._training.run_state import Position, RunState
from cmlp._utils.schema import (
    Anything,
    Boolean,
    Fields,
    FiniteArray,
    Group,
    Integer,
    Items,
    Nullable,
    Real,
    Text,
)

# Position's attributes under the names that files use.
POSITION_KEYS = {"epoch": "epoch", "part": "chunk", "begun": "done", "loss": "loss",
                 "weight": "weight", "penalty": "penalty", "seconds": "seconds", "lr": "lr",
                 "trained": "trained"}  # fmt: skip

# State of a callback or a schedule, which its owner checks.
STATE = Fields({}, {}, Anything())

# Name of a property in `TrainingRun.signature` -> its name in messages.
SHOWN_NAMES = {"metric_functions": "the functions in metrics"}

SCHEMA = Fields(
    {
        # `TrainingRun.signature`. The source of the data adds samples, batch_size and shuffle if
        # it is arrays, and augmentation if they are distorted; steps, null if unknown, if it is an
        # iterable of batches. A schedule that depends on the number of epochs adds epochs.
        "alike": Fields(
            {"optimizer": Text(), "schedule": Nullable(Text()), "metrics": Items(Text()),
             "callbacks": Items(Text())},
            {"samples": Integer(1), "batch_size": Integer(1), "shuffle": Boolean(),
             "shards": Integer(1), "sync_every": Integer(1), "steps": Nullable(Integer(1)),
             "decay_schedule": Text(), "dropout_schedule": Text(),
             "epochs": Integer(),
             "metric_functions": Items(Text()),
             "augmentation": Fields({"chunk_samples": Integer(1)}, {}, Anything())},
        ),
        "place": Fields(
            {"epoch": Integer(), "part": Integer(), "begun": Integer(), "trained": Integer(),
             "loss": Real(), "weight": Real(0), "penalty": Real(0), "seconds": Real(0),
             "lr": Real(0)},
            {},
        ),
        "stopped": Boolean(),
        "optimizer": POSITION,
        "tallied": Real(0),
        "schedule": Nullable(STATE),
        # Callbacks add values of any kind to the records.
        "history": Items(Fields(
            {"loss": Real(), "lr": Real(0), "seconds": Real(0), "samples_per_second": Real(0)},
            {"penalty": Real(0)}, Anything(),
        )),
        "callbacks": Items(Group((Text(), STATE))),
    },
    {},
)  # fmt: skip


def is_of_arrays(fields):
    """Return whether the run trained on arrays, `samples` in an epoch."""
    return "samples" in fields["alike"]


def count_chunks(fields):
    """Return the number of chunks of an epoch, or None if it is unknown."""
    alike = fields["alike"]
    if not is_of_arrays(fields):
        return alike["steps"]
    if "augmentation" in alike:
        return -(-alike["samples"] // alike["augmentation"]["chunk_samples"])
    return 1


def can_begin_step(fields):
    """Return whether a step begins with sample `begun` of the chunk, or the chunk is done."""
    alike, place = fields["alike"], fields["place"]
    if not is_of_arrays(fields):
        return True
    size = alike["samples"]
    if "augmentation" in alike:
        chunk = alike["augmentation"]["chunk_samples"]
        size = min(chunk, size - place["part"] * chunk)
    begun = place["begun"]
    return begun in (0, size) or (begun < size and begun % alike["batch_size"] == 0)


def has_zero_sums(fields):
    """Return whether the sums are zero if nothing of the epoch has been trained."""
    place = fields["place"]
    return place["trained"] > 0 or not (place["loss"] or place["weight"] or place["penalty"])


def has_metric_samples(fields):
    """Return whether metrics include the samples trained.

    A batch that is divided into shards may have fewer or more samples than `batch_size`, which
    `trained` counts.
    """
    alike, trained = fields["alike"], fields["place"]["trained"]
    if alike["metrics"] and trained and "shards" in alike:
        return 0 < fields["tallied"] <= alike.get("samples", fields["tallied"])
    return fields["tallied"] == (trained if alike["metrics"] else 0)


# Relations between fields: (field, what it must be, predicate of the fields and the number of
# epochs that the network has been trained).
RELATIONS = (
    ("alike", "that of a run on arrays (samples, batch_size, shuffle) or on batches (steps)",
     lambda f, _: set(f["alike"]) & {"samples", "batch_size", "shuffle", "steps"} in (
         {"samples", "batch_size", "shuffle"}, {"steps"})
     and ("sync_every" not in f["alike"] or is_of_arrays(f))),
    ("place.epoch", "at most the epoch of the network",
     lambda f, epoch: f["place"]["epoch"] <= epoch),
    ("history", "a list with one record for each of place.epoch epochs",
     lambda f, _: len(f["history"]) == f["place"]["epoch"]),
    ("history", "a list of records that all have the metrics of the run",
     lambda f, _: all(isinstance(record.get(name), float)
                      for record in f["history"] for name in f["alike"]["metrics"])),
    ("place.part", "at most the number of chunks of an epoch",
     lambda f, _: f["place"]["part"] <= (count_chunks(f) or f["place"]["part"])),
    ("place.begun", "a multiple of alike.batch_size up to the samples of the chunk, or these",
     lambda f, _: can_begin_step(f)),
    ("place.begun", "0 if all of the epoch is done",
     lambda f, _: f["place"]["begun"] == 0 or not is_of_arrays(f)
     or f["place"]["part"] < count_chunks(f)),
    ("place.trained", "place.begun in the first chunk and at least one more than that in others",
     lambda f, _: (f["place"]["trained"] > f["place"]["begun"] if f["place"]["part"]
                   else f["place"]["trained"] == f["place"]["begun"])),
    ("place.trained", "at most alike.samples",
     lambda f, _: f["place"]["trained"] <= f["alike"].get("samples", f["place"]["trained"])),
    ("place", "without sums if place.trained is 0", lambda f, _: has_zero_sums(f)),
    ("tallied", "place.trained, or 0 without metrics", lambda f, _: has_metric_samples(f)),
    ("callbacks", "a list with the callbacks of alike.callbacks",
     lambda f, _: [name for name, _ in f["callbacks"]] == f["alike"]["callbacks"]),
)  # fmt: skip


def check_signature(before, signature):
    """Raise `ValueError` unless a run may continue one with another signature.

    Parameters
    ----------
    before, signature : dict
        `TrainingRun.signature` of the interrupted run, and of the run that continues it.
    """
    for name in {**before, **signature}:
        old, new = before.get(name), signature.get(name)
        # Checkpoints of early revisions have no epochs; another schedule has its own message.
        if old == new or (name == "epochs" and None in (old, new)):
            continue
        verb = "be"
        if isinstance(old, dict) and isinstance(new, dict):
            verb = "have"  # of many items, the message shows those that differ
            keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            old, new = ({key: each.get(key) for key in keys} for each in (old, new))
        raise ValueError(
            f"{SHOWN_NAMES.get(name, name)} must {verb} {old!r}, as in the interrupted training; "
            f"got {new!r}"
        )


def to_snapshot(run_state):
    """Return a `RunState` as fields and named arrays, under the keys that files use.

    Parameters
    ----------
    run_state : RunState

    Returns
    -------
    TrainingSnapshot

    Raises
    ------
    TypeError
        If the state of a callback has an array that a file cannot hold.
    """
    arrays = dict(run_state.optimizer_arrays)
    arrays.update({f"tally_{name}": a for name, a in run_state.metric_arrays.items()})
    callbacks = []
    for i, (name, state) in enumerate(run_state.callbacks):
        is_array = {key: isinstance(value, np.ndarray) for key, value in state.items()}
        arrays.update({f"callback_{i}_{key}": state[key] for key in state if is_array[key]})
        callbacks.append([name, {key: state[key] for key in state if not is_array[key]}])
    for name, array in arrays.items():
        if array.dtype.name not in ARRAY_DTYPES or not array.dtype.isnative:
            raise TypeError(
                f"arrays that a checkpoint stores must be of {', '.join(ARRAY_DTYPES)}; "
                f"got {array.dtype.str} for {name}"
            )
    fields = {
        "alike": run_state.signature,
        "place": {key: getattr(run_state.position, name) for key, name in POSITION_KEYS.items()},
        "stopped": run_state.is_stopped,
        "optimizer": list(run_state.optimizer_position),
        "tallied": run_state.metric_samples,
        "schedule": run_state.schedule,
        "history": run_state.history,
        "callbacks": callbacks,
    }
    return TrainingSnapshot(fields, arrays)


def from_snapshot(snapshot, state):
    """Return the `RunState` that `to_snapshot` stored.

    Parameters
    ----------
    snapshot : TrainingSnapshot
    state : ModelState
        The network of the same file.

    Raises
    ------
    ValueError
        If the snapshot is not one that a run of this network may continue; the message names the
        file and the field.
    """
    try:
        return convert_snapshot(snapshot, state)
    except ValueError as error:
        raise ValueError(f"{snapshot.path} is not a checkpoint to resume: {error}") from None


def convert_snapshot(snapshot, state):
    """Do the work of `from_snapshot`; messages name the field only."""
    fields = SCHEMA.check("", snapshot.fields)
    for name, allowed, is_met in RELATIONS:
        if not is_met(fields, state.epoch):
            raise ValueError(f"{name} must be {allowed}")
    groups = sort_arrays(snapshot.arrays, len(fields["callbacks"]))
    block = FiniteArray(state.parameters.block.shape, state.parameters.dtype)
    for name, array in groups["optimizer_"].items():
        block.check(f"optimizer_{name}", array)
    if not snapshot.is_intact:
        raise ValueError("its header does not have the checksum that it was written with")
    place = fields["place"]
    return RunState(
        signature=fields["alike"],
        position=Position(**{name: place[key] for key, name in POSITION_KEYS.items()}),
        is_stopped=fields["stopped"],
        optimizer_position=fields["optimizer"],
        optimizer_arrays={f"optimizer_{n}": a for n, a in groups["optimizer_"].items()},
        metric_samples=fields["tallied"],
        metric_arrays=groups["tally_"],
        schedule=fields["schedule"],
        history=fields["history"],
        callbacks=[
            (name, {**callback_state, **groups[f"callback_{i}_"]})
            for i, (name, callback_state) in enumerate(fields["callbacks"])
        ],
        path=snapshot.path,
    )


def sort_arrays(arrays, n_callbacks):
    """Return the arrays of a snapshot by owner, a dict from prefix to dict of ndarray.

    Raises
    ------
    ValueError
        If an array has none of the prefixes.
    """
    prefixes = ["optimizer_", "tally_", *(f"callback_{i}_" for i in range(n_callbacks))]
    groups = {prefix: {} for prefix in prefixes}
    for name, array in arrays.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix is None:
            raise ValueError(f"it has an unknown array {name!r}")
        groups[prefix][name.removeprefix(prefix)] = array
    return groups

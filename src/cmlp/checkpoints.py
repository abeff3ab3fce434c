"""A course of training into a file, and out of it, so that it goes on as if never stopped."""

import numpy as np

from cmlp.files import npz
from cmlp.training import Place


def write(path, course):
    """Write a network file with all that its training needs to go on, atomically.

    Parameters
    ----------
    path : str
    course : cmlp.training.Course
    """
    state, arrays = state_of(course)
    network = course.network
    header = {**network._header(), "epoch": course.first_epoch + course.place.epoch}
    npz.write(path, {**header, "course": state}, {**network._arrays(), **arrays})


def state_of(course):
    """Return a course as a dict that JSON can hold, and named arrays."""
    place, engine = course.place, course.running.engine
    loss, weight, penalty = place.sums
    arrays = {f"optimizer_{name}": block for name, block in course.running.blocks.items()}
    if course.tally.tally is not None:
        for name, array in course.tally.arrays.items():
            arrays[f"tally_{name}"] = array
    callbacks = []
    for i, callback in enumerate(course.callbacks):
        kept = {}
        for name, value in callback.state().items():
            if isinstance(value, np.ndarray):
                arrays[f"callback_{i}_{name}"] = value
            else:
                kept[name] = value
        callbacks.append([type(callback).__name__, kept])
    schedule = course.schedule
    state = {
        "alike": alike(course),
        "place": {
            "epoch": place.epoch, "part": place.part, "begun": place.done, "loss": loss,
            "weight": weight, "penalty": penalty, "seconds": place.seconds, "lr": place.lr,
            "trained": place.trained - place.begun + place.done,
        },
        "stopped": course.stopped,
        "optimizer": list(engine.position),
        "tallied": course.tally.samples if course.tally.tally is not None else 0,
        "schedule": schedule.state() if hasattr(schedule, "state") else None,
        "history": course.history.epochs[: place.epoch],
        "callbacks": callbacks,
        "arrays": {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()},
    }  # fmt: skip
    return state, arrays


def alike(course):
    """Return what another call of `fit` must have alike to go on where this one was."""
    return {
        **course.source.fingerprint,
        "optimizer": repr(course.optimizer),
        "schedule": None if course.schedule is None else type(course.schedule).__name__,
        "metrics": list(course.metrics),
        "callbacks": [type(callback).__name__ for callback in course.callbacks],
    }


def read(file):
    """Return the state and the arrays of a checkpoint; both None where it is none.

    Parameters
    ----------
    file : cmlp.files.npz.Reader
    """
    state = file.header.get("course")
    if state is None:
        return None
    arrays = {}
    for name, (dtype, shape) in state["arrays"].items():
        arrays[name] = file.read(name, tuple(shape), np.dtype(dtype))
    return state, arrays


def restore(course, state, arrays):
    """Put a course where the checkpoint was.

    Raises
    ------
    ValueError
        If an argument of `fit` is not what it was.
    """
    for name, now in alike(course).items():
        before = state["alike"].get(name)
        if now != before:
            raise ValueError(f"{name} must be what it was for training to go on: {before!r}, "
                             f"got {now!r}")  # fmt: skip
    for name, block in course.running.blocks.items():
        block[:] = arrays[f"optimizer_{name}"]
    course.running.engine.position = state["optimizer"]
    if course.tally.tally is not None:
        for name, array in course.tally.arrays.items():
            array[:] = arrays[f"tally_{name}"]
        course.tally.tally.samples = state["tallied"]
    if state["schedule"] is not None:
        course.schedule.load_state(state["schedule"])
    course.history.epochs[:] = state["history"]
    course.stopped = state["stopped"]
    course.first_epoch -= state["place"]["epoch"]
    course.place = Place(**state["place"])
    course.resumed = [
        {**kept, **{n.removeprefix(f"callback_{i}_"): a for n, a in arrays.items()
                    if n.startswith(f"callback_{i}_")}}
        for i, (_, kept) in enumerate(state["callbacks"])
    ]  # fmt: skip

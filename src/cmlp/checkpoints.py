"""A course of training into a file, and out of it, so that it goes on as if never stopped."""

import numpy as np

from cmlp.optimizers import OPTIMIZERS
from cmlp.running import Place, Running


def write(path, course):
    """Write a network file with all that its training needs to go on, atomically.

    Parameters
    ----------
    path : str
    course : cmlp.training.Course
    """
    from cmlp.files import npz

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
    """Return the state and the arrays of a checkpoint; None where it is none.

    Parameters
    ----------
    file : cmlp.files.npz.Reader
    """
    state = file.header.get("course")
    return None if state is None else (state, read_arrays(file, state))


def read_arrays(file, state):
    """Return the arrays that a part of a header lists, of the types that it says.

    Raises
    ------
    ValueError
        If it lists none, or not those that the file holds.
    """
    try:
        listed = [(name, str(dtype), tuple(map(int, shape)))
                  for name, (dtype, shape) in state["arrays"].items()]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise file.broken(f"its list of arrays is not one: {error}") from None
    if wrong := [dtype for _, dtype, _ in listed if dtype not in ("float32", "float64")]:
        raise file.broken(f"an array is of {wrong[0]}, neither float32 nor float64")
    return {name: file.read(name, shape, np.dtype(dtype)) for name, dtype, shape in listed}


def with_optimizer(network, header, arrays):
    """Return header and arrays with the state of `partial_fit`'s optimizer.

    Raises
    ------
    ValueError
        If there is none.
    """
    if network._running is None:
        raise ValueError("there is no optimizer to keep: partial_fit has not been called")
    optimizer, running = network._running
    blocks = {f"optimizer_{name}": block for name, block in running.blocks.items()}
    state = {
        "kind": type(optimizer).__name__.lower(),
        "arguments": vars(optimizer),
        "position": list(running.engine.position),
        "ended": running.ended,
        "arrays": {name: [b.dtype.name, list(b.shape)] for name, b in blocks.items()},
    }
    return {**header, "optimizer": state}, {**arrays, **blocks}


def read_optimizer(file):
    """Return the state and the arrays of an optimizer; None where there is none."""
    state = file.header.get("optimizer")
    return None if state is None else (state, read_arrays(file, state))


def stored(arrays, optimizer, name):
    """Return what a file has for a block of an optimizer.

    The first files have means where there are sums now.
    """
    if name.startswith("sum_") and f"optimizer_{name}" not in arrays:
        i = int(name.removeprefix("sum_"))
        return arrays[f"optimizer_state_{i}"] / (1 - optimizer.betas[min(i, 1)])
    return arrays[f"optimizer_{name}"]


def restore_optimizer(network, file, state, arrays):
    """Let a network go on with an optimizer that a file keeps.

    Raises
    ------
    ValueError
        If the state is none of an optimizer for this network.
    """
    try:
        arguments = dict(state["arguments"])
        if "betas" in arguments:
            arguments["betas"] = tuple(arguments["betas"])
        optimizer = OPTIMIZERS[state["kind"]](**arguments)
        running = Running(network, optimizer)
        for name, block in running.blocks.items():
            array = stored(arrays, optimizer, name)
            if array.shape != block.shape:
                raise ValueError(f"optimizer_{name} is not as long as the parameters")
            block[:] = array
        step, product = state["position"]
        running.engine.position = int(step), float(product)
        running.ended = bool(state.get("ended", "average" in running.blocks))
    except (KeyError, TypeError, ValueError) as error:
        raise file.broken(f"its optimizer is none: {error}") from None
    network._running = optimizer, running


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
        block[:] = stored(arrays, course.optimizer, name)
    course.running.engine.position = state["optimizer"]
    if course.tally.tally is not None:
        for name, array in course.tally.arrays.items():
            array[:] = arrays[f"tally_{name}"]
        course.tally.tally.samples = state["tallied"]
    if state["schedule"] is not None:
        course.schedule.load_state(state["schedule"])
    course.history.epochs[:] = state["history"]
    course.stopped = state["stopped"]
    course.place = Place(**state["place"])
    course.first_epoch -= course.place.epoch
    course.resumed = [
        {**kept, **{n.removeprefix(f"callback_{i}_"): a for n, a in arrays.items()
                    if n.startswith(f"callback_{i}_")}}
        for i, (_, kept) in enumerate(state["callbacks"])
    ]  # fmt: skip

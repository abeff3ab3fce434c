"""Conversion between `RunState` and the data that a checkpoint file stores."""

import numpy as np

from cmlp._model.state import TrainingSnapshot
from cmlp._training.run_state import Position, RunState

# Position's attributes under the names that files use.
POSITION_KEYS = {"epoch": "epoch", "part": "chunk", "begun": "done", "loss": "loss",
                 "weight": "weight", "penalty": "penalty", "seconds": "seconds", "lr": "lr",
                 "trained": "trained"}  # fmt: skip


def to_snapshot(run_state):
    """Return a `RunState` as fields and named arrays, under the keys that files use.

    Parameters
    ----------
    run_state : RunState

    Returns
    -------
    TrainingSnapshot
    """
    arrays = dict(run_state.optimizer_arrays)
    arrays.update({f"tally_{name}": a for name, a in run_state.metric_arrays.items()})
    callbacks = []
    for i, (name, state) in enumerate(run_state.callbacks):
        is_array = {key: isinstance(value, np.ndarray) for key, value in state.items()}
        arrays.update({f"callback_{i}_{key}": state[key] for key in state if is_array[key]})
        callbacks.append([name, {key: state[key] for key in state if not is_array[key]}])
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


def from_snapshot(snapshot):
    """Return the `RunState` that `to_snapshot` stored.

    Parameters
    ----------
    snapshot : TrainingSnapshot
    """
    fields, arrays = snapshot.fields, snapshot.arrays
    place = fields["place"]
    return RunState(
        signature=fields["alike"],
        position=Position(**{name: place[key] for key, name in POSITION_KEYS.items()}),
        is_stopped=fields["stopped"],
        optimizer_position=fields["optimizer"],
        optimizer_arrays=arrays,
        metric_samples=fields["tallied"],
        metric_arrays=select_arrays(arrays, "tally_"),
        schedule=fields["schedule"],
        history=fields["history"],
        callbacks=[
            (name, {**state, **select_arrays(arrays, f"callback_{i}_")})
            for i, (name, state) in enumerate(fields["callbacks"])
        ],
    )


def select_arrays(arrays, prefix):
    """Return the arrays whose names begin with a prefix, by the rest of their names."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

"""Changes every field and every array of a checkpoint and resumes it; run by test_checkpoints.py.

It is a program of its own, ``python change_checkpoint.py {fields,arrays,random} AMOUNT``, so that a
crash ends another process than that of the tests. Whatever a file has, `Network.resume` or `fit`
refuse it with a ValueError, or the training ends. If the checksum is that of the file before the
change, the training ends with the result of the unchanged file.
"""

import contextlib
import copy
import json
import math
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cmlp import Adam, Network, TrainingDiverged, schedules
from cmlp.callbacks import Callback, Checkpoint

REMOVED = object()

VALUES = [
    REMOVED, None, True, False, 0, 1, -1, -32, 2, 8, 2**31, 2**40, 2**63, 10**400, 0.5, -0.5,
    1e308, math.nan, math.inf, -math.inf, "", "yes", "adam", [], [1], [[]], {}, {"a": 1},
]  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=5), items,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip


class Stop(Exception):
    pass


class StopAfter(Callback):
    """Raises `Stop` after a number of steps; its state is an array of integers."""

    def __init__(self, steps=None):
        self.steps, self.seen = steps, np.zeros(2, np.int64)

    def on_batch_end(self, network, epoch, step, loss):
        self.seen += 1
        if self.seen[0] == self.steps:
            raise Stop

    def state(self):
        return {"seen": self.seen}

    def load_state(self, state):
        self.seen = state["seen"].copy()

    def check_state(self, name, state, network, epoch):
        seen = state.get("seen")
        if not isinstance(seen, np.ndarray) or seen.dtype != np.int64 or seen.shape != (2,):
            raise ValueError(f"{name} must have two integers")


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 4)), RNG.integers(0, 3, 20)
BATCHES = [(X[i : i + 5], Y[i : i + 5]) for i in range(0, 20, 5)]


def fit(network, path, steps=None, of_batches=False):
    """Train, or go on to train, for 3 epochs of 4 steps; return all that results."""
    data = {"X": BATCHES} if of_batches else {"X": X, "y": Y, "batch_size": 6}
    history = network.fit(
        **data, epochs=3, optimizer=Adam(0.01, average=0.9, penalty=0.1), metrics="f1",
        schedule=schedules.ReduceOnPlateau(patience=0), validation_data=(X, Y), early_stopping=1,
        callbacks=[Checkpoint(path, 1 if steps else 10**6, "steps"), StopAfter(steps)], threads=1,
    )  # fmt: skip
    quantities = [{n: v for n, v in record.items() if n not in ("seconds", "samples_per_second")}
                  for record in history.epochs]  # fmt: skip
    return json.dumps(quantities), *(a.tobytes() for a in network.state.snapshot())


def write(path, steps, of_batches):
    """Write the checkpoint of an interrupted training run; return its header and arrays."""
    net = Network([4, 5, 3], activation="tanh", loss="cross_entropy", normalization="batch",
                  dropout=0.1, seed=1)  # fmt: skip
    with contextlib.suppress(Stop):
        fit(net, path, steps, of_batches)
    with np.load(path) as file:
        arrays = dict(file)
    return json.loads(arrays.pop("header").tobytes()), arrays


def store(path, header, arrays, updates_checksum):
    """Write a file that has these contents."""
    header = copy.deepcopy(header)
    if updates_checksum and isinstance(header.get("course"), dict):
        fields = {n: v for n, v in header.items() if n not in ("format", "version")}
        fields["course"] = {n: v for n, v in header["course"].items() if n != "checksum"}
        header["course"]["checksum"] = zlib.crc32(json.dumps(fields).encode())
    sys.set_int_max_str_digits(0)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    sys.set_int_max_str_digits(4300)
    np.savez(path, header=text, **arrays)


def list_paths(value, path=()):
    """Yield the keys that lead to each value within a header, the header's own excepted."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from list_paths(item, (*path, key))


def change(header, path, value):
    """Return a header with another value, or none, at a path; it shares all other values."""
    *parents, key = path
    header = target = copy.copy(header)
    for parent in parents:
        target[parent] = copy.copy(target[parent])
        target = target[parent]
    if value is REMOVED:
        del target[key]
    else:
        target[key] = value
    return header


def resume(path, directory, of_batches):
    """Return the result of resuming a file, or None if it is refused by a ValueError."""
    try:
        network = Network.resume(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError("the message does not name the file") from error
        return None
    before = [a.copy() for a in network.state.snapshot()]
    checkpoint = network.state.checkpoint
    try:
        return fit(network, directory / "next.npz", of_batches=of_batches)
    except TrainingDiverged:
        return "diverged"
    except ValueError:
        assert all((a == b).all()
                   for a, b in zip(before, network.state.snapshot(), strict=True))  # fmt: skip
        assert network.state.checkpoint in (checkpoint, None)
        return None


class Files:
    """Checkpoints, in a temporary directory, and the results of resuming them unchanged."""

    def __init__(self, directory, stride):
        self.stride, self.calls = stride, 0
        self.directory, self.path = Path(directory), Path(directory) / "changed.npz"
        self.kinds = []
        for steps, of_batches in ((7, False), (5, False), (7, True)):
            path = self.directory / "run.npz"
            header, arrays = write(path, steps, of_batches)
            self.kinds.append((of_batches, header, arrays, resume(path, directory, of_batches)))
            assert self.kinds[-1][-1] is not None
        self.outcomes = {}

    def try_change(self, kind, header, arrays, what):
        """Store and resume a file with the checksum that it should have, then with the old one.

        Only every `stride`-th call does so.
        """
        self.calls += 1
        if self.calls % self.stride:
            return
        of_batches, before, _, expected = self.kinds[kind]
        for updates_checksum in (True, False):
            store(self.path, header, arrays, updates_checksum)
            try:
                result = resume(self.path, self.directory, of_batches)
            except Exception as error:
                raise AssertionError(f"{what}: {error!r}") from error
            if not updates_checksum and header != before:
                assert result in (None, expected), f"{what}: another result"
            outcome = "refused" if result is None else "same" if result == expected else "other"
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            if result is None:
                return


def change_fields(files):
    """Give every field of the header every value of `VALUES`."""
    for kind, (_, header, arrays, _) in enumerate(files.kinds):
        for path in list_paths(header):
            for value in VALUES:
                if path == ("course",) and value in (REMOVED, None):
                    continue
                changed = change(header, path, value)
                files.try_change(kind, changed, arrays, f"{path} = {value!r:.40}")


def list_changed_arrays(array):
    """Yield arrays of other shapes, dtypes and values."""
    for dtype in ("f2", "f4", "f8", ">f4", "?", "i1", "i8", "u2", "u8", "c8", "U3", "S2", "M8[s]"):
        yield array.astype(dtype)
    yield array[:-1]
    yield np.append(array, array[:1]).astype(array.dtype)
    yield array[None]
    yield np.zeros((), array.dtype)
    yield np.zeros(0, array.dtype)
    yield np.zeros((2**20, 0), array.dtype)
    for value in (np.nan, np.inf, -1, 0, 1e30) if array.dtype.kind == "f" else ():
        yield np.full_like(array, value)


def change_arrays(files):
    """Store every array with other shapes, dtypes and values, and without it; and a new one."""
    for kind, (_, header, arrays, _) in enumerate(files.kinds):
        listed = header["course"]["arrays"]
        for name in arrays:
            rest = {other: array for other, array in arrays.items() if other != name}
            files.try_change(kind, header, rest, f"no {name}")
            if name in listed:
                files.try_change(kind, change(header, ("course", "arrays", name), REMOVED), rest,
                                 f"no {name} in the header and the file")  # fmt: skip
            for array in list_changed_arrays(arrays[name]):
                what = f"{name} of {array.dtype} {array.shape}"
                files.try_change(kind, header, {**arrays, name: array}, what)
                changed = header
                if name in listed:
                    listing = [array.dtype.name, list(array.shape)]
                    changed = change(header, ("course", "arrays", name), listing)
                files.try_change(kind, changed, {**arrays, name: array}, what)
        for name in ("optimizer_x", "tally_x", "callback_0_x", "callback_9_x", "x"):
            changed = change(header, ("course", "arrays", name), ["float32", [1]])
            files.try_change(kind, changed, {**arrays, name: np.ones(1, "f4")}, f"with {name}")


def change_at_random(files, examples):
    """Give random fields random values."""

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(st.data())
    def run(data):
        kind = data.draw(st.integers(0, len(files.kinds) - 1))
        _, header, arrays, _ = files.kinds[kind]
        paths = [path for path in list_paths(header["course"], ("course",)) if len(path) > 1]
        for _ in range(data.draw(st.integers(1, 2))):
            path = data.draw(st.sampled_from([("epoch",), ("training",), *paths]))
            try:
                header = change(header, path, data.draw(JSON))
            except (KeyError, TypeError, IndexError):
                continue  # the first change has removed that field
        files.try_change(kind, header, arrays, json.dumps(header)[:300])

    run()


def main(kind, amount):
    """Run one kind of changes and print how many had which outcome.

    Parameters
    ----------
    kind : {"fields", "arrays", "random"}
    amount : str
        Number of random changes; or n, to try every n-th of all fields and values, or arrays.
    """
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as directory:
        files = Files(Path(directory), 1 if kind == "random" else int(amount))
        if kind == "random":
            change_at_random(files, int(amount))
        else:
            {"fields": change_fields, "arrays": change_arrays}[kind](files)
    print(json.dumps(files.outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])

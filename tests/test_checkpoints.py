"""Checkpoints: a resumed training run ends with the bits of one that was not interrupted."""

import copy
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time

import change_checkpoint
import numpy as np
import pytest
from conftest import assert_same_state

from cmlp import LBFGS, SGD, Adam, NAdam, Network, RMSprop, callbacks, schedules
from cmlp.callbacks import Checkpoint


@pytest.fixture
def data(rng):
    return rng.normal(size=(60, 6)), rng.integers(0, 3, 60)


def network():
    return Network([6, 9, 8, 3], activation="tanh", loss="cross_entropy", dropout=0.2,
                   normalization=["batch", "layer"], seed=1)  # fmt: skip


class Crash(Exception):
    pass


class CrashAfter(callbacks.Callback):
    """Raises `Crash` after a number of steps, or never, and counts the steps."""

    def __init__(self, steps=None):
        self.last, self.steps = steps, 0

    def on_batch_end(self, network, epoch, step, loss):
        self.steps += 1
        if self.steps == self.last:
            raise Crash


QUANTITIES = ("loss", "lr", "accuracy", "val_loss", "val_accuracy")


def assert_same(network, history, other, expected):
    """Compare the states of two networks and the histories of their training."""
    assert_same_state(network, other)
    assert network.state.epoch == other.state.epoch
    for name in QUANTITIES:
        assert history[name] == expected[name]


OPTIMIZERS = [SGD(0.1), Adam(0.01, average=0.9), NAdam(0.01), RMSprop(0.01, accumulate=3)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("after", [2, 7, 8, 9, 20, 32])
def test_a_resumed_run_continues_after_the_last_checkpoint(memory_path, data, optimizer, after):
    def options(*more):
        checkpoint = Checkpoint(memory_path / "run.npz", every=1, unit="steps")
        return {
            "epochs": 4, "batch_size": 8, "optimizer": optimizer, "metrics": "accuracy",
            "schedule": schedules.ReduceOnPlateau(patience=0), "validation_data": data,
            "early_stopping": 2, "callbacks": [checkpoint, *more],
        }  # fmt: skip

    whole, every_step = network(), CrashAfter()
    expected = whole.fit(*data, **options(every_step))
    assert every_step.steps == 8 * len(expected.epochs)
    with pytest.raises(Crash):
        network().fit(*data, **options(CrashAfter(after)))
    resumed, remaining = Network.resume(memory_path / "run.npz"), CrashAfter()
    history = resumed.fit(*data, **options(remaining))
    assert_same(resumed, history, whole, expected)
    # The step that crashed has no checkpoint: it runs again.
    assert remaining.steps == every_step.steps - (after - 1)


def test_a_crash_in_the_first_step_leaves_no_file(tmp_path, data):
    path = tmp_path / "run.npz"
    with pytest.raises(Crash):
        network().fit(*data, callbacks=[Checkpoint(path, unit="steps"), CrashAfter(1)])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        Network.resume(path)


@pytest.mark.parametrize(
    "make_copy",
    [Network.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_of_a_resumed_network_resume(tmp_path, data, make_copy):
    def fit(net, *more):
        checkpoint = Checkpoint(tmp_path / "run.npz", unit="steps")
        return net.fit(*data, epochs=3, optimizer=Adam(), callbacks=[checkpoint, *more])

    whole = network()
    expected = fit(whole, CrashAfter())
    with pytest.raises(Crash):
        fit(network(), CrashAfter(3))
    twin = make_copy(Network.resume(tmp_path / "run.npz"))
    history = fit(twin, CrashAfter())
    assert_same_state(twin, whole)
    assert history["loss"] == expected["loss"]


def test_a_finished_run_is_not_trained_again(tmp_path, data):
    path = tmp_path / "run.npz"
    options = {"epochs": 3, "optimizer": Adam(average=0.9), "validation_data": data,
               "metrics": "accuracy"}  # fmt: skip
    whole = network()
    expected = whole.fit(*data, **options, callbacks=Checkpoint(path))
    again = Network.resume(path)
    assert_same(again, again.fit(*data, **options, callbacks=Checkpoint(path)), whole, expected)
    longer, extended = network(), Network.resume(path)
    options["epochs"] = 5
    expected = longer.fit(*data, **options, callbacks=Checkpoint(tmp_path / "other.npz"))
    history = extended.fit(*data, **options, callbacks=Checkpoint(path))
    assert_same(extended, history, longer, expected)


def test_a_checkpoint_stores_the_state_of_early_stopping(tmp_path, data):
    path = tmp_path / "run.npz"
    options = {"epochs": 30, "optimizer": SGD(0.5), "validation_split": 0.5, "early_stopping": 3,
               "metrics": "accuracy"}  # fmt: skip

    whole, stopped = network(), network()
    expected = whole.fit(*data, **options, callbacks=[Checkpoint(tmp_path / "w.npz"), do_nothing])
    stopped.fit(*data, **{**options, "epochs": 3}, callbacks=[Checkpoint(path), do_nothing])
    resumed = Network.resume(path)
    history = resumed.fit(*data, **options, callbacks=[Checkpoint(path), do_nothing])
    assert len(history.epochs) < 30
    assert_same(resumed, history, whole, expected)
    again = Network.resume(path)
    repeated = again.fit(*data, **options, callbacks=[Checkpoint(path), do_nothing])
    assert len(repeated.epochs) == len(history.epochs)


def do_nothing(network, epoch, record):
    return None


def test_a_run_over_an_iterable_of_batches_resumes(tmp_path, data):
    X, y = data
    cut = [(X[i : i + 10], y[i : i + 10]) for i in range(0, 60, 10)]
    whole = network()
    expected = whole.fit(cut, epochs=2, optimizer=Adam(), callbacks=CrashAfter())
    stopped = network()
    checkpoint = Checkpoint(tmp_path / "run.npz", unit="steps")
    with pytest.raises(Crash):
        stopped.fit(cut, epochs=2, optimizer=Adam(), callbacks=[checkpoint, CrashAfter(9)])
    resumed = Network.resume(tmp_path / "run.npz")
    history = resumed.fit(cut, epochs=2, optimizer=Adam(), callbacks=[checkpoint, CrashAfter()])
    assert history["loss"] == expected["loss"]
    assert_same_state(resumed, whole)


def test_a_checkpoint_stores_arrays_in_records(tmp_path, data):
    path = tmp_path / "run.npz"

    def note(net, epoch, record):
        record["norms"] = np.linalg.norm(net.weight[0], axis=1)

    options = {"callbacks": [Checkpoint(path), note]}
    network().fit(*data, epochs=2, **options)
    history = Network.resume(path).fit(*data, epochs=3, **options)
    assert [len(norms) for norms in history["norms"]] == [9, 9, 9]
    bad = [Checkpoint(path), lambda net, epoch, record: record.update(thing=object())]
    with pytest.raises(TypeError, match="a file can hold numbers and lists of them; got <object"):
        network().fit(*data, callbacks=bad)


def test_a_checkpoint_records_the_arguments_under_the_names_of_version_0_1_0(tmp_path, data):
    # Values that `fit` compares when it resumes: other ones would reject the files of 0.1.0.
    path, optimizer = tmp_path / "run.npz", Adam(0.01)
    options = {"epochs": 1, "batch_size": 8, "optimizer": optimizer, "metrics": "accuracy",
               "early_stopping": 2, "validation_data": data}  # fmt: skip
    for schedule, name in ((lambda step, epoch: 1.0, "Custom"), (schedules.Cosine(), "Cosine"),
                           (schedules.ReduceOnPlateau(), "Plateau"), (None, None)):  # fmt: skip
        network().fit(*data, **options, schedule=schedule, callbacks=[Checkpoint(path), do_nothing])
        assert Network.resume(path).state.checkpoint.fields["alike"] == {
            "samples": 60, "batch_size": 8, "shuffle": True, "optimizer": optimizer.describe(),
            "schedule": name, "metrics": ["accuracy"],
            "callbacks": ["Checkpoint", "Function", "EarlyStopping"],
            **({"epochs": 1} if name == "Cosine" else {}),
        }  # fmt: skip


DEPENDENT = ["cosine", "coslog4", "flat_cos", "one_cycle", "polynomial"]


@pytest.mark.parametrize("argument", ["schedule", "decay_schedule", "dropout_schedule"])
def test_the_number_of_epochs_is_that_of_schedules_that_depend_on_it(tmp_path, data, argument):
    path, options = tmp_path / "run.npz", {"batch_size": 30, "callbacks": None}
    monitored = {"reduce_on_plateau": schedules.ReduceOnPlateau("loss")}
    for name in schedules.NAMES:
        options.update({argument: monitored.get(name, name), "callbacks": Checkpoint(path)})
        if argument != "schedule" and name == "reduce_on_plateau":
            continue
        network().fit(*data, epochs=1, **options)
        net = Network.resume(path)
        if name in DEPENDENT:
            with pytest.raises(ValueError, match=r"epochs must be 1, as in the .*; got 2"):
                net.fit(*data, epochs=2, **options)
            before = copy.deepcopy(net)
            del before.state.checkpoint.fields["alike"]["epochs"]  # as in earlier revisions
            before.fit(*data, epochs=2, **options)
            net.fit(*data, epochs=1, **options)
        else:
            assert len(net.fit(*data, epochs=2, **options).epochs) == 2


def test_keep_limits_the_number_of_files(tmp_path, data):
    path = tmp_path / "run.npz"
    network().fit(*data, epochs=5, callbacks=Checkpoint(path, every=1, keep=3))
    epochs = {}
    for file in sorted(tmp_path.iterdir()):
        epochs[file.name] = Network.load(file).state.epoch
    assert epochs == {"run.npz": 5, "run.1.npz": 4, "run.2.npz": 3}
    network().fit(*data, epochs=5, callbacks=Checkpoint(tmp_path / "two.npz", every=2))
    assert Network.load(tmp_path / "two.npz").state.epoch == 4


def test_a_checkpoint_is_a_network(tmp_path, data):
    net = network()
    net.fit(*data, epochs=2, optimizer=Adam(), callbacks=Checkpoint(tmp_path / "run.npz"))
    assert (Network.load(tmp_path / "run.npz")(data[0]) == net(data[0])).all()
    net.save(tmp_path / "net.npz")
    with pytest.raises(ValueError, match="is a network without a checkpoint of its training"):
        Network.resume(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 16}, "batch_size must be 8, as in the interrupted training; got 16"),
        ({"optimizer": SGD(0.2)}, "optimizer must be .*, as in the interrupted"),
        ({"shuffle": False}, "shuffle must be .*, as in the interrupted"),
        ({"metrics": "accuracy"}, "metrics must be .*, as in the interrupted"),
        ({"validation_split": 0.5}, "samples must be .*, as in the interrupted"),
        ({"callbacks": ()}, "callbacks must be .*, as in the interrupted"),
    ],
)
def test_resuming_with_other_arguments_raises(tmp_path, data, changed, message):
    path = tmp_path / "run.npz"
    options = {"epochs": 2, "batch_size": 8, "optimizer": SGD(0.1), "callbacks": Checkpoint(path)}
    network().fit(*data, **options)
    net = Network.resume(path)
    with pytest.raises(ValueError, match=message):
        net.fit(*data, **{**options, **changed})
    net.fit(*data, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("run.h5",), ValueError, "path must end in .npz; got 'run.h5'"),
        (("run.npz", 0), ValueError, "every must be at least 1; got 0"),
        (("run.npz", 0, "seconds"), ValueError, "every must be positive"),
        (("run.npz", 1, "hours"), ValueError, "unit must be 'epochs', 'steps' or 'seconds'"),
        (("run.npz", 1, "steps", 0), ValueError, "keep must be at least 1"),
    ],
)
def test_bad_checkpoints(arguments, error, message):
    with pytest.raises(error, match=message):
        Checkpoint(*arguments)


def test_a_resumed_epoch_has_the_penalty_and_the_time_of_the_whole(tmp_path, data):
    def fit(net, *more):
        checkpoint = Checkpoint(tmp_path / "run.npz", unit="steps")
        return net.fit(*data, epochs=2, batch_size=8, optimizer=SGD(0.1, penalty=0.5),
                       callbacks=[checkpoint, *more])  # fmt: skip

    expected = fit(network(), CrashAfter())
    with pytest.raises(Crash):
        fit(network(), CrashAfter(12))
    resumed = fit(Network.resume(tmp_path / "run.npz"), CrashAfter())
    assert resumed["penalty"] == expected["penalty"]
    assert min(resumed["penalty"]) > 0
    for record in resumed.epochs:
        assert round(record["samples_per_second"] * record["seconds"]) == 60


def test_the_time_before_an_interruption_counts(tmp_path, data):
    def wait(steps):
        class Wait(callbacks.Callback):
            def on_batch_end(self, network, epoch, step, loss):
                time.sleep(0.02)
                if step == steps:
                    raise KeyboardInterrupt

        return Wait()

    options = {"epochs": 1, "batch_size": 8}
    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        network().fit(*data, **options, callbacks=[Checkpoint(path), wait(4)])
    resumed = Network.resume(path)
    history = resumed.fit(*data, **options, callbacks=[Checkpoint(path), wait(None)])
    assert history["seconds"][0] > 8 * 0.02


class Raise(callbacks.Callback):
    """Raises an exception in one of its methods, at the `call`-th call."""

    def __init__(self, method, error, call=1):
        def fail(*arguments):
            self.calls += 1
            if self.calls == call:
                raise error

        self.calls = 0
        setattr(self, method, fail)

    def on_batch_end(self, network, epoch, step, loss):
        pass


@pytest.mark.parametrize(
    ("method", "call", "writes"),
    [("on_train_begin", 1, False), ("on_epoch_begin", 2, True), ("on_batch_end", 3, True),
     ("on_pause", 2, True), ("on_epoch_end", 2, False), ("on_train_end", 1, False)],
)  # fmt: skip
def test_ctrl_c_writes_a_checkpoint_only_of_a_consistent_run(tmp_path, data, method, call, writes):
    path, options = tmp_path / "run.npz", {
        "epochs": 4, "batch_size": 8, "optimizer": Adam(0.05, average=0.9), "early_stopping": 1,
        "validation_data": data, "schedule": schedules.ReduceOnPlateau(patience=0),
    }  # fmt: skip

    def fit(net, checkpoint, raising):
        return net.fit(*data, **options, callbacks=[checkpoint, raising])

    whole = network()
    expected = fit(whole, Checkpoint(tmp_path / "w.npz"), Raise("on_pause", None, math.inf))
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Checkpoint(path, 100), Raise(method, KeyboardInterrupt, call))
    assert path.exists() == writes
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Checkpoint(path), Raise(method, KeyboardInterrupt, call))
    if method == "on_train_begin":
        return
    resumed = Network.resume(path)
    history = fit(resumed, Checkpoint(path), Raise("on_pause", None, math.inf))
    assert history["val_loss"] == expected["val_loss"]
    assert history["lr"] == expected["lr"]
    assert_same_state(resumed, whole)


def test_ctrl_c_while_a_resumed_run_begins_keeps_its_checkpoint(tmp_path, data):
    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        network().fit(*data, callbacks=[Checkpoint(path), Raise("on_epoch_end",
                                                                KeyboardInterrupt, 3)])  # fmt: skip
    before, net = path.read_bytes(), Network.resume(path)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*data, callbacks=[Checkpoint(path), Raise("on_train_begin", KeyboardInterrupt)])
    assert path.read_bytes() == before
    history = net.fit(*data, callbacks=[Checkpoint(path), Raise("on_pause", None, math.inf)])
    assert len(history.epochs) == 10
    assert net.state.epoch == 10


class Seen(callbacks.Callback):
    """Notes every step that it is told of, in a checkpoint too."""

    def __init__(self):
        self.steps = []

    def on_batch_end(self, network, epoch, step, loss):
        self.steps.append([epoch, step])

    def state(self):
        return {"steps": self.steps}

    def load_state(self, state):
        self.steps = list(state["steps"])


@pytest.mark.parametrize("delay", [0.01, 0.02, 0.03])
def test_ctrl_c_within_a_step_lets_callbacks_see_the_step(tmp_path, rng, ctrl_c, delay):
    # Most of the time passes in the compiled step, at whose end Ctrl-C is raised.
    X, y = rng.normal(size=(4096, 256)), rng.integers(0, 3, 4096)
    path, options = tmp_path / "run.npz", {"epochs": 2, "batch_size": 1024, "threads": 1}
    net = Network([256, 512, 3], loss="cross_entropy", seed=0)
    signal.setitimer(signal.ITIMER_REAL, delay)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        net.fit(X, y, **options, callbacks=[Checkpoint(path, 100), Seen()])
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if not path.exists():
        return  # training had not begun, or had ended
    seen = Seen()
    Network.resume(path).fit(X, y, **options, callbacks=[Checkpoint(path, 100), seen])
    assert seen.steps == [[epoch, step] for epoch in range(2) for step in range(4)]


def test_ctrl_c_after_the_last_step_of_an_epoch_repeats_no_step(tmp_path, data):
    path, options = tmp_path / "run.npz", {"epochs": 2, "batch_size": 8}
    with pytest.raises(KeyboardInterrupt):
        network().fit(*data, **options, callbacks=[
            Checkpoint(path, 100), Seen(), Raise("on_batch_end", KeyboardInterrupt, 8)
        ])  # fmt: skip
    seen, plain = Seen(), Raise("on_pause", None, math.inf)
    Network.resume(path).fit(*data, **options, callbacks=[Checkpoint(path), seen, plain])
    assert seen.steps == [[epoch, step] for epoch in range(2) for step in range(8)]


def test_a_resumed_run_is_resumed_once(tmp_path, data):
    path = tmp_path / "run.npz"
    network().fit(*data, epochs=2, callbacks=Checkpoint(path))
    net = Network.resume(path)
    assert len(net.fit(*data, epochs=3, callbacks=Checkpoint(path)).epochs) == 3
    twin = net.copy()
    assert net.fit(*data, epochs=1)["loss"] == twin.fit(*data, epochs=1)["loss"]
    assert net.state.epoch == 4
    net.partial_fit(*data)


COPIES = [Network.copy, copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]


@pytest.mark.parametrize("make_copy", COPIES, ids=["method", "copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, SGD(0.1, momentum=0.9)], ids=repr)
def test_copies_keep_the_optimizer_of_partial_fit(data, optimizer, make_copy):
    net, whole = network(), network()
    for _ in range(3):
        net.partial_fit(*data, optimizer=optimizer)
        whole.partial_fit(*data, optimizer=optimizer)
    twin = make_copy(net)
    assert twin.state.optimizer.optimizer == optimizer
    assert (twin.state is net.state) == (make_copy is copy.copy)
    before = net.state.snapshot()
    for _ in range(2):
        history = twin.partial_fit(*data, optimizer=optimizer)
        assert history["loss"] == whole.partial_fit(*data, optimizer=optimizer)["loss"]
    assert_same_state(twin, whole)
    if make_copy is copy.copy:
        return  # a shallow copy shares the state
    for array, expected in zip(net.state.snapshot(), before, strict=True):
        assert (array == expected).all()
    for _ in range(2):
        net.partial_fit(*data, optimizer=optimizer)
    assert_same_state(net, whole)


def test_partial_fit_continues_from_what_fit_has_trained(data):
    optimizer = Adam(0.01, average=0.99)
    net, twin = network(), network()
    net.partial_fit(*data, optimizer=optimizer)  # ends with averages, and keeps the trained ones
    net.fit(*data, epochs=3)
    twin.state.restore(net.state.snapshot())
    twin.state.epoch = net.state.epoch
    for _ in range(2):
        net.partial_fit(*data, optimizer=optimizer)
        twin.partial_fit(*data, optimizer=optimizer)
    assert_same_state(net, twin)


def test_ctrl_c_in_a_loss_in_python_undoes_the_forward_pass(tmp_path, data):
    def make_loss(last=None):
        calls = []

        def loss(outputs, y):
            calls.append(y)
            if len(calls) == last:
                raise KeyboardInterrupt
            error = outputs - np.eye(3)[y]
            return (error**2).sum() / len(y), 2 * error / len(y)

        return loss

    def make(loss):
        return Network([6, 5, 3], loss=loss, normalization="batch", seed=0)

    path, options = tmp_path / "run.npz", {"epochs": 2, "batch_size": 8, "optimizer": Adam()}
    whole = make(make_loss())
    expected = whole.fit(*data, **options, callbacks=Checkpoint(tmp_path / "whole.npz"))
    with pytest.raises(KeyboardInterrupt):
        make(make_loss(12)).fit(*data, **options, callbacks=Checkpoint(path))
    resumed = Network.resume(path, loss=make_loss())
    history = resumed.fit(*data, **options, callbacks=Checkpoint(path))
    assert history["loss"] == expected["loss"]
    assert_same_state(resumed, whole)


def test_a_checkpoint_stores_arrays_of_integers_of_a_callback(tmp_path, data):
    class Count(callbacks.Callback):
        def __init__(self, dtype):
            self.counts = np.zeros(3, dtype)

        def on_epoch_end(self, network, epoch, record):
            self.counts[epoch] += 1

        def state(self):
            return {"counts": self.counts}

        def load_state(self, state):
            self.counts[:] = state["counts"]

    path = tmp_path / "run.npz"
    for dtype in ("i8", "u2", "?", "f4"):
        network().fit(*data, epochs=2, callbacks=[Checkpoint(path), Count(dtype)])
        count = Count(dtype)
        Network.resume(path).fit(*data, epochs=3, callbacks=[Checkpoint(path), count])
        assert count.counts.tolist() == [1, 1, 1]
    for dtype in ("c8", ">f4", "f2"):
        with pytest.raises(
            TypeError, match=r"must be of float32, .*; got .* for callback_1_counts"
        ):
            network().fit(*data, epochs=1, callbacks=[Checkpoint(path), Count(dtype)])


def test_a_resumed_network_refuses_lbfgs(tmp_path, data):
    path = tmp_path / "run.npz"
    net = Network([6, 5, 3], loss="cross_entropy", seed=0)
    net.fit(*data, epochs=1, callbacks=Checkpoint(path))
    net = Network.resume(path)
    with pytest.raises(ValueError, match="must continue with the optimizer of its checkpoint"):
        net.fit(*data, optimizer=LBFGS())
    assert len(net.fit(*data, epochs=2, callbacks=Checkpoint(path)).epochs) == 2


def test_fewer_batches_than_before_are_refused(tmp_path, data):
    cut = [(data[0][i : i + 10], data[1][i : i + 10]) for i in range(0, 60, 10)]
    path = tmp_path / "run.npz"

    def fit(net, batches, *more):
        return net.fit(lambda: iter(batches), epochs=1,
                       callbacks=[Checkpoint(path, unit="steps"), *more])  # fmt: skip

    with pytest.raises(Crash):
        fit(network(), cut, CrashAfter(5))
    net = Network.resume(path)
    before = net.state.snapshot()
    with pytest.raises(ValueError, match=r"X gave 2 batches in epoch 0; .* after batch 4"):
        fit(net, cut[:2], CrashAfter())
    for array, expected in zip(net.state.snapshot(), before, strict=True):
        assert (array == expected).all()


def test_the_number_of_epochs_has_a_limit(data):
    net = network()
    net.state.epoch = 2**32 - 3
    net.fit(*data, epochs=2)
    with pytest.raises(ValueError, match="epochs must be at most 0 for a network that has been"):
        net.fit(*data, epochs=1)
    with pytest.raises(ValueError, match=r"epochs must be at most .*; got 1180591620717411303424"):
        network().fit(*data, epochs=2**70)


def test_the_previous_checkpoint_is_replaced_by_a_complete_one(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError("no links")

    source, destination = tmp_path / "run.npz", tmp_path / "run.1.npz"
    for has_links in (True, False):
        if not has_links:
            monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "run.1.npz.part").write_bytes(b"left by a killed process")
        for text in ("first", "second", "second"):
            source.unlink(missing_ok=True)
            source.write_text(text)
            for _ in range(2):
                callbacks.checkpoint.link_or_copy(source, str(destination))
                assert (source.read_text(), destination.read_text()) == (text, text)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run.1.npz", "run.npz"]


CHANGES = [
    ("place.begun", -32, "place.begun must be a whole number from 0 to 9007199254740992; got -32"),
    ("place.begun", 3, "place.begun must be a multiple of alike.batch_size up to the samples"),
    ("place.begun", 2**40, "place.begun must be a multiple of alike.batch_size up to"),
    ("place.begun", 6, "place.trained must be place.begun in the first chunk"),
    ("place.begun", 10**400, "place.begun must be a whole number from 0 to"),
    ("place.part", 1, "place.begun must be 0 if all of the epoch is done"),
    ("place.part", 2, "place.part must be at most the number of chunks of an epoch"),
    ("place.epoch", 5, "place.epoch must be at most the epoch of the network"),
    ("place.epoch", 0, "history must be a list with one record for each of place.epoch epochs"),
    ("place.epoch", "1", "place.epoch must be a whole number from 0 to .*; got '1'"),
    ("place.loss", math.nan, "place.loss must be a finite number; got nan"),
    ("place.weight", -1, "place.weight must be a finite number of at least 0; got -1"),
    ("place.penalty", math.inf, "place.penalty must be a finite number of at least 0; got inf"),
    ("place.trained", 18, "place.trained must be place.begun in the first chunk"),
    ("place.trained", None, "place.trained must be a whole number from 0 to"),
    ("place", {}, "place.epoch is missing"),
    ("place", [], r"place must be an object; got \[\]"),
    ("history", [], "history must be a list with one record for each of place.epoch epochs"),
    ("history", [1], r"history\[0\] must be an object; got 1"),
    ("history", [{}], r"history\[0\].loss is missing"),
    ("stopped", "yes", "stopped must be true or false; got 'yes'"),
    ("stopped", 1, "stopped must be true or false; got 1"),
    ("optimizer", [1], "optimizer must be a list of 2 items"),
    ("optimizer", [-1, 0.5], r"optimizer\[0\] must be a whole number from 0 to"),
    ("optimizer", [1, 2], r"optimizer\[1\] must be a finite number of at least 0 and below 1; got"),
    ("tallied", 5, "tallied must be place.trained, or 0 without metrics"),
    ("schedule", None, "schedule must be the state of a schedule that has one, else null"),
    ("schedule.best", "x", "schedule.best must be a number; got 'x'"),
    ("schedule.factor", -1, "schedule.factor must be a finite number of at least 0; got -1"),
    ("callbacks", [], "callbacks must be a list with the callbacks of alike.callbacks"),
    ("callbacks", [["Checkpoint"]], r"callbacks\[0\] must be a list of 2 items"),
    ("alike.callbacks", ["A"], "callbacks must be a list with the callbacks of alike.callbacks"),
    ("alike.samples", True, "alike.samples must be a whole number from 1 to .*; got True"),
    ("alike.samples", 0, "alike.samples must be a whole number from 1 to"),
    ("alike.steps", 4, "alike must be that of a run on arrays .* or on batches"),
    ("alike", None, "alike must be an object; got None"),
    ("extra", 1, "'extra' is not a known key"),
    ("arrays.optimizer_x", ["float32", [1]], "optimizer_x must have shape .*; got .1,."),
    ("arrays.extra", ["float32", [1]], "it has an unknown array 'extra'"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Header and arrays of a checkpoint in the second epoch."""
    return change_checkpoint.write(tmp_path_factory.mktemp("run") / "run.npz", 7, False)


@pytest.mark.parametrize(("field", "value", "message"), CHANGES)
def test_a_changed_field_is_named(tmp_path, stored, field, value, message):
    header, arrays = stored
    path = tmp_path / "changed.npz"
    header = change_checkpoint.change(header, ("course", *field.split(".")), value)
    if field.startswith("arrays."):
        arrays = {**arrays, field.removeprefix("arrays."): np.ones(1, np.float32)}
    change_checkpoint.store(path, header, arrays, updates_checksum=True)
    with pytest.raises(ValueError, match=f"{path} is not a checkpoint to resume: {message}"):
        change_checkpoint.fit(Network.resume(path), tmp_path / "next.npz")
    Network.load(path)  # the network itself has not changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("optimizer_sum_1", lambda a: a[:1], "optimizer_sum_1 must have shape .* got .1,. and fl"),
        ("optimizer_sum_1", lambda a: a * np.nan, "optimizer_sum_1 must be finite"),
        ("optimizer_average", lambda a: a.astype("f8"), "optimizer_average must have shape"),
        ("tally_hits", lambda a: a[:1], "tally_hits must have shape .3,. and dtype float64"),
        ("callback_2_parameters_0", lambda a: a[1:], r"callbacks\[2\].parameters_0 must have sh"),
        ("callback_2_parameters_0", lambda a: a + 1, "parameters_0 must have zeros between"),
        ("optimizer_sum_1", None, "the array optimizer_sum_1 is missing"),
        ("tally_hits", None, "it must have the sums .*'hits'.* for metrics="),
        ("callback_2_parameters_0", None, r"callbacks\[2\] must have the arrays parameters_0 and"),
    ],
)
def test_a_changed_array_is_named(tmp_path, stored, name, change, message):
    header, arrays = copy.deepcopy(stored[0]), dict(stored[1])
    path = tmp_path / "changed.npz"
    if change is None:
        del arrays[name], header["course"]["arrays"][name]
    else:
        arrays[name] = change(arrays[name])
        listed = [arrays[name].dtype.name, list(arrays[name].shape)]
        header["course"]["arrays"][name] = listed
    change_checkpoint.store(path, header, arrays, updates_checksum=True)
    with pytest.raises(ValueError, match=f"{path} is not a checkpoint to resume: .*{message}"):
        change_checkpoint.fit(Network.resume(path), tmp_path / "next.npz")


def test_a_plausible_change_fails_the_checksum(tmp_path, stored):
    path, (header, arrays) = tmp_path / "changed.npz", stored
    for field, value in ((("epoch",), 7), (("seed",), 5), (("course", "place", "loss"), 3.25),
                         (("course", "optimizer", 0), 3)):  # fmt: skip
        changed = change_checkpoint.change(header, field, value)
        change_checkpoint.store(path, changed, arrays, updates_checksum=False)
        with pytest.raises(ValueError, match=f"{path} is not .* the checksum that it was written"):
            Network.resume(path)
        Network.load(path)


# By default a sample of the changes; CMLP_FULL=1 makes all of them.
AMOUNTS = {"fields": (24, 1), "arrays": (16, 1), "random": (200, 10_000)}


@pytest.mark.parametrize("kind", AMOUNTS)
def test_changed_checkpoints_are_refused_or_resumed(memory_path, kind):
    amount = AMOUNTS[kind]["CMLP_FULL" in os.environ]
    done = subprocess.run(
        [sys.executable, change_checkpoint.__file__, kind, str(amount)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(memory_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes["refused"] > outcomes["same"] > 0


TRAIN = """
import sys
import numpy as np
from cmlp import Adam, Network
from cmlp.callbacks import Checkpoint
path, unit, every, resumes = sys.argv[1], sys.argv[2], float(sys.argv[3]), len(sys.argv) > 4
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20_000, 20)).astype(np.float32), rng.integers(0, 3, 20_000)
net = Network.resume(path) if resumes else Network([20, 100, 3], loss="cross_entropy", seed=0)
every = int(every) if unit == "epochs" else every
def report(network, epoch, record):
    print("epoch", epoch, file=sys.stderr, flush=True)
history = net.fit(X, y, epochs=12, batch_size=1, optimizer=Adam(), metrics="accuracy",
                  callbacks=[Checkpoint(path, every, unit), report])
print(net.weight[0].tobytes().hex(), history["loss"], history["accuracy"])
"""


def run(*arguments):
    return subprocess.Popen([sys.executable, "-c", TRAIN, *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out, err = run(tmp_path_factory.mktemp("run") / "run.npz", "epochs", 1).communicate()
    assert out, err
    return out


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_killed_in_the_middle_of_an_epoch(tmp_path, uninterrupted, how, ctrl_c):
    path = tmp_path / "run.npz"
    # Ctrl-C writes a checkpoint at once, whatever the interval.
    unit, every = ("epochs", 100) if how == signal.SIGINT else ("seconds", 0.01)
    process = run(path, unit, every)
    assert process.stderr.readline() == "epoch 0\n"
    time.sleep(0.08)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert out == "", "training had ended before the signal"
    assert Network.load(path).state.epoch < 12
    out, err = run(path, unit, every, "resume").communicate()
    assert out == uninterrupted, err

"""Checkpoints: a resumed training run ends with the bits of one that was not interrupted."""

import copy
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import assert_same_state

from cmlp import SGD, Adam, NAdam, Network, RMSprop, callbacks, schedules
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
def test_a_resumed_run_continues_after_the_last_checkpoint(tmp_path, data, optimizer, after):
    def options(*more):
        checkpoint = Checkpoint(tmp_path / "run.npz", every=1, unit="steps")
        return {
            "epochs": 4, "batch_size": 8, "optimizer": optimizer, "metrics": "accuracy",
            "schedule": schedules.ReduceOnPlateau(patience=0), "validation_data": data,
            "early_stopping": 2, "callbacks": [checkpoint, *more],
        }  # fmt: skip

    whole, every_step = network(), CrashAfter()
    expected = whole.fit(*data, **options(every_step))
    assert every_step.steps == 8 * len(expected)
    with pytest.raises(Crash):
        network().fit(*data, **options(CrashAfter(after)))
    resumed, remaining = Network.resume(tmp_path / "run.npz"), CrashAfter()
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
    assert len(history) < 30
    assert_same(resumed, history, whole, expected)
    again = Network.resume(path)
    assert len(again.fit(*data, **options, callbacks=[Checkpoint(path), do_nothing])) == len(
        history
    )


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
            "samples": 60, "batch_size": 8, "shuffle": True, "optimizer": repr(optimizer),
            "schedule": name, "metrics": ["accuracy"],
            "callbacks": ["Checkpoint", "Function", "EarlyStopping"],
        }  # fmt: skip


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
history = net.fit(X, y, epochs=20, batch_size=1, optimizer=Adam(), metrics="accuracy",
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
def test_killed_in_the_middle_of_an_epoch(tmp_path, uninterrupted, how):
    path = tmp_path / "run.npz"
    # Ctrl-C writes a checkpoint at once, whatever the interval.
    unit, every = ("epochs", 100) if how == signal.SIGINT else ("seconds", 0.01)
    process = run(path, unit, every)
    assert process.stderr.readline() == "epoch 0\n"
    time.sleep(0.08)
    process.send_signal(how)
    out, err = process.communicate()
    assert out == "", "training had ended before the signal"
    assert Network.load(path).state.epoch < 20
    out, err = run(path, unit, every, "resume").communicate()
    assert out == uninterrupted, err

"""Faults while a network trains: signals, exceptions, forks, the end of the process or of the disk.

Whatever happens, the network and the files are those of a point between two steps, and training
that continues from there ends with the bits of a run without the fault. A fault that may end a
process is provoked in another one, with a deadline.
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from conftest import assert_same_state

from cmlp import Adam, Network, callbacks, schedules

# By default as many as a few seconds allow; CMLP_FULL=1 makes as many as the reliability page says.
FAULTS = 200 if "CMLP_FULL" in os.environ else 30
DEADLINE = 300 if "CMLP_FULL" in os.environ else 60

COMMON = """
import faulthandler, os, random, signal, sys, threading, time
import numpy as np
from cmlp import Adam, Network, schedules
from cmlp.callbacks import Checkpoint

faulthandler.dump_traceback_later({deadline}, exit=True)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(120, 8)).astype(np.float32), rng.integers(0, 3, 120)

def make():
    return Network([8, 16, 3], activation="relu", loss="cross_entropy", normalization="batch",
                   dropout=0.1, seed=0)

def fit(net, checkpoint, epochs=10, **options):
    history = net.fit(X, y, epochs=epochs, batch_size=4, optimizer=Adam(average=0.9, penalty=0.01),
                      schedule=schedules.ReduceOnPlateau(patience=0), early_stopping=100,
                      validation_data=(X, y), metrics="accuracy", callbacks=checkpoint, threads=1,
                      **options)
    state = net.state.snapshot()
    return [history[n] for n in ("loss", "val_loss", "lr", "accuracy", "penalty")], \\
        [a.tobytes() for a in state]
"""


def run_code(code, *arguments, **options):
    """Run Python code after `COMMON`; return what it prints, a list of JSON values."""
    code = COMMON.format(deadline=DEADLINE) + code
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True,
        check=False, timeout=2 * DEADLINE, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"return code {done.returncode}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


KILL = """
directory, times = sys.argv[1], int(sys.argv[2])
path, previous = directory + "/run.npz", directory + "/run.1.npz"
expected = fit(make(), Checkpoint(directory + "/whole.npz", 1000, "steps", 2))

def train():
    net = Network.resume(path) if os.path.exists(path) else make()
    return fit(net, Checkpoint(path, 1, "steps", 2))

killed = ended = 0
random.seed(0)
while killed < times:
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if train() == expected else 3)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(4)
    time.sleep(random.uniform(0.005, 0.05))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    for name in (path, previous):
        if os.path.exists(name):
            Network.resume(name)
    if os.WIFSIGNALED(status):
        killed += 1
    else:
        assert os.WEXITSTATUS(status) == 0, status
        ended += 1
        os.remove(path)
if os.path.exists(previous):
    os.replace(previous, path)
assert train() == expected
print(killed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_kill_while_checkpoints_are_written(memory_path):
    assert run_code(KILL, memory_path, FAULTS) == [FAULTS]


INTERRUPT = """
path, times = sys.argv[1] + "/run.npz", int(sys.argv[2])
expected = fit(make(), Checkpoint(sys.argv[1] + "/whole.npz", 25, "steps"))
random.seed(int(sys.argv[3]))
signal.signal(signal.SIGALRM, signal.default_int_handler)
found, interruptions, written = None, 0, 0
while True:
    net = None
    try:
        if interruptions < times:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.002, 0.02))
        net = Network.resume(path) if os.path.exists(path) else make()
        found = fit(net, Checkpoint(path, 25, "steps"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert found == expected
        if interruptions == times:
            break
        os.remove(path)
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        interruptions += 1
        written += os.path.exists(path)
        if net is not None and interruptions % 3 == 0:
            # The network that was interrupted is one to go on with.
            twin = net.copy()
            twin.state.checkpoint = net.state.checkpoint = None
            assert fit(net, [], 1) == fit(twin, [], 1)
print(written)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
@pytest.mark.parametrize("seed", [0, 1])
def test_interruptions_at_random_moments(memory_path, seed):
    (written,) = run_code(INTERRUPT, memory_path, FAULTS, seed)
    assert written > FAULTS / 2


def test_ctrl_c_within_zipfile_is_not_hidden(tmp_path, rng, monkeypatch):
    opened, open_member = [], zipfile.ZipFile.open

    def open_and_interrupt(archive, *arguments, **options):
        opened.append((archive, open_member(archive, *arguments, **options)))
        raise KeyboardInterrupt

    X, y, path = rng.normal(size=(60, 6)), rng.integers(0, 3, 60), tmp_path / "run.npz"
    net = Network([6, 9, 3], loss="cross_entropy", seed=1)
    monkeypatch.setattr(zipfile.ZipFile, "open", open_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, callbacks=callbacks.Checkpoint(path))
    monkeypatch.undo()
    for archive, member in opened:
        with contextlib.suppress(ValueError):  # its file has been closed
            member.close()
        archive.fp = None
    assert net.state.epoch == 1
    assert list(tmp_path.iterdir()) == []


LIMIT = """
import resource
path = sys.argv[1] + "/run.npz"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
expected = fit(make(), Checkpoint(sys.argv[1] + "/whole.npz"))

class Limit(Checkpoint):
    def on_pause(self, network, run):
        if run.position.epoch == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        super().on_pause(network, run)

Limit.__name__ = "Checkpoint"
net = make()
try:
    fit(net, Limit(path))
except OSError as error:
    print(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert net.state.epoch == 3
assert sorted(os.listdir(sys.argv[1])) == ["run.npz", "whole.npz"]
assert Network.resume(path).state.epoch == 2
assert fit(Network.resume(path), Checkpoint(path)) == expected
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limits of resources")
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    assert run_code(LIMIT, tmp_path) == [errno.EFBIG]


EXIT = """
def train(net):
    net.fit(X, y, epochs=10_000_000, batch_size=4, optimizer=Adam(), threads={threads},
            callbacks=lambda net, epoch, record: started.set())

started = threading.Event()
threads = [threading.Thread(target=train, args=(make(),), daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
started.wait()
print(1)
sys.stdout.flush()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_interpreter_exits_while_threads_train(threads):
    for delay in (0, 0.05):
        code = EXIT.replace("{threads}", str(threads)) + f"time.sleep({delay})\n"
        assert run_code(code) == [1]


FORK = """
import multiprocessing

def work(expected):
    net = make()
    fit(net, [], 1)
    large = net.predict_proba(np.tile(X, (500, 1)), threads=2)
    assert (large[:120] == net(X)).all()
    sys.exit(0 if net.state.parameters.block.tobytes() == expected else 3)

if __name__ == "__main__":
    alone = make()
    fit(alone, [], 1)
    expected, is_done = alone.state.parameters.block.tobytes(), threading.Event()
    trained, whole = make(), make()
    def train():
        trained.fit(X, y, epochs=300, batch_size=60, optimizer=Adam(), threads=2,
                    callbacks=lambda *arguments: started.set())
    started = threading.Event()
    thread = threading.Thread(target=train)
    thread.start()
    started.wait()
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=work, args=(expected,)) for _ in range(int(sys.argv[2]))]
    for child in children:
        child.start()
    for child in children:
        child.join()
    thread.join()
    whole.fit(X, y, epochs=300, batch_size=60, optimizer=Adam(), threads=2)
    assert (whole.state.parameters.block == trained.state.parameters.block).all()
    print([child.exitcode for child in children])
"""


@pytest.mark.parametrize(("method", "count"), [("fork", 5), ("spawn", 1)])
def test_processes_start_while_a_network_trains(tmp_path, method, count):
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    path = tmp_path / "work.py"  # spawned processes import it
    path.write_text(COMMON.format(deadline=DEADLINE) + FORK)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", path, method, str(count)], capture_output=True, text=True,
        check=False, timeout=2 * DEADLINE, env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout == f"{[0] * count}\n", done.stderr


def test_64_threads_predict_while_another_network_trains(rng):
    X, y = rng.random((600, 64), dtype=np.float32), rng.integers(0, 10, 600)

    def make():
        return Network([64, 40, 10], activation="relu", loss="cross_entropy", seed=1)

    served, trained, alone = Network([64, 30, 5], seed=2), make(), make()
    expected, row, equal, errors = served(X), served(X[:1]), [], []

    def predict():
        try:
            for i in range(10):
                if i % 2:
                    equal.append((served(X, threads=2) == expected).all())
                else:
                    equal.append((served(X[:1]) == row).all())
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=predict) for _ in range(64)]
    for worker in workers:
        worker.start()
    trained.fit(X, y, epochs=3, optimizer=Adam(), threads=2)
    for worker in workers:
        worker.join()
    alone.fit(X, y, epochs=3, optimizer=Adam(), threads=2)
    assert errors == []
    assert equal == [True] * 640
    assert_same_state(trained, alone)


class Fault(Exception):
    pass


class Raising(callbacks.Callback):
    """Raises an exception in the first call of one of its methods in the epoch of that number."""

    def __init__(self, method, error, epoch):
        def fail(network, *arguments):
            if self.epoch >= epoch or method in ("on_train_begin", "on_train_end", "on_error"):
                raise error

        self.epoch, self.interrupts = 0, method == "on_error"
        if method != "on_epoch_begin":
            self.on_epoch_begin = self.note
        setattr(self, method, fail)

    def note(self, network, epoch):
        self.epoch = epoch
        if self.interrupts and epoch == 2:
            raise KeyboardInterrupt

    def on_epoch_end(self, network, epoch, record):
        self.epoch = epoch + 1

    def on_batch_end(self, network, epoch, step, loss):
        pass


# Method -> number of whole epochs that have been trained when it raises in epoch 2, or None.
TRAINED = {
    "on_train_begin": 0, "on_epoch_begin": 2, "on_batch_end": None, "on_pause": 2,
    "on_epoch_end": 3, "on_train_end": 4, "on_error": 2,
}  # fmt: skip


@pytest.mark.parametrize("error", [Fault, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("method", TRAINED)
def test_an_exception_out_of_a_callback(tmp_path, rng, method, error):
    X, y = rng.normal(size=(60, 6)), rng.integers(0, 3, 60)

    def make():
        return Network([6, 9, 3], loss="cross_entropy", normalization="batch", dropout=0.1, seed=1)

    def fit(net, optimizer, *more, epochs=4):
        return net.fit(X, y, epochs=epochs, batch_size=8, optimizer=optimizer, metrics="accuracy",
                       schedule=schedules.Step(1, 0.9), validation_data=(X, y),
                       callbacks=more)  # fmt: skip

    net, seen = make(), []
    raising = Raising(method, error, 2)
    with pytest.raises(error):
        fit(net, Adam(0.01, average=0.9), raising, lambda net, epoch, record: seen.append(record))
    if TRAINED[method] is not None:
        # The averages do not change the training; only its end gives them to the network.
        expected = make()
        average = 0.9 if method == "on_train_end" else None
        fit(expected, Adam(0.01, average=average), epochs=TRAINED[method])
        assert_same_state(net, expected)
    assert len(seen) in (0, 2, 4)
    assert all(np.isfinite(array).all() for array in net.state.snapshot())
    twin = net.copy()
    optimizer = Adam(0.01, average=0.9)
    assert fit(net, optimizer)["val_loss"] == fit(twin, optimizer)["val_loss"]
    assert_same_state(net, twin)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX shells start commands without SIGINT")
def test_the_suite_ends_where_sigint_is_ignored(tmp_path):
    tests = [
        "test_engine.py::test_interruption_leaves_a_consistent_network",
        "test_many.py::test_interruption_ends_all",
        "test_cli.py::test_ctrl_c_saves_and_exits_with_130",
    ]
    directory = os.path.dirname(__file__)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", tmp_path / "tests",
         *(os.path.join(directory, test) for test in tests)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), capture_output=True,
        text=True, check=False, timeout=3 * DEADLINE, cwd=os.path.dirname(directory),
        env={**environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

"""The thread pool: equal bits for any division and order of blocks, limits, forks, idle workers."""

import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from conftest import Deadline, assert_same_state, read_data

from cmlp import SGD, Adam, Network, TrainingDiverged, callbacks
from cmlp._core import pool, training
from cmlp._training.step_settings import StepSettings
from cmlp._utils import threads

# Arguments of the network, then of `fit`: every way to divide a step into phases.
CASES = {
    "deferred updates": ([70, 50, 30, 5], {}, {"batch_size": 1}),
    "deferred updates, sparse": ([90, 50, 5], {}, {"batch_size": 3, "sparse": True}),
    "small, momentum": (
        [70, 50, 5], {}, {"batch_size": 4, "optimizer": SGD(0.05, momentum=0.9)}),
    "columns": ([400, 50, 5], {}, {"batch_size": 10}),
    "columns, sparse": ([400, 30, 5], {}, {"batch_size": 10, "sparse": True}),
    "columns, sparse, marked": ([400, 100, 5], {}, {"batch_size": 32, "sparse": True}),
    "columns, noise": ([400, 50, 5], {"input_noise": 0.1, "dropout": 0.2}, {"batch_size": 10}),
    "columns, float64, max_norm": (
        [400, 33, 5], {"dtype": "float64", "max_norm": 1.0}, {"batch_size": 16}),
    "rows": ([20, 33, 17, 5], {}, {"batch_size": 61, "optimizer": Adam()}),
    "rows, clipping": ([20, 33, 5], {}, {"batch_size": 61, "optimizer": Adam(clip_norm=0.1)}),
    "batch normalization": (
        [90, 40, 30, 5], {"normalization": ["batch", "layer"]},
        {"batch_size": 50, "optimizer": Adam(accumulate=2)}),
    "layer normalization": (
        [300, 40, 5], {"normalization": "layer"}, {"batch_size": 16, "optimizer": Adam()}),
    "panels": ([300, 150, 130, 5], {}, {"batch_size": 80, "optimizer": Adam()}),
}  # fmt: skip


def train(case, number):
    """Return a network trained on `number` threads, its history and its outputs."""
    sizes, options, arguments = CASES[case]
    rng = np.random.default_rng(1)
    X = rng.random((163, sizes[0])) * (rng.random((163, sizes[0])) < 0.4)
    y = rng.integers(0, 5, 163)
    net = Network(sizes, activation="tanh", loss="cross_entropy", seed=3, **options)
    arguments = {"optimizer": SGD(0.05), **arguments}
    history = net.fit(X, y, epochs=2, metrics="accuracy", threads=number, **arguments)
    return net, history, net(X, threads=number)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("delay", [0, 20])
def test_blocks_give_the_same_bits_whoever_computes_them(many_threads, isa, case, delay):
    alone, history, outputs = train(case, 1)
    pool.delay_blocks(delay)
    try:
        for number in (2, 3, 7) if delay == 0 else (3,):
            net, same_history, same_outputs = train(case, number)
            assert_same_state(net, alone)
            for name in ("loss", "accuracy"):
                assert same_history[name] == history[name]
            np.testing.assert_array_equal(same_outputs, outputs)
    finally:
        pool.delay_blocks(0)


def test_a_loss_in_python_is_called_between_phases(many_threads):
    def compute(outputs, targets):
        error = outputs - targets
        return np.mean(error**2), 2 * error / error.size

    rng = np.random.default_rng(0)
    X, y = rng.random((90, 300)), rng.random((90, 2))
    nets = [Network([300, 40, 2], loss=compute, output="identity", seed=0) for _ in range(2)]
    for number, net in zip((1, 3), nets, strict=True):
        net.fit(X, y, epochs=2, batch_size=16, threads=number)
    assert_same_state(*nets)


def test_threads_sleep_after_a_call(many_threads):
    train("panels", 3)
    assert pool.count_workers() >= 2
    time.sleep(0.01)  # workers spin for a short time
    begin = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - begin < 0.05


def test_a_call_uses_the_workers_that_exist(many_threads):
    train("rows", 3)
    before = pool.count_workers()
    for _ in range(5):
        train("rows", 3)
    assert pool.count_workers() == before


class RaiseAfter(callbacks.Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_batch_end(self, network, epoch, step, loss):
        self.steps -= 1
        if self.steps == 0:
            raise RuntimeError("stop")


def test_the_pool_can_be_used_after_exceptions(many_threads, rng):
    X, y = rng.random((200, 20)), rng.integers(0, 5, 200)
    net = Network([20, 40, 5], loss="cross_entropy", seed=0)
    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, y, batch_size=20, threads=3, callbacks=RaiseAfter(4))
    with pytest.raises(TrainingDiverged):
        Network([20, 40, 1], loss="mse", activation="relu", seed=0).fit(
            X * 1e18, X[:, 0], epochs=3, batch_size=20, threads=3, optimizer=SGD())  # fmt: skip
    assert_same_state(train("rows", 3)[0], train("rows", 1)[0])


def test_networks_of_several_python_threads_share_the_pool(many_threads):
    expected = {case: train(case, 1)[0] for case in CASES}
    found, workers = {}, []

    def work(case):
        found[case] = train(case, 3)[0]

    for case in CASES:
        workers.append(threading.Thread(target=work, args=(case,)))
        workers[-1].start()
    for worker in workers:
        worker.join()
    for case, net in found.items():
        assert_same_state(net, expected[case])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_trains(many_threads):
    stop = threading.Event()

    def keep_training():
        while not stop.is_set():
            train("panels", 3)

    expected = train("rows", 1)[2]
    trainer = threading.Thread(target=keep_training)
    trainer.start()
    try:
        for _ in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                ok = pool.count_workers() == 0 and (train("rows", 3)[2] == expected).all()
                os._exit(0 if ok and pool.count_workers() == 2 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        trainer.join()


@pytest.mark.skipif(sys.platform != "linux", reason="no limit of the address space here")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="address space of asan")
def test_threads_that_cannot_be_created_are_not_needed():
    code = """
import resource
import numpy as np
from cmlp import Network
from cmlp._core import pool, program
from cmlp._utils import threads
threads.count_available_cpus = lambda: 3000
program.divide_all_work(True)
net, X, y = Network([100, 50, 10], seed=0), np.zeros((900, 100)), np.arange(900) % 10
net.fit(X, y, epochs=1, batch_size=300, threads=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (120 << 20),) * 2)  # stacks of some 50 threads
net.fit(X, y, epochs=1, batch_size=300, threads=3000)
print(1 <= pool.count_workers() < 100, len(net.predict(X, threads=3000)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True 900\n", "")


def test_the_limit_of_the_pool_is_respected(monkeypatch):
    monkeypatch.setattr(threads, "count_available_cpus", lambda: 8)
    monkeypatch.delenv("CMLP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert pool.get_limit() is None
    try:
        pool.set_limit(3)
        assert (pool.get_limit(), threads.resolve_threads()) == (3, 3)
        assert (threads.resolve_threads(2), threads.resolve_threads(7)) == (2, 3)
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="limit must be at least 1 or None; got"):
                pool.set_limit(wrong)
    finally:
        pool.set_limit(None)
    assert threads.resolve_threads() == 8


def test_threadpoolctl_limits_the_pool(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl", "3.2")
    pytest.importorskip("cmlp.sklearn")
    from cmlp.sklearn import threadpool

    for module in (threads, threadpool):
        monkeypatch.setattr(module, "count_available_cpus", lambda: 8)
    monkeypatch.delenv("CMLP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    [info] = [entry for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "cmlp"]
    assert (info["num_threads"], info["prefix"]) == (8, "pool")
    with threadpoolctl.threadpool_limits(2):
        assert threads.resolve_threads() == 2
        with threadpoolctl.threadpool_limits(1, user_api="cmlp"):
            assert threads.resolve_threads(5) == 1
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            assert threads.resolve_threads() == 2
        assert threads.resolve_threads() == 2
    assert (threads.resolve_threads(), pool.get_limit()) == (8, None)


def get_threads():
    return threads.resolve_threads()


def test_joblib_limits_the_threads_of_its_workers(monkeypatch):
    joblib = pytest.importorskip("joblib")
    monkeypatch.delenv("CMLP_NUM_THREADS", raising=False)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        assert joblib.Parallel(2)(joblib.delayed(get_threads)() for _ in range(2)) == [1, 1]


def test_a_call_ends_while_workers_are_suspended(many_threads):
    # Ends by the deadline if a phase waits for a worker that has not claimed a block.
    net = Network([64, 100, 10], loss="cross_entropy", seed=0)
    X, y = np.zeros((4000, 64), np.float32), np.arange(4000) % 10
    net.fit(X, y, epochs=20, batch_size=50, threads=8, callbacks=Deadline())
    rows, targets = read_data(net, X, y)
    with training.EpochRun(
        net.state.program, rows, targets, None, 50, StepSettings(0.01), 8
    ) as run:
        while run.run(steps=7):
            pass
        assert run.done == 4000

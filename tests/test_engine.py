"""The training loop: time slices, signals, forks, Python threads, environment variables."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest

from cmlp import SGD, Network, fitting, threads
from cmlp._core import kernels, training


@pytest.fixture
def data(rng):
    return rng.random((4000, 64), dtype=np.float32), rng.integers(0, 10, 4000)


def trained(X, y, seed=0, **options):
    net = Network([64, 100, 10], loss="cross_entropy", seed=seed)
    net.fit(X, y, epochs=2, batch_size=500, optimizer=SGD(0.1), **options)
    return np.concatenate([w.ravel() for w in net.weight])


def test_shuffle_is_a_permutation_and_a_function_of_its_key():
    orders = [np.empty(1000, np.uint32) for _ in range(4)]
    for order, (seed, epoch) in zip(orders, [(1, 0), (1, 0), (1, 1), (2, 0)], strict=True):
        training.shuffle(order, seed, epoch)
        assert (np.sort(order) == np.arange(1000)).all()
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()
    assert (orders[0] != orders[3]).any()
    training.shuffle(np.empty(0, np.uint32), 1, 0)


def test_shuffles_are_uniform():
    # Where each of five items goes in 20,000 orders: chi-squared, 16 degrees of freedom,
    # exceeds 51 once in 65,000 times.
    counts = np.zeros((5, 5))
    order = np.empty(5, np.uint32)
    for epoch in range(20_000):
        training.shuffle(order, 3, epoch)
        counts[np.arange(5), order] += 1
    assert ((counts - 4000) ** 2 / 4000).sum() < 51


def test_interruption_leaves_a_consistent_network(data):
    net = Network([64, 100, 10], loss="cross_entropy", seed=0)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):  # by itself it would go on for hours
        net.fit(*data, epochs=10_000_000, optimizer=SGD(0.01))
    assert all(np.isfinite(w).all() for w in net.weight)
    assert net.score(*data) > 0
    net.fit(*data, epochs=1)


def test_two_networks_train_at_once(data):
    alone = [trained(*data, seed=seed, threads=2) for seed in range(4)]
    together = [None] * 4

    def work(seed):
        together[seed] = trained(*data, seed=seed, threads=2)

    team = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_one_network_answers_several_threads(data):
    X, _ = data
    net = Network([64, 100, 10], seed=0)
    want, wrong = net(X), []

    def work():
        for _ in range(20):
            if not (net(X) == want).all():
                wrong.append(1)

    team = [threading.Thread(target=work) for _ in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_fork_after_use(data):
    want = trained(*data, threads=4)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for got in pool.starmap(trained_on_four, [data] * 4):
            assert (got == want).all()


def trained_on_four(X, y):
    return trained(X, y, threads=4)


def test_an_epoch_returns_to_python_after_each_time_slice(rng):
    X, y = rng.random((200_000, 64), dtype=np.float32), rng.integers(0, 10, 200_000)
    net = Network([64, 128, 10], seed=0)
    rows, targets, _ = fitting.data(net, X, y)
    done = [0]
    with training.EpochRun(net._program, rows, targets, None, 1, 0.01, 1) as run:
        while run.run():
            done.append(run.done)
    assert len(done) > 1
    assert all(a < b < len(X) for a, b in pairwise(done))


def in_a_new_process(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("isa", kernels.available())
def test_isa_by_the_environment(isa):
    done = in_a_new_process("import cmlp; cmlp.show_config()", CMLP_ISA=isa)
    assert f"isa:     {isa} (of " in done.stdout


def test_a_wrong_isa_is_named():
    done = in_a_new_process("import cmlp", CMLP_ISA="avx1024")
    assert "ValueError: CMLP_ISA must be one of " in done.stderr


def test_threads_by_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    monkeypatch.delenv("CMLP_NUM_THREADS", raising=False)
    assert threads.resolve() == 3
    monkeypatch.setenv("CMLP_NUM_THREADS", "2")
    assert threads.resolve() == 2
    assert threads.resolve(5) == 5
    for wrong in ("0", "many"):
        monkeypatch.setenv("CMLP_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match="CMLP_NUM_THREADS must be"):
            threads.resolve()
    monkeypatch.delenv("CMLP_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads.resolve() == threads.available()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask here")
def test_threads_by_the_affinity_mask():
    code = "import os; os.sched_setaffinity(0, {0}); import cmlp.threads as t; print(t.available())"
    assert in_a_new_process(code).stdout == "1\n"


def test_threads_by_the_control_groups(tmp_path, monkeypatch):
    def grant(folder, **files):
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name.replace("__", ".")).write_text(text)

    def limit(membership):
        (tmp_path / "membership").write_text(membership)
        threads.cgroup_limit.cache_clear()
        return threads.cgroup_limit(tmp_path / "root", tmp_path / "membership")

    grant("root", cpu__max="max 100000\n")
    grant("root/box/inner", cpu__max="150000 100000\n")
    assert limit("0::/\n") == np.inf
    assert limit("0::/box/inner\n") == 1.5
    assert limit("0::/elsewhere\n") == np.inf
    grant("root/box", cpu__max="50000 100000")
    assert limit("0::/box/inner\n") == 0.5
    grant("root/box", cpu__max="nonsense")
    assert limit("0::/box/inner\n") == 1.5
    grant("root/cpu/old", cpu__cfs_quota_us="200000\n", cpu__cfs_period_us="100000\n")
    assert limit("4:memory:/old\n3:cpu,cpuacct:/old\n") == 2
    grant("root/cpu/old", cpu__cfs_quota_us="-1\n")
    assert limit("3:cpu,cpuacct:/old\n") == np.inf
    assert threads.cgroup_limit(tmp_path, tmp_path / "none") == np.inf
    assert 1 <= threads.available() <= os.cpu_count()
    for granted, want in ((0.5, 1), (1e9, threads.available()), (np.inf, threads.available())):
        monkeypatch.setattr(threads, "cgroup_limit", lambda granted=granted: granted)
        assert threads.available() == want


def test_import_brings_nothing_heavy():
    heavy = ("scipy", "tqdm", "ssl", "sklearn", "torch", "matplotlib", "asyncio", "cmlp.datasets")
    done = in_a_new_process(f"import cmlp, sys; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout == "[]\n"


def test_the_face_hands_on_all_that_it_names():
    done = in_a_new_process(
        "import cmlp; print([n for n in cmlp.__all__ if not hasattr(cmlp, n)]);"
        "print(cmlp.datasets.make_digits.__name__); cmlp.dataset"
    )
    assert done.stdout == "[]\nmake_digits\n"
    assert "module 'cmlp' has no attribute 'dataset'" in done.stderr

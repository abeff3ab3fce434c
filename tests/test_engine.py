"""The compiled loop: time slices, signals, forks, Python threads, environment variables."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import Deadline, assert_same_state, measures_memory, read_data, train_epoch
from scipy.sparse import csr_array

from cmlp import SGD, Network
from cmlp._core import kernels, training
from cmlp._core.inputs import Rows, Targets
from cmlp._training.step_settings import StepSettings
from cmlp._utils import threads


@pytest.fixture
def data(rng):
    return rng.random((4000, 64), dtype=np.float32), rng.integers(0, 10, 4000)


def trained(X, y, seed=0, **options):
    net = Network([64, 100, 10], loss="cross_entropy", seed=seed)
    net.fit(X, y, epochs=2, batch_size=500, optimizer=SGD(0.1), **options)
    return np.concatenate([w.ravel() for w in net.weight])


def test_shuffle_returns_a_permutation_that_depends_on_seed_and_epoch():
    orders = [np.empty(1000, np.uint32) for _ in range(4)]
    for order, (seed, epoch) in zip(orders, [(1, 0), (1, 0), (1, 1), (2, 0)], strict=True):
        training.shuffle(order, seed, epoch)
        assert (np.sort(order) == np.arange(1000)).all()
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()
    assert (orders[0] != orders[3]).any()
    training.shuffle(np.empty(0, np.uint32), 1, 0)


def test_shuffles_are_uniform():
    # Positions of five items in 20,000 orders. Chi-squared with 16 degrees of freedom exceeds 51
    # with probability 1 / 65,000.
    counts = np.zeros((5, 5))
    order = np.empty(5, np.uint32)
    for epoch in range(20_000):
        training.shuffle(order, 3, epoch)
        counts[np.arange(5), order] += 1
    assert ((counts - 4000) ** 2 / 4000).sum() < 51


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("options", [{}, {"dtype": "float64"}, {"compute_dtype": "bfloat16"}])
def test_a_gradient_in_parts_has_the_bits_of_one_sum(rng, options, sparse, threads):
    X, y = rng.random((1024, 70), dtype=np.float32), rng.integers(0, 10, 1024)
    if sparse:
        X = csr_array(X * (rng.random(X.shape) < 0.2))
    net = Network([70, 100, 10], activation="relu", loss="cross_entropy", seed=0, **options)
    whole, parts = (net.state.parameters.make_zeros() for _ in range(2))
    program = net.state.program
    loss = program.gradient(*read_data(net, X, y), whole.block, threads)
    # The second part continues the sums of the first. Each is the gradient of a mean over 512.
    losses = []
    for half in (slice(512), slice(512, None)):
        data = read_data(net, X[half], y[half])
        losses.append(program.gradient(*data, parts.block, threads))
    np.testing.assert_array_equal(2 * whole.block, parts.block)
    assert loss == pytest.approx(np.mean(losses), rel=1e-12)


def test_interruption_leaves_a_consistent_network(data, ctrl_c):
    net = Network([64, 100, 10], loss="cross_entropy", seed=0)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):  # without the signal it would train for hours
        net.fit(*data, epochs=10_000_000, optimizer=SGD(0.01), callbacks=Deadline())
    timer.cancel()
    X, y = data
    assert all(np.isfinite(w).all() for w in net.weight)
    assert net.score(X, y) == (net.predict(X) == y).mean()
    # All that training reads is in the state: a copy continues with the same bits.
    twin = net.copy()
    assert net.fit(X, y, epochs=2)["loss"] == twin.fit(X, y, epochs=2)["loss"]
    assert_same_state(net, twin)


def test_interruption_of_epochs_in_one_run_leaves_a_consistent_network(data, ctrl_c):
    X, y = data[0][:50], data[1][:50]
    net = Network([64, 100, 10], loss="cross_entropy", seed=0)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):  # without the signal it would train for half a minute
        net.fit(X, y, epochs=500_000, batch_size=50, optimizer=SGD(1e-3))
    timer.cancel()
    assert net.state.epoch > 20
    twin = Network([64, 100, 10], loss="cross_entropy", seed=0)
    twin.fit(X, y, epochs=net.state.epoch, batch_size=50, optimizer=SGD(1e-3))
    if (twin.weight[0] != net.weight[0]).any():  # the step was done, but not yet the epoch
        twin.fit(X, y, epochs=1, batch_size=50, optimizer=SGD(1e-3))
    assert_same_state(net, twin)


def test_a_restarted_run_trains_another_epoch(data):
    rows, targets = Rows(data[0]), Targets(data[1].astype(np.int32))
    orders = [np.random.default_rng(i).permutation(4000).astype(np.uint32) for i in range(2)]
    nets = [Network([64, 20, 10], loss="cross_entropy", dropout=0.2, seed=0) for _ in range(2)]
    rates = [None, np.linspace(0.1, 0.2, 40)]
    for epoch in range(2):
        train_epoch(
            nets[0].state.program, rows, targets, orders[epoch], 100,
            StepSettings(0.1, rates[epoch]), 1, noise=(0, epoch),
        )  # fmt: skip
    arguments = nets[1].state.program, rows, targets, orders[0], 100, StepSettings(0.1), 1
    with training.EpochRun(*arguments, noise=(0, 0)) as run:
        while run.run():
            pass
        with pytest.raises(ValueError, match="order must have 4000 indices"):
            run.restart(orders[1][:10], StepSettings(0.1), 1)
        run.restart(orders[1], StepSettings(0.1, rates[1]), 1)
        assert (run.done, run.loss, run.weight) == (0, 0, 0)
        while run.run():
            pass
    assert_same_state(*nets)
    with pytest.raises(ValueError, match=r"restart\(\) must be called before"):
        run.restart(orders[1], StepSettings(0.1), 2)


@pytest.mark.usefixtures("many_threads")
def test_networks_train_at_the_same_time_in_python_threads(data):
    alone = [trained(*data, seed=seed, threads=2) for seed in range(4)]
    together = [None] * 4

    def work(seed):
        together[seed] = trained(*data, seed=seed, threads=2)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_one_network_predicts_in_several_python_threads(data):
    X, _ = data
    net = Network([64, 100, 10], seed=0)
    want, equal = net(X), []

    def work():
        for _ in range(20):
            equal.append((net(X) == want).all())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert equal == [True] * 80


@pytest.mark.usefixtures("many_threads")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_fork_after_use(data):
    want = trained(*data, threads=4)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for got in pool.starmap(trained_on_four, [data] * 4):
            assert (got == want).all()


def trained_on_four(X, y):
    return trained(X, y, threads=4)


def test_an_epoch_returns_after_each_time_slice(rng):
    X, y = rng.random((200_000, 64), dtype=np.float32), rng.integers(0, 10, 200_000)
    net = Network([64, 128, 10], seed=0)
    rows, targets = read_data(net, X, y)
    done, times = [], [time.perf_counter()]
    with training.EpochRun(net.state.program, rows, targets, None, 1, StepSettings(0.01), 1) as run:
        while run.run():
            done.append(run.done)
            times.append(time.perf_counter())
        assert run.done == 200_000
    assert len(done) > 2
    assert np.diff([0, *done, 200_000]).min() > 0
    # The slices of a machine under load are longer, never shorter.
    assert np.diff(times).min() > 0.5 * training.TIME_SLICE


@pytest.mark.parametrize(
    ("done", "sums"),
    [(-32, (0, 0, 0)), (-1, (0, 0, 0)), (7, (0, 0, 0)), (104, (0, 0, 0)), (2**62, (0, 0, 0)),
     (8, (np.nan, 8, 0)), (8, (1, np.inf, 0)), (8, (1, 8, -np.inf))],
)  # fmt: skip
def test_an_epoch_cannot_continue_where_there_is_no_step(rng, done, sums):
    X, y = rng.random((100, 64), dtype=np.float32), rng.integers(0, 10, 100)
    net = Network([64, 10], seed=0)
    rows, targets = read_data(net, X, y)
    with training.EpochRun(net.state.program, rows, targets, None, 8, StepSettings(0.01), 1) as run:
        with pytest.raises(ValueError, match="must be f"):
            run.resume(done, *sums)
        assert run.done == 0
        run.resume(100, 1, 100, 0)
        assert not run.run()
        run.resume(96, 1, 96, 0)
        assert not run.run()
        assert (run.done, run.weight) == (100, 100)


def run_code(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("isa", kernels.list_available())
def test_the_environment_selects_the_isa(isa):
    done = run_code("import cmlp; cmlp.show_config()", CMLP_ISA=isa)
    assert f"isa:      {isa} (of " in done.stdout


def test_a_wrong_isa_is_named():
    done = run_code("import cmlp", CMLP_ISA="avx1024")
    assert "ValueError: CMLP_ISA must be one of " in done.stderr


def test_the_environment_limits_threads(monkeypatch):
    monkeypatch.setattr(threads, "count_available_cpus", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    monkeypatch.delenv("CMLP_NUM_THREADS", raising=False)
    assert threads.resolve_threads() == 3
    monkeypatch.setenv("CMLP_NUM_THREADS", "2")
    assert threads.resolve_threads() == 2
    assert threads.resolve_threads(5) == 5
    for wrong in ("0", "many"):
        monkeypatch.setenv("CMLP_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match="CMLP_NUM_THREADS must be"):
            threads.resolve_threads()
    monkeypatch.delenv("CMLP_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads.resolve_threads() == threads.count_available_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask here")
def test_the_affinity_mask_limits_threads():
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from cmlp._utils import threads
print(threads.count_available_cpus())
"""
    assert run_code(code).stdout == "1\n"


def test_control_groups_limit_threads(tmp_path, monkeypatch):
    def grant(folder, **files):
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name.replace("__", ".")).write_text(text)

    def limit(membership):
        (tmp_path / "membership").write_text(membership)
        threads.read_cgroup_limit.cache_clear()
        return threads.read_cgroup_limit(tmp_path / "root", tmp_path / "membership")

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
    assert threads.read_cgroup_limit(tmp_path, tmp_path / "none") == np.inf
    assert 1 <= threads.count_available_cpus() <= os.cpu_count()
    cpus = threads.count_available_cpus()
    for granted, want in ((0.5, 1), (1e9, cpus), (np.inf, cpus)):
        monkeypatch.setattr(threads, "read_cgroup_limit", lambda granted=granted: granted)
        assert threads.count_available_cpus() == want


def test_importing_cmlp_imports_no_heavy_package():
    heavy = (
        "scipy", "tqdm", "ssl", "sklearn", "torch", "matplotlib", "asyncio", "cmlp.datasets",
        "cmlp.plot", "cmlp._model.html",
    )  # fmt: skip
    done = run_code(f"import cmlp, sys; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout == "[]\n"


def test_every_public_name_can_be_imported():
    done = run_code(
        "import cmlp; print([n for n in cmlp.__all__ if not hasattr(cmlp, n)]);"
        "print(cmlp.datasets.make_digits.__name__); cmlp.dataset"
    )
    assert done.stdout == "[]\nmake_digits\n"
    assert "module 'cmlp' has no attribute 'dataset'" in done.stderr


def test_the_number_of_threads_is_limited(monkeypatch):
    monkeypatch.delenv("CMLP_NUM_THREADS", raising=False)
    for cpus in (1, 2, 40):
        monkeypatch.setattr(threads, "count_available_cpus", lambda cpus=cpus: cpus)
        for number in (cpus, cpus + 1, 3000, 2**63):
            assert threads.resolve_threads(number) == cpus
    monkeypatch.setenv("CMLP_NUM_THREADS", "3000")
    assert threads.resolve_threads() == 40


@measures_memory
@pytest.mark.skipif(sys.platform != "linux", reason="no limit of the address space here")
def test_many_threads_under_a_memory_limit():
    code = """
import os, resource
import numpy as np
from cmlp import Network
from cmlp._core.inputs import Rows
X = np.zeros((20_000, 784), np.float32)
X[:, ::9] = 1
y = np.arange(20_000) % 10
net = Network([784, 512, 10], seed=0)
limit = (2 << 30) + (os.cpu_count() << 24)  # twice the stack of a thread for each CPU
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
net.fit(X, y, epochs=1, batch_size=20_000, threads=3000, sparse=False)
net.fit(X, y, epochs=1, batch_size=2_000, threads=3000, sparse=True)
Rows(X[:100]).compress(3000)  # more threads than blocks of work
print(len(net.predict(X, threads=3000)))
"""
    done = run_code(code, OPENBLAS_NUM_THREADS="1")
    assert (done.stdout, done.stderr) == ("20000\n", "")


def test_no_more_threads_than_blocks_of_work():
    # One row is not divided among threads, however large the network is; an update is.
    net = Network([4000, 4000, 10], seed=0)
    assert net.state.program.predict_few(np.ones((1, 4000), np.float32)) is not None
    assert net.state.program.plan(1, 4)[0] > 1
    narrow = Network([16, 16], seed=0)
    assert narrow.state.program.plan(40, 3000)[0] == 1

"""Training on shards: on one process, on ranks that are threads, and under mpiexec."""

import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import read_data
from scipy.sparse import csr_array

from cmlp import LBFGS, SGD, Adam, Network, RankError, callbacks
from cmlp._training.exchange import Exchange

HERE = Path(__file__).parent
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


class ThreadComm:
    """The ranks of a communicator as threads of this process.

    Parameters
    ----------
    rank : int
    shared : dict
        The same for all ranks: queues, and what `Bcast` and `Allreduce` need.
    """

    def __init__(self, rank, shared):
        self.rank, self.shared = rank, shared
        self.calls = 0

    @classmethod
    def make(cls, size):
        """Return the communicators of all ranks."""
        shared = {
            "size": size, "barrier": threading.Barrier(size, timeout=20), "slots": [None] * size,
            "queues": {(a, b): queue.Queue() for a in range(size) for b in range(size)},
        }  # fmt: skip
        return [cls(rank, shared) for rank in range(size)]

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.shared["size"]

    def Barrier(self):
        self.shared["barrier"].wait()

    def Sendrecv(self, sendbuf, dest, recvbuf, source):
        self.calls += 1
        self.shared["queues"][self.rank, dest].put(bytes(sendbuf))
        data = self.shared["queues"][source, self.rank].get(timeout=20)
        received = recvbuf.view(np.uint8)
        assert len(data) <= received.size  # as in MPI
        received[: len(data)] = np.frombuffer(data, np.uint8)

    def Bcast(self, buffer, root):
        if self.rank == root:
            self.shared["slots"][0] = buffer.copy()
        self.Barrier()
        buffer[:] = self.shared["slots"][0]
        self.Barrier()

    def Allreduce(self, sendbuf, recvbuf):
        self.shared["slots"][self.rank] = sendbuf.copy()
        self.Barrier()
        recvbuf[:] = sum(self.shared["slots"])
        self.Barrier()


def run_ranks(size, function):
    """Return function(comm) of each rank; exceptions are returned too."""
    found = [None] * size

    def run(comm):
        try:
            found[comm.rank] = function(comm)
        except Exception as error:
            found[comm.rank] = error

    threads = [threading.Thread(target=run, args=(comm,)) for comm in ThreadComm.make(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return found


@pytest.fixture
def data(rng):
    return rng.random((500, 40), dtype=np.float32), rng.integers(0, 5, 500)


def fit(X, y, units=60, options=None, **arguments):
    net = Network([40, units, 30, 5], activation="relu", loss="cross_entropy", seed=0,
                  **(options or {}))  # fmt: skip
    arguments = {"epochs": 2, "batch_size": 50, "optimizer": Adam(), "threads": 1, **arguments}
    history = net.fit(X, y, **arguments)
    return net.state.parameters.block.copy(), history["loss"]


NETWORKS = [
    {},
    {"dropout": 0.3, "input_noise": 0.1},
    {"dtype": "float64", "normalization": "layer"},
    {"compute_dtype": "bfloat16"},
]


@pytest.mark.parametrize("units", [20, 200])  # gradients sent whole, and by halves
@pytest.mark.parametrize("options", NETWORKS)
def test_the_bits_do_not_depend_on_ranks_and_threads(data, options, units):
    want, losses = fit(*data, units, options, shards=8)
    for threads in (1, 2):
        got, found = fit(*data, units, options, shards=8, threads=threads)
        np.testing.assert_array_equal(got, want)
        assert found == losses
    for size in (1, 2, 4, 8):
        for got, found in run_ranks(size, lambda comm: fit(
            *data, units, options, shards=8, comm=comm, distribute=True
        )):  # fmt: skip
            np.testing.assert_array_equal(got, want)
            assert found == losses


@pytest.mark.parametrize("arguments", [
    {"optimizer": SGD(0.1)}, {"optimizer": Adam(clip_norm=0.1, penalty=1e-3)},
    {"validation_split": 0.2}, {"shuffle": False}, {"class_weight": "balanced"},
    {"schedule": lambda step, epoch: 1 / (step + 1)}, {"batch_size": 17},
])  # fmt: skip
@pytest.mark.parametrize("sparse", [False, True])
def test_arguments_and_sparse_samples(data, rng, arguments, sparse):
    X, y = data
    X = X * (rng.random(X.shape) < 0.3)
    if sparse:
        X = csr_array(X)
    weights = rng.random(500)
    want, losses = fit(X, y, shards=8, sample_weight=weights, **arguments)
    for got, found in run_ranks(2, lambda comm: fit(
        X, y, shards=8, sample_weight=weights, comm=comm, distribute=True, **arguments
    )):  # fmt: skip
        np.testing.assert_array_equal(got, want)
        assert found == losses


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_the_tree_over_the_shards(rng, dtype):
    # Powers of two, so that the factors 1 / 8 and 1 / 64 of the means are exact. The step of SGD
    # with a learning rate of 1 subtracts the gradient.
    X, y = rng.random((64, 40), dtype=np.float32), rng.integers(0, 5, 64)
    net = Network([40, 60, 5], activation="relu", loss="cross_entropy", dtype=dtype, seed=0)
    parts = []
    for s in range(8):
        part = net.state.parameters.make_zeros().block
        half = slice(8 * s, 8 * s + 8)
        net.state.program.gradient(*read_data(net, X[half], y[half]), part, 1)
        parts.append(part / 8)
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    want = net.state.parameters.block - parts[0]
    net.fit(X, y, epochs=1, batch_size=64, optimizer=SGD(1.0), shards=8, shuffle=False)
    np.testing.assert_array_equal(net.state.parameters.block, want)


def test_each_sample_is_used_once_an_epoch(data):
    # One shard is ordinary training on the same batches: all of them.
    X, y = data
    one, _ = fit(X, y, shards=1, batch_size=500, epochs=1, shuffle=False)
    plain, _ = fit(X, y, batch_size=500, epochs=1, shuffle=False)
    np.testing.assert_array_equal(one, plain)
    many, _ = fit(X, y, shards=8, batch_size=500, epochs=1)
    np.testing.assert_allclose(many, plain, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("reproducible", [True, False])
def test_every_rank_has_its_own_part(data, size, reproducible):
    if size == 3 and reproducible:
        pytest.xfail("the tree needs a power of two")
    X, y = data
    cuts = [0, 180, 500] if size == 2 else [0, 100, 300, 500]

    def run(comm):
        part = slice(cuts[comm.rank], cuts[comm.rank + 1])
        return fit(X[part], y[part], comm=comm, reproducible=reproducible, epochs=30)

    (first, losses), *others = run_ranks(size, run)
    for got, found in others:
        np.testing.assert_array_equal(got, first)
        assert found == losses
    assert losses[-1] == pytest.approx(fit(X, y, epochs=30)[1][-1], rel=0.1)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("units", [20, 200])
@pytest.mark.parametrize("reproducible", [True, False])
@pytest.mark.parametrize("event", ["on_train_begin", "on_batch_end", "on_epoch_end"])
def test_an_exception_ends_all_ranks(data, event, reproducible, units, size):
    class Fail(callbacks.Callback):
        wants_batches = event == "on_batch_end"
        count = 0

        def __init__(self, rank):
            setattr(self, event, self.fail if rank == 1 else lambda *_: None)

        def fail(self, *_):
            self.count += 1
            if self.count == 2 or event == "on_train_begin":
                raise OSError("the disk is full")

    found = run_ranks(size, lambda comm: fit(
        *data, units, comm=comm, distribute=True, reproducible=reproducible,
        callbacks=Fail(comm.rank), epochs=5,
    ))  # fmt: skip
    assert isinstance(found.pop(1), OSError)
    for error in found:
        assert isinstance(error, RankError)
        assert str(error) == "training ended because rank 1 ended by an exception"


@pytest.mark.parametrize(("arguments", "message"), [
    ({"epochs": 3}, "epochs must be the same on all ranks; got 3 on rank 1, and 2 on rank 0"),
    ({"batch_size": 40}, "batch_size must be the same"),
    ({"optimizer": LBFGS()}, "support neither LBFGS"),
    ({"metrics": "accuracy"}, "metrics must be the same"),
    ({"sync_every": 2}, "sync_every must be the same"),
    ({"shards": 16}, "shards must be the same on all ranks; got 16 on rank 1, and None on rank 0"),
    ({"optimizer": Adam(0.1)}, r"optimizer must be the same on all ranks; got Adam\(lr=0.1"),
    ({"shuffle": False}, "shuffle must be the same on all ranks; got False on rank 1, and True"),
    ({"epochs": -1}, "epochs must be"),
    ({"optimizer": 0.1}, "optimizer must be a name or an instance"),
    ({"shards": "2"}, "shards must be a whole number"),
    ({"schedule": lambda step, epoch: 1.0}, "schedule must be the same"),
])  # fmt: skip
def test_wrong_arguments_on_one_rank_end_all(data, arguments, message):
    first, second = run_ranks(2, lambda comm: fit(
        *data, comm=comm, distribute=True, **(arguments if comm.rank == 1 else {})
    ))  # fmt: skip
    assert isinstance(first, RankError)
    with pytest.raises((TypeError, ValueError), match=message):
        raise second


def test_one_rank_stops_all(data):
    found = run_ranks(4, lambda comm: fit(
        *data, comm=comm, distribute=True, epochs=9,
        callbacks=lambda network, epoch, record: comm.rank == 2 and epoch == 1,
    ))  # fmt: skip
    assert [len(losses) for _, losses in found] == [2] * 4


def test_the_validation_data_of_rank_0_count(data, rng):
    X, y = data

    def run(comm):
        net = Network([40, 5], loss="cross_entropy", seed=0)
        net.bias[0][:] = comm.rank  # training begins with the parameters of rank 0
        shifted = X[:50] + comm.rank
        history = net.fit(X, y, comm=comm, distribute=True, validation_data=(shifted, y[:50]),
                          epochs=1)  # fmt: skip
        return history["val_loss"]

    first, second = run_ranks(2, run)
    assert first == second


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"comm": object()}, TypeError, "object has no Get_rank"),
    ({"shards": 0}, ValueError, "shards must be"),
    ({"shards": 6}, ValueError, "a power of two"),
    ({"shards": 64}, ValueError, "at most batch_size, 50; got 64"),
    ({"shards": 2, "optimizer": Adam(accumulate=2)}, ValueError, "accumulate"),
    ({"distribute": True}, ValueError, "requires comm"),
    ({"reproducible": False}, ValueError, "requires comm"),
    ({"shards": "2"}, TypeError, "shards must be"),
])  # fmt: skip
def test_wrong_arguments(data, arguments, error, message):
    with pytest.raises(error, match=message):
        fit(*data, **arguments)
    with pytest.raises(ValueError, match="normalization='batch'"):
        fit(*data, options={"normalization": "batch"}, shards=2)
    with pytest.raises(ValueError, match="each of the 4 shards must have a sample"):
        fit(data[0][:3], data[1][:3], shards=4)


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path, data):
    path = tmp_path / "run.npz"

    def run(comm, net, epochs):
        net.fit(*data, epochs=epochs, batch_size=50, optimizer=Adam(), comm=comm, distribute=True,
                shards=8, callbacks=callbacks.Checkpoint(path, 7, unit="steps"))  # fmt: skip
        return net.state.parameters.block.copy()

    def make(comm):
        return Network([40, 60, 5], loss="cross_entropy", seed=0, dropout=0.2)

    want = run_ranks(2, lambda comm: run(comm, make(comm), 3))[0]
    run_ranks(
        2, lambda comm: run(comm, make(comm), 2)
    )  # its last checkpoint is after step 14 of 20
    for got in run_ranks(4, lambda comm: run(comm, Network.resume(path), 3)):
        np.testing.assert_array_equal(got, want)
    run_ranks(2, lambda comm: run(comm, make(comm), 2))
    checkpoint = callbacks.Checkpoint(path, 7, unit="steps")
    with pytest.raises(
        ValueError, match="shards must be 8, as in the interrupted training; got None"
    ):
        Network.resume(path).fit(*data, epochs=3, batch_size=50, optimizer=Adam(),
                                 callbacks=checkpoint)  # fmt: skip


def test_ctrl_c_on_all_ranks_writes_a_checkpoint(tmp_path, data):
    path = tmp_path / "run.npz"

    class Interrupt(callbacks.Callback):
        def on_batch_end(self, network, epoch, step, loss):
            self.is_due = (epoch, step) == (1, 3)

        wants_batches = True

        def on_pause(self, network, run):
            run.exchange.interrupted = self.is_due

    class Watch(Interrupt):
        def on_pause(self, network, run):
            pass

    def run(comm, net, watcher):
        watcher.__class__.__name__ = "Watch"
        net.fit(*data, epochs=3, batch_size=50, optimizer=Adam(), comm=comm, distribute=True,
                callbacks=[callbacks.Checkpoint(path, 100), watcher])  # fmt: skip
        return net.state.parameters.block.copy()

    def make():
        return Network([40, 60, 5], loss="cross_entropy", seed=0)

    def interrupt(comm):
        try:
            run(comm, make(), Interrupt())
        except KeyboardInterrupt:
            return "interrupted"

    want = run_ranks(2, lambda comm: run(comm, make(), Watch()))[0]
    assert run_ranks(2, interrupt) == ["interrupted"] * 2
    for got in run_ranks(2, lambda comm: run(comm, Network.resume(path), Watch())):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_sparse_samples_with_more_columns_than_entries(rng, compute_dtype):
    X = np.zeros((64, 3000), np.float32)
    X[np.arange(64), rng.integers(0, 3000, 64)] = 1
    y = rng.integers(0, 3, 64)

    def train(**options):
        net = Network([3000, 64, 3], activation="relu", loss="cross_entropy", seed=0,
                      compute_dtype=compute_dtype)  # fmt: skip
        net.fit(csr_array(X), y, epochs=2, batch_size=32, optimizer=SGD(0.1), **options)
        return net.state.parameters.block.copy()

    np.testing.assert_allclose(train(shards=1, shuffle=False), train(shuffle=False), atol=1e-6)
    want = train(shards=8)
    for got in run_ranks(2, lambda comm: train(shards=8, comm=comm, distribute=True)):
        np.testing.assert_array_equal(got, want)


def test_an_exception_after_training_does_not_wait_for_others(data):
    class Fail(callbacks.Callback):
        def __init__(self, rank):
            self.rank = rank

        def on_train_end(self, network, history):
            if self.rank == 1:
                raise OSError("the disk is full")

    first, second = run_ranks(2, lambda comm: fit(
        *data, comm=comm, distribute=True, callbacks=Fail(comm.rank)
    ))  # fmt: skip
    assert isinstance(second, OSError)
    assert len(first[1]) == 2


def test_steps_exchange_as_few_messages_as_possible(data):
    def count(comm):
        fit(*data, 20, comm=comm, distribute=True, epochs=1)
        return comm.calls

    # Ten steps; agreement on arguments, parameters and the end of the epoch.
    assert max(run_ranks(2, count)) <= 10 + 4


@pytest.mark.parametrize("size", [2, 4, 8])
def test_vectors_are_summed_over_a_tree(size, rng):
    vectors = rng.normal(size=(size, 9))
    want = list(vectors)
    while len(want) > 1:
        want = [a + b for a, b in zip(want[::2], want[1::2], strict=True)]
    for got in run_ranks(size, lambda comm: Exchange(comm).sum_vector(vectors[comm.rank])):
        np.testing.assert_array_equal(got, want[0])


def mpiexec(size, case, path, check=True):
    """Run tests/ranks.py; return what its ranks report."""
    done = subprocess.run(
        [MPIEXEC, "-n", str(size), sys.executable, str(HERE / "ranks.py"), case, str(path)],
        timeout=100, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not check:
        return done.returncode
    assert done.returncode == 0, done.stderr
    return [Path(f"{path}.{rank}").read_text(encoding="ascii") for rank in range(size)]


@pytest.mark.skipif(MPIEXEC is None, reason="mpiexec is not installed")
class TestMPI:
    def test_the_bits_do_not_depend_on_the_number_of_ranks(self, tmp_path):
        found = [mpiexec(size, "whole", tmp_path / "run") for size in (1, 2, 4)]
        assert len({report for reports in found for report in reports}) == 1

    def test_a_run_resumes_on_another_number_of_ranks(self, tmp_path):
        [whole] = mpiexec(1, "whole", tmp_path / "run")
        path = tmp_path / "run.npz"
        mpiexec(2, "begin", path)
        assert set(mpiexec(4, "resume", path)) == {whole}

    def test_plain_sums(self, tmp_path):
        assert len(set(mpiexec(3, "plain", tmp_path / "run"))) == 1

    def test_ctrl_c_on_one_rank_ends_all(self, tmp_path):
        reports = mpiexec(2, "interrupt", tmp_path / "run")
        assert reports == ["RankError 1", "KeyboardInterrupt "]

    def test_a_killed_rank_ends_all_and_the_run_resumes(self, tmp_path):
        [whole] = mpiexec(1, "whole", tmp_path / "run")
        path = tmp_path / "run.npz"
        assert mpiexec(2, "kill", path, check=False) != 0
        assert Network.resume(path).state.epoch == 2
        assert set(mpiexec(4, "resume", path)) == {whole}

    def test_the_command_line(self, tmp_path):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 3))
        table = np.column_stack((X, X.sum(axis=1) > 0))
        np.savetxt(tmp_path / "table.csv", table, delimiter=",", header="a,b,c,d", comments="")
        command = ["-m", "cmlp", "train", "--mpi", "--data", "table.csv", "--epochs", "3",
                   "--shards", "2", "--out", "net.npz"]  # fmt: skip
        done = subprocess.run([MPIEXEC, "-n", "2", sys.executable, *command], cwd=tmp_path,
                              timeout=100, capture_output=True, text=True, check=True)  # fmt: skip
        assert done.stdout.count("test accuracy") == 1
        assert Network.load(tmp_path / "net.npz").num_layers

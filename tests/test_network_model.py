"""The model of exchanges against the messages that are sent; the communicators of the bench."""

import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from test_sharding import MPIEXEC, run_ranks

from bench import links
from bench.comms import DelayingComm, SilentComm, SocketComm, TimedComm
from bench.network_model import (
    ComputeTimes,
    Line,
    count_added_bytes,
    count_messages,
    find_errors,
    fit_line,
    predict_exchange,
    predict_scaling,
)
from cmlp._training.exchange import LARGE_BYTES, PART_BYTES, Exchange, PlainExchange

LINK, LOCAL = Line(1e-5, 1e9), Line(1e-6, 1e10)
SIZES = (64, 4096, LARGE_BYTES - 64, LARGE_BYTES, 2 * PART_BYTES, 5 * PART_BYTES)


@pytest.mark.parametrize("line", [Line(2e-5, 1.2e8), Line(3e-6, 1e10), Line(0.0, 1e9)])
def test_a_fit_recovers_latency_and_bandwidth(line, rng):
    counts = np.array([1, 1, 2, 1, 3, 1])
    sizes = np.array([8, 1e3, 1e4, 1e5, 1e6, 1e7])
    seconds = line.predict(counts, sizes)
    found = fit_line(counts, sizes, seconds)
    assert found == pytest.approx(line, rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(find_errors(found, counts, sizes, seconds), 0, atol=1e-6)
    noisy = fit_line(counts, sizes, seconds * rng.uniform(0.95, 1.05, len(sizes)))
    assert noisy == pytest.approx(line, rel=0.2, abs=1e-6)


def test_fitted_parameters_are_not_negative():
    sizes = np.array([1e3, 1e4, 1e5])
    assert fit_line([1, 1, 1], sizes, (sizes / 1e8) ** 1.5).latency == 0
    constant = fit_line([1, 1], [1e3, 1e6], [2e-3, 1e-3])
    assert constant.bandwidth == float("inf")
    assert 1e-3 < constant.latency < 2e-3


class RecordingComm:
    """Record the bytes of the messages that a rank sends."""

    def __init__(self, comm, sent):
        self.comm, self.sent = comm, sent

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Sendrecv(self, sendbuf, dest, recvbuf, source):
        self.sent.append(sendbuf.nbytes)
        self.comm.Sendrecv(sendbuf, dest, recvbuf=recvbuf, source=source)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("size", SIZES)
def test_the_counts_are_those_of_the_exchange(ranks, size):
    def run(comm):
        sent = []
        exchange = Exchange(RecordingComm(comm, sent))
        exchange.make_gradient(size // 4, np.float32)[:] = comm.rank
        exchange.sum_gradient(np.zeros(1))
        np.testing.assert_array_equal(exchange.gradient, sum(range(ranks)))
        return sent

    messages, sent = count_messages(size, ranks)
    for found in run_ranks(ranks, run):
        assert (len(found), sum(found)) == (messages, sent)
        simulated = sum(LINK.latency + n / LINK.bandwidth for n in found)
        local = LOCAL.predict(messages, count_added_bytes(size, ranks))
        assert predict_exchange(size, ranks, LINK, LOCAL) == pytest.approx(simulated + local)


def test_the_terms_are_those_of_the_literature():
    assert count_messages(1024, 8) == (3, 3 * (1024 + 64))
    assert count_added_bytes(1024, 8) == 3 * 1024
    # Two rounds of halving with a header each, and two of doubling.
    assert count_messages(1 << 18, 4) == (4 + 2, 2 * 64 + 2 * 3 / 4 * (1 << 18))
    assert count_added_bytes(1 << 18, 4) == 3 / 4 * (1 << 18)


def test_predicted_exchanges():
    for size in SIZES:
        times = [predict_exchange(size, 1 << i, LINK, LOCAL) for i in range(11)]
        assert times[0] == 0
        assert times == sorted(set(times)), "more ranks take longer"
    for low, high in ((0, 3), (3, 6)):  # halving is faster from LARGE_BYTES on
        times = [predict_exchange(size, 64, LINK, LOCAL) for size in SIZES[low:high]]
        assert times == sorted(times)
    with pytest.raises(ValueError, match="a power of two; got 6"):
        predict_exchange(1024, 6, LINK, LOCAL)


def test_times_of_steps_are_interpolated():
    compute = ComputeTimes({64: 4.0, 8: 1.0, 16: 2.0})
    assert [compute.predict(batch) for batch in (1, 8, 12, 40, 64, 128)] == [1, 1, 1.5, 3, 4, 8]


def test_predicted_scaling():
    compute, nodes = ComputeTimes({1: 1e-4, 64: 6.4e-3}), (1, 2, 4, 64, 128)
    weak = predict_scaling(compute, 1 << 20, 64, nodes, LINK, LOCAL, is_weak=True)
    assert [p.nodes for p in weak] == [*nodes]
    assert weak[0] == (1, pytest.approx(6.4e-3), 0, 1)
    for p in weak[1:]:
        exchange = predict_exchange(1 << 20, p.nodes, LINK, LOCAL)
        assert p.seconds == pytest.approx(6.4e-3 + exchange)
        assert p.gain == pytest.approx(p.nodes * 6.4e-3 / p.seconds)
        assert p.share == pytest.approx(exchange / p.seconds)
    strong = predict_scaling(compute, 1 << 20, 64, nodes, LINK, LOCAL, is_weak=False)
    assert [p.nodes for p in strong] == [1, 2, 4, 64], "each shard needs a sample"
    exchange = predict_exchange(1 << 20, 4, LINK, LOCAL)
    assert strong[2].seconds == pytest.approx(compute.predict(16) + exchange)
    assert strong[2].gain == pytest.approx(6.4e-3 / strong[2].seconds)


def sum_gradients(comm, kind):
    exchange = kind(comm)
    gradient, loss = exchange.make_gradient(50_001, np.float32), np.ones(1)
    gradient[:] = np.arange(50_001) * (1 + comm.Get_rank())
    exchange.sum_gradient(loss)
    comm.Barrier()
    first = np.full(3, comm.Get_rank())
    comm.Bcast(first, 0)
    return loss, gradient.copy(), first


def check_sums(found):
    for loss, gradient, first in found:
        assert loss == 2
        np.testing.assert_array_equal(gradient, (np.arange(50_001) * 3).astype(np.float32))
        np.testing.assert_array_equal(first, 0)


@pytest.mark.parametrize("kind", [Exchange, PlainExchange])
def test_wrapped_communicators_pass_everything_on(kind):
    def run(comm):
        timed = TimedComm(DelayingComm(comm, 0.01))
        return *sum_gradients(timed, kind), timed.seconds, comm.calls

    found = run_ranks(2, run)
    check_sums([result[:3] for result in found])
    for *_, seconds, calls in found:
        assert seconds > 0.01 * calls
        assert (calls > 0) == (kind is Exchange)


@pytest.mark.skipif(not hasattr(select, "poll"), reason="select has no poll")
@pytest.mark.parametrize("kind", [Exchange, PlainExchange])
def test_two_ranks_over_tcp(kind):
    server = socket.create_server(("127.0.0.1", 0))
    found = [None, None]

    def run(rank):
        if rank == 0:
            connection = server.accept()[0]
        else:
            connection = socket.create_connection(server.getsockname())
        comm = SocketComm(connection, rank)
        found[rank] = sum_gradients(comm, kind)
        comm.close()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    server.close()
    check_sums(found)


def test_local_work_needs_no_other_rank():
    exchange = Exchange(SilentComm())
    exchange.make_gradient(50_000, np.float32)
    loss = np.full(1, 3.0)
    exchange.sum_gradient(loss)
    assert loss[0] == 3


def test_namespaces_are_deleted_if_the_link_cannot_be_made(monkeypatch):
    commands = []

    def run(*command):
        commands.append(command)
        if command[0] == "tc":
            raise OSError("tc: no qdisc")

    monkeypatch.setattr(links, "run", run)
    pair = links.LinkedNamespaces(10**8)
    with pytest.raises(OSError, match="no qdisc"), pair:
        pass
    assert commands[-2:] == [("ip", "netns", "delete", name) for name in pair.names]


@pytest.mark.skipif(MPIEXEC is None, reason="mpiexec is not installed")
def test_the_benchmark_runs():
    # The larger the batch, the fewer steps, with an exchange each, the benchmark chooses to time.
    command = ["-m", "bench.distributed", "steps", "--rounds", "1", "--networks", "30",
               "--batches", "2048"]  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[1], timeout=120)  # fmt: skip
    assert "| 2 ranks: plain Allreduce |" in done.stdout

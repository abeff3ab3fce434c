"""The program of each rank of `bench.distributed`; rank 0 writes its result as a line of JSON.

``python -m bench.distributed_worker COMMAND ARGUMENTS``, where ARGUMENTS is a dict as JSON, and
COMMAND one of `COMMANDS`.
"""

import json
import statistics
import sys
import time

import numpy as np

from bench.comms import DelayingComm, SilentComm, SocketComm, TimedComm
from bench.roofline import time_call
from cmlp import SGD, Network
from cmlp._training.exchange import Exchange, PlainExchange
from cmlp.callbacks import Callback

# Samples of an epoch: X stays below 63 MB.
MOST_SAMPLES = 20_000
# A step takes roughly this time and 6 operations per weight and sample at 80 GFLOP/s.
STEP_SECONDS, OPERATIONS_PER_SECOND = 2e-5, 80e9
EPOCH_SECONDS = 0.1
TIMED_EPOCHS = 4

# Mode -> arguments of `fit`. Those with `comm` are for ranks of MPI.
ALONE = {
    "1 thread": {"threads": 1},
    "2 threads": {"threads": 2},
    "1 thread, 8 shards": {"threads": 1, "shards": 8},
    "2 threads, 8 shards": {"threads": 2, "shards": 8},
}
RANKS = {
    "tree, 8 shards": {"shards": 8},
    "tree, a shard each": {},
    "plain Allreduce": {"reproducible": False},
}


class EpochClock(Callback):
    """Record the time at the end of each epoch, and the time in the communicator until then."""

    def __init__(self, comm):
        self.comm, self.ends, self.waits = comm, [], []

    def on_epoch_end(self, network, epoch, record):
        """Record both times."""
        self.ends.append(time.perf_counter())
        self.waits.append(self.comm.seconds if self.comm else 0.0)


def make_network(sizes):
    """Return the network of a case."""
    return Network(list(sizes), activation="relu", loss="cross_entropy", seed=0)


def count_bytes(sizes):
    """Return the number of bytes of a network's gradient, with its padding."""
    return make_network(sizes).state.parameters.block.nbytes


def choose_steps(sizes, batch, exchange_seconds=0.0):
    """Return a number of steps of an epoch that takes about `EPOCH_SECONDS`."""
    compute = STEP_SECONDS + 1.5 * count_bytes(sizes) * batch / OPERATIONS_PER_SECOND
    wanted = int(EPOCH_SECONDS / (compute + exchange_seconds))
    return max(2, min(wanted, MOST_SAMPLES // batch))


def make_data(sizes, samples):
    """Return dense float32 samples and labels."""
    rng = np.random.default_rng(0)
    X = rng.random((samples, sizes[0]), dtype=np.float32)
    return X, rng.integers(0, sizes[-1], samples)


def time_steps(sizes, batch, data, comm=None, epochs=TIMED_EPOCHS, **options):
    """Train, and time the epochs after the first one.

    Parameters
    ----------
    sizes : sequence of int
    batch : int
        Of all ranks together.
    data : tuple of ndarray
        X and y, the same on all ranks.
    comm : communicator, optional
    epochs : int
        Number of epochs that are timed.
    **options
        Further arguments of `fit`.

    Returns
    -------
    seconds : float
        Per step: the median over the epochs.
    share : float
        Fraction of the time spent in the communicator.
    """
    timed = TimedComm(comm) if comm else None
    if comm:
        options.update(comm=timed, distribute=True)
    clock = EpochClock(timed)
    make_network(sizes).fit(
        *data, epochs=1 + epochs, batch_size=batch, optimizer=SGD(1e-4), sparse=False,
        callbacks=clock, **options,
    )  # fmt: skip
    steps = len(data[0]) // batch
    share = (clock.waits[-1] - clock.waits[0]) / (clock.ends[-1] - clock.ends[0])
    return statistics.median(np.diff(clock.ends)) / steps, share


def run_alone(cases, threads):
    """Time the steps of one process without a communicator; the modes take turns.

    Returns
    -------
    list of dict
        For each case: mode -> (seconds, 0).
    """
    found = []
    for sizes, batch in cases:
        data = make_data(sizes, batch * choose_steps(sizes, batch))
        modes = {name: mode for name, mode in ALONE.items() if mode["threads"] in threads}
        found.append({name: time_steps(sizes, batch, data, **mode) for name, mode in modes.items()})
    return found


def run_ranks(cases):
    """Time the steps of this rank, which uses one thread; the modes take turns.

    Returns
    -------
    list of dict
        For each case: mode -> (seconds, share of communication, the mean of the ranks).
    """
    from mpi4py import MPI

    comm, found = MPI.COMM_WORLD, []
    for sizes, batch in cases:
        data = make_data(sizes, batch * choose_steps(sizes, batch))
        times = {}
        for name, mode in RANKS.items():
            if mode.get("reproducible", True) and "shards" not in mode:
                mode = {**mode, "shards": comm.Get_size()}
            seconds, share = time_steps(sizes, batch, data, comm, threads=1, **mode)
            times[name] = seconds, statistics.mean(comm.allgather(share))
        found.append(times)
    return found


def choose_repeats(size):
    """Return how often the exchange of `size` bytes is timed in a row."""
    return int(np.clip(4e7 / (size + 1e5), 5, 200))


def time_repeats(call, repeats, comm, prepare=None):
    """Return the median seconds of a call that all ranks make at the same time.

    `prepare` is called before each call and not timed.
    """
    call()
    times = []
    for _ in range(repeats):
        if prepare:
            prepare()
        comm.Barrier()
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def make_message_call(comm, size):
    """Return two functions: one exchanges `size` bytes with the other of two ranks.

    The other function writes the bytes that are sent and reads those received, as the computation
    between two exchanges does. In memory that both ranks share, messages of bytes just written
    take up to twice as long, since they are in the other core's caches.
    """
    out, received = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    other = 1 - comm.Get_rank()

    def prepare():
        out[:] += 1
        received.max()

    return lambda: comm.Sendrecv(out, other, recvbuf=received, source=other), prepare


def time_sustained(comm, size, repeats, rounds=5):
    """Return the seconds of a message of `size` bytes among many in a row.

    After a pause, the token bucket of a rate limit lets some bytes pass at full speed.
    """
    (call, _), times = make_message_call(comm, size), []
    for _ in range(1 + rounds):
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - begin) / repeats)
    return statistics.median(times[1:])


def time_exchange(kind, comm, size, repeats):
    """Return the median seconds of a sum of `size` bytes of float32."""
    exchange, sums = kind(comm), np.zeros(1)
    exchange.make_gradient(size // 4, np.float32)
    return time_repeats(lambda: exchange.sum_gradient(sums), repeats, comm)


def run_exchange(sizes):
    """Time messages and sums of several sizes among two ranks that have nothing else to do."""
    from mpi4py import MPI

    comm, found = MPI.COMM_WORLD, []
    for size in sizes:
        repeats = choose_repeats(size)
        call, prepare = make_message_call(comm, size)
        found.append({
            "messages": time_repeats(call, repeats, comm, prepare),
            "tree": time_exchange(Exchange, comm, size, repeats),
            "Allreduce": time_exchange(PlainExchange, comm, size, repeats),
        })  # fmt: skip
    return found


def run_local(sizes):
    """Time the local work of exchanges of several sizes, with `SilentComm`."""
    found, sums = [], np.zeros(1)
    for size in sizes:
        exchange = Exchange(SilentComm())
        exchange.make_gradient(size // 4, np.float32)
        found.append(time_call(lambda e=exchange: e.sum_gradient(sums), 0.005, 5))
    return found


def run_compute(networks, batches, threads):
    """Time steps of one shard without communication.

    Returns
    -------
    list of list of float
        Seconds per step for each network and batch size.
    """
    found = []
    for sizes in networks:
        found.append([])
        for batch in batches:
            data = make_data(sizes, batch * choose_steps(sizes, batch))
            found[-1].append(time_steps(sizes, batch, data, threads=threads, shards=1)[0])
    return found


def run_link(rank, address, port, sizes, cases, delays, rate):
    """Time messages and training steps of two ranks that are connected by TCP.

    Parameters
    ----------
    rank : {0, 1}
    address : str
        Of rank 0.
    port : int
    sizes : list of int
        Bytes of the messages.
    cases : list of (sizes, batch)
        The networks, and the batch sizes of both ranks together.
    delays : list of float
        Seconds added to each message.
    rate : float
        Bytes per second of the link.

    Returns
    -------
    list of dict
        For each delay: "messages", seconds for each size, and "cases", for each case the seconds
        per step of half the batch without communication, and of the training of both ranks.
    """
    socket_comm, found = SocketComm.connect(rank, address, port), []
    for delay in delays:
        comm = DelayingComm(socket_comm, delay)
        messages = []
        for size in sizes:
            repeats = int(np.clip(0.05 / (size / rate + delay), 1, 100))
            messages.append(time_sustained(comm, size, repeats))
        times = []
        for net, batch in cases:
            exchange = delay + count_bytes(net) / rate
            data = make_data(net, batch * choose_steps(net, batch, exchange))
            half = tuple(array[: len(array) // 2] for array in data)
            comm.Barrier()
            alone, _ = time_steps(net, batch // 2, half, threads=1, shards=1)
            comm.Barrier()
            both, _ = time_steps(net, batch, data, comm, threads=1, shards=2)
            times.append((alone, both))
        found.append({"messages": messages, "cases": times})
    socket_comm.Barrier()
    socket_comm.close()
    return found


COMMANDS = {
    "alone": run_alone, "ranks": run_ranks, "exchange": run_exchange, "local": run_local,
    "compute": run_compute, "link": run_link,
}  # fmt: skip


def main():
    """Run a command, and write its result unless this is another rank than 0."""
    command, arguments = sys.argv[1], json.loads(sys.argv[2])
    found = COMMANDS[command](**arguments)
    rank = arguments.get("rank", 0)
    if command in ("ranks", "exchange"):
        from mpi4py import MPI

        rank = MPI.COMM_WORLD.Get_rank()
    if rank == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

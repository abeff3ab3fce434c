"""Sums over the ranks of a communicator such as mpi4py's `MPI.COMM_WORLD`.

Every message has a header with the state of its sender. A rank that ends early, by an exception,
sends the header alone, so that the others stop instead of waiting for it.
"""

import contextlib
import signal
import threading

import numpy as np

from cmlp.errors import RankError

METHODS = ("Get_rank", "Get_size", "Sendrecv", "Bcast", "Allreduce", "Barrier")
# A boundary of this many bytes is the header's size too.
ALIGNMENT = 64
# A gradient of at least this many bytes is halved from round to round (Rabenseifner, "Optimization
# of collective reduction operations", ICCS 2004). A smaller one is sent whole, which takes half the
# number of rounds.
LARGE_BYTES = 1 << 16

# It is exchanged in parts that stay in the cache until they are added.
PART_BYTES = 1 << 20

# Space for a message whose length is not yet known.
LEAST_BYTES = 1 << 16

# States of a rank.
RUNNING, FAILED, INTERRUPTED = range(3)
REASONS = {FAILED: "an exception", INTERRUPTED: "Ctrl-C"}


def check_comm(comm):
    """Raise `TypeError` unless `comm` has the methods of an MPI communicator that are used."""
    missing = [name for name in METHODS if not callable(getattr(comm, name, None))]
    if missing:
        raise TypeError(
            f"comm must be an MPI communicator, such as mpi4py's MPI.COMM_WORLD, with the methods "
            f"{', '.join(METHODS)}; {type(comm).__name__} has no {', '.join(missing)}"
        )


def make_buffer(bytes):
    """Return a buffer of zeros for a message: uint8, the header and then `bytes` bytes."""
    memory = np.zeros(bytes + 2 * ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + ALIGNMENT + bytes]


class Message:
    """A buffer of a header and a payload.

    Parameters
    ----------
    bytes : int
        Of the payload.

    Attributes
    ----------
    buffer, payload : ndarray of uint8
    state : ndarray of int64, shape (2,)
        The state of a rank, and which: the lowest that is not running.
    loss : ndarray of float64, shape (1,)
    """

    def __init__(self, bytes):
        self.buffer = make_buffer(bytes)
        self.header, self.payload = self.buffer[:ALIGNMENT], self.buffer[ALIGNMENT:]
        self.state = self.header[:16].view(np.int64)
        self.loss = self.header[16:24].view(np.float64)


class Exchange:
    """Sums over ranks that are the same bits for every number of ranks.

    The sums have the order of a binary tree over the ranks (recursive doubling, or halving and
    doubling of the vector), which continues the tree over the shards of each rank. As a + b has
    the bits of b + a, all ranks have the same.

    Parameters
    ----------
    comm : communicator
        Its number of ranks must be a power of two.

    Attributes
    ----------
    rank, size : int
    most_bytes : int
        Of a vector that is summed.
    has_ended : bool
        Whether all ranks know that one of them has ended.
    interrupted : bool
        Whether Ctrl-C is to end the next sum.

    Raises
    ------
    ValueError
        If the number of ranks is not a power of two.
    """

    def __init__(self, comm):
        self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()
        self.check_size()
        self.interrupted = self.has_ended = False
        self.most_bytes = 0
        self.out, self.received = Message(0), Message(0)

    def check_size(self):
        """Raise `ValueError` if the number of ranks does not suit the tree."""
        if self.size & (self.size - 1):
            raise ValueError(
                f"comm must have 1, 2, 4, 8 ... ranks for reproducible sums; got {self.size} (or "
                "use reproducible=False)"
            )

    def make_gradient(self, block):
        """Return a block of zeros, shaped like `block`, that `sum_gradient` sums over the ranks."""
        self.out = Message(block.nbytes)
        self.received = Message(min(block.nbytes, PART_BYTES))
        self.gradient = self.out.payload.view(block.dtype)
        self.other = self.received.payload.view(block.dtype)
        return self.gradient

    def sum_gradient(self, loss):
        """Sum the gradient, in place, and a loss over the ranks; return the sum of the losses.

        Raises
        ------
        RankError, KeyboardInterrupt
            If a rank has ended, or has been interrupted.
        """
        self.begin(self.out)
        self.out.loss[0] = loss
        if self.gradient.nbytes < LARGE_BYTES:
            for distance in self.distances():
                self.swap(self.out, self.received, distance)
                self.gradient += self.other
        else:
            self.sum_by_halves()
        self.end(self.out)
        return float(self.out.loss[0])

    def sum_by_halves(self):
        # Each round halves what a rank sums; then the ranks collect the sums in reverse order.
        header, parts, first, end = Message(0), [], 0, self.gradient.size
        for distance in self.distances():
            self.swap_headers(header, distance)
            middle = (first + end) // 2
            kept, sent = slice(first, middle), slice(middle, end)
            if self.rank & distance:
                kept, sent = sent, kept
            if self.out.state[0] == RUNNING:
                self.add_parts(self.gradient[sent], self.gradient[kept], distance)
            parts.append((distance, kept, sent))
            first, end = kept.start, kept.stop
        if self.out.state[0] == RUNNING:
            for distance, kept, sent in reversed(parts):
                self.send(self.gradient[kept], self.gradient[sent], distance)

    def add_parts(self, sent, kept, distance):
        # Send a vector to the rank at a distance, and add the one from there to `kept`. Two vectors
        # of neighbouring halves differ in length by one at most.
        size = self.other.size
        for i in range(0, max(sent.size, kept.size), size):
            other = self.other[: kept[i : i + size].size]
            self.send(sent[i : i + size], other, distance)
            kept[i : i + size] += other

    def sum_vector(self, vector):
        """Return the sum over the ranks of a vector of float64."""
        out, received = Message(vector.nbytes), Message(vector.nbytes)
        total = out.payload.view(np.float64)
        total[:] = vector
        self.begin(out)
        for distance in self.distances():
            self.swap(out, received, distance)
            total += received.payload.view(np.float64)[: total.size]
        self.end(out)
        return total

    def distances(self):
        """Return the distances of the partners of each round: 1, 2, 4 and so on."""
        return [1 << i for i in range(self.size.bit_length() - 1)]

    def swap(self, out, received, distance):
        """Exchange messages with the rank at a distance, and combine the headers."""
        received.state[0] = RUNNING
        self.send(out.buffer, received.buffer, distance)
        self.combine(out, received)

    def swap_headers(self, received, distance):
        """Exchange and combine the header of the gradient's message alone."""
        self.send(self.out.header, received.header, distance)
        self.combine(self.out, received)

    def send(self, out, received, distance):
        """Exchange buffers with the rank at a distance."""
        partner = self.rank ^ distance
        self.comm.Sendrecv(out, partner, recvbuf=received, source=partner)

    def combine(self, out, received):
        """Add the other rank's loss, and adopt its state if it is not running."""
        out.loss[0] += received.loss[0]
        if received.state[0] != RUNNING and (
            out.state[0] == RUNNING or received.state[1] < out.state[1]
        ):
            out.state[:] = received.state

    def begin(self, message):
        """Set the header of the first round."""
        message.state[:] = INTERRUPTED if self.interrupted else RUNNING, self.rank
        message.loss[0] = 0

    def end(self, message):
        """Raise if a rank has ended."""
        state, rank = (int(x) for x in message.state)
        if state == RUNNING:
            return
        self.has_ended = True
        if state == INTERRUPTED and self.interrupted:
            raise KeyboardInterrupt
        raise RankError(rank, REASONS[state])

    def abort(self):
        """Tell the other ranks, which are about to sum something, that this one has failed."""
        if self.has_ended:
            return
        self.has_ended = True
        self.begin(self.out)
        self.out.state[0] = FAILED
        for distance in self.distances():
            # Whatever the others send, a gradient or a vector, is discarded.
            received = Message(max(self.out.payload.nbytes, self.most_bytes, LEAST_BYTES))
            self.send(self.out.header, received.buffer, distance)

    def share(self, values):
        """Return the float64 vector of rank 0."""
        vector = np.array(values if self.rank == 0 else np.zeros(len(values)), np.float64)
        return self.sum_vector(vector)

    @contextlib.contextmanager
    def defer_interrupts(self):
        """Within a ``with`` block, let Ctrl-C end the next sum instead of raising at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_):
            self.interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            if self.interrupted and not self.has_ended:
                raise KeyboardInterrupt


class PlainExchange(Exchange):
    """Sums by the communicator's own `Allreduce`, of any number of ranks.

    The bits depend on the number of ranks and on the communicator. The arguments and results are
    those of `Exchange`.
    """

    def check_size(self):
        """Accept any number of ranks."""

    def make_gradient(self, block):
        """Return a block of zeros, shaped like `block`, that `sum_gradient` sums over the ranks."""
        gradient = super().make_gradient(block)
        self.other = np.empty_like(gradient)
        return gradient

    def agree(self, loss=0.0, state=RUNNING):
        """Return the sum of the losses; raise if a rank has ended."""
        vector = np.zeros(1 + self.size)
        vector[0] = loss
        vector[1 + self.rank] = INTERRUPTED if self.interrupted else state
        total = np.zeros_like(vector)
        self.comm.Allreduce(vector, total)
        ended = np.flatnonzero(total[1:])
        self.out.state[:] = RUNNING, self.rank
        if ended.size:
            self.out.state[:] = int(total[1 + ended[0]]), ended[0]
        return float(total[0])

    def sum_gradient(self, loss):
        """Sum the gradient and a loss over the ranks."""
        total = self.agree(loss)
        self.end(self.out)
        self.comm.Allreduce(self.gradient, self.other)
        self.gradient[:] = self.other
        return total

    def sum_vector(self, vector):
        """Return the sum over the ranks of a vector of float64."""
        self.agree()
        self.end(self.out)
        total = np.zeros_like(vector)
        self.comm.Allreduce(np.ascontiguousarray(vector), total)
        return total

    def abort(self):
        """Tell the other ranks that this one has failed."""
        if not self.has_ended:
            self.has_ended = True
            self.agree(state=FAILED)

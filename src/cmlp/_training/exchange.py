"""Sums over the ranks of a communicator such as mpi4py's `MPI.COMM_WORLD`.

Every message has a header with the state of its sender. A rank that ends early, by an exception,
sends the beginning of the header alone, so that the others stop instead of waiting for it.
"""

import contextlib
import math
import pickle
import signal
import threading

import numpy as np

from cmlp.errors import RankError

METHODS = ("Get_rank", "Get_size", "Sendrecv", "Bcast", "Allreduce", "Barrier")
# A boundary of this many bytes; a header has at least this size.
ALIGNMENT = 64
# A gradient of at least this many bytes is halved from round to round (Rabenseifner, "Optimization
# of collective reduction operations", ICCS 2004). A smaller one is sent whole, which takes half the
# number of rounds.
LARGE_BYTES = 1 << 16

# It is exchanged in parts that stay in the cache until they are added.
PART_BYTES = 1 << 20

# Space for a message whose length is not yet known.
LEAST_BYTES = 1 << 16

# Least number of sums in a message: the loss.
LEAST_SUMS = 1

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
    """Return an aligned buffer of zeros, uint8."""
    memory = np.zeros(bytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + bytes]


class Message:
    """A buffer of a header and a payload.

    Parameters
    ----------
    bytes : int
        Of the payload.
    sums : int, default 1
        Number of sums in the header.

    Attributes
    ----------
    buffer, header, payload : ndarray of uint8
    beginning : ndarray of uint8
        The first bytes of the header, with the state.
    state : ndarray of int64, shape (3,)
        The state of a rank, and which: the lowest that is not running; the lowest rank whose loss
        is not finite.
    sums : ndarray of float64, shape (sums,)
        Of losses, metrics and so on.
    """

    def __init__(self, bytes, sums=LEAST_SUMS):
        size = -(-(24 + 8 * sums) // ALIGNMENT) * ALIGNMENT
        self.buffer = make_buffer(size + bytes)
        self.header, self.payload = self.buffer[:size], self.buffer[size:]
        self.beginning = self.header[:ALIGNMENT]
        self.state = self.header[:24].view(np.int64)
        self.sums = self.header[24 : 24 + 8 * sums].view(np.float64)


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
    has_more_sums : bool
        Whether any of the sums beside the loss can be another number than 0.
    diverged : int or None
        The lowest rank whose loss was not finite in the latest `sum_gradient`.

    Raises
    ------
    ValueError
        If the number of ranks is not a power of two.
    """

    def __init__(self, comm):
        self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()
        self.check_size()
        self.interrupted = self.has_ended = False
        self.most_bytes, self.diverged, self.has_more_sums = 0, None, True
        self.out, self.received = Message(0), Message(0)

    def check_size(self):
        """Raise `ValueError` if the number of ranks does not suit the tree."""
        if self.size & (self.size - 1):
            raise ValueError(
                f"comm must have 1, 2, 4, 8 ... ranks for reproducible sums; got {self.size} (or "
                "use reproducible=False)"
            )

    def make_gradient(self, size, dtype, sums=LEAST_SUMS, parameters=None):
        """Return a vector of zeros that `sum_gradient` sums over the ranks.

        Parameters
        ----------
        size : int
        dtype : dtype
        sums : int, default 1
            Number of sums that go with it.
        parameters : ndarray of the same size, optional
            Each rank updates some of them, and the ranks exchange the updated parameters instead of
            sums of gradients. The gradients of the other parameters are then undefined.
        """
        self.parameters = parameters
        bytes = size * np.dtype(dtype).itemsize
        self.out = Message(bytes, sums)
        self.received = Message(min(bytes, PART_BYTES), sums)
        self.gradient = self.out.payload.view(dtype)
        self.other = self.received.payload.view(dtype)
        return self.gradient

    def sum_gradient(self, sums, update=None):
        """Sum the gradient, and a float64 vector of the loss and other sums, both in place.

        Parameters
        ----------
        sums : ndarray of float64
        update : callable, optional
            Updates the parameters of a range (first, size), or all without arguments, by their
            gradient.

        Raises
        ------
        RankError, KeyboardInterrupt
            If a rank has ended, or has been interrupted.
        """
        self.begin(self.out)
        self.out.sums[:] = sums
        if not math.isfinite(sums[0]):
            self.out.state[2] = self.rank
        if self.gradient.nbytes < LARGE_BYTES:
            for distance in self.distances():
                self.swap(self.out, self.received, distance)
                self.gradient += self.other
        else:
            self.sum_by_halves(update if self.parameters is not None else None)
        self.end(self.out)
        if update is not None and (self.parameters is None or self.gradient.nbytes < LARGE_BYTES):
            update()
        sums[:] = self.out.sums
        self.note_divergence(int(self.out.state[2]))

    def note_divergence(self, rank):
        """Record the lowest rank whose loss is not finite; `size` for none."""
        self.diverged = rank if rank < self.size else None

    def sum_by_halves(self, update):
        # Each round halves the range that a rank sums. Then the ranks collect the sums, or the
        # updated parameters, in reverse order.
        unit = ALIGNMENT // self.gradient.itemsize
        header, parts = Message(0, self.out.sums.size), []
        first, end = 0, self.gradient.size
        for distance in self.distances():
            self.swap_headers(header, distance)
            middle = first + (end - first) // (2 * unit) * unit
            kept, sent = slice(first, middle), slice(middle, end)
            if self.rank & distance:
                kept, sent = sent, kept
            if self.out.state[0] == RUNNING:
                self.add_parts(self.gradient[sent], self.gradient[kept], distance)
            parts.append((distance, kept, sent))
            first, end = kept.start, kept.stop
        if self.out.state[0] != RUNNING:
            return
        collected = self.gradient
        if update is not None:
            collected = self.parameters
            if end > first:
                update(first, end - first)
        for distance, kept, sent in reversed(parts):
            self.send(collected[kept], collected[sent], distance)

    def add_parts(self, sent, kept, distance):
        # Send a vector to the rank at a distance, and add the one from there to `kept`. They may
        # differ in length.
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
        """Add the other rank's sums, and adopt its state if it is not running."""
        out.sums += received.sums
        out.state[2] = min(out.state[2], received.state[2])
        if received.state[0] != RUNNING and (
            out.state[0] == RUNNING or received.state[1] < out.state[1]
        ):
            out.state[:2] = received.state[:2]

    def begin(self, message):
        """Set the header of the first round."""
        state = INTERRUPTED if self.interrupted else RUNNING
        message.state[:] = state, self.rank, self.size
        message.sums[:] = 0

    def end(self, message):
        """Raise if a rank has ended."""
        state, rank = (int(x) for x in message.state[:2])
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
            received = Message(max(self.out.buffer.nbytes, self.most_bytes, LEAST_BYTES))
            self.send(self.out.beginning, received.buffer, distance)

    def share(self, values):
        """Return the float64 vector of rank 0."""
        vector = np.array(values if self.rank == 0 else np.zeros(len(values)), np.float64)
        return self.sum_vector(vector)

    def share_object(self, value, rank=0):
        """Return an object of another rank."""
        data = np.frombuffer(pickle.dumps(value) if self.rank == rank else b"", np.uint8)
        size = self.sum_vector(np.array([float(data.size)]))[0]
        data = data.copy() if self.rank == rank else np.empty(int(size), np.uint8)
        self.comm.Bcast(data, rank)
        return pickle.loads(data.tobytes())

    @contextlib.contextmanager
    def aborts(self):
        """Within a ``with`` block, an exception ends the other ranks, which are about to sum."""
        try:
            yield self
        except BaseException:
            self.abort()
            raise

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

    def make_gradient(self, size, dtype, sums=LEAST_SUMS, parameters=None):
        """Return a vector of zeros that `sum_gradient` sums over the ranks."""
        gradient = super().make_gradient(size, dtype, sums)
        self.other = np.empty_like(gradient)
        return gradient

    def agree(self, loss=0.0, state=RUNNING):
        """Return the sum of the losses, and learn which ranks have ended or diverged."""
        vector = np.zeros(2 * self.size)
        vector[self.rank] = INTERRUPTED if self.interrupted else state
        vector[self.size + self.rank] = loss
        total = np.zeros_like(vector)
        self.comm.Allreduce(vector, total)
        states, losses = np.split(total, 2)
        ended = np.flatnonzero(states)
        self.out.state[:2] = (int(states[ended[0]]), ended[0]) if ended.size else (RUNNING, 0)
        diverged = np.flatnonzero(~np.isfinite(losses))
        self.note_divergence(int(diverged[0]) if diverged.size else self.size)
        return losses.sum()

    def sum_gradient(self, sums, update=None):
        """Sum the gradient, and a float64 vector of the loss and other sums, both in place."""
        loss = self.agree(sums[0])
        self.end(self.out)
        if self.has_more_sums:
            total = np.zeros_like(sums)
            self.comm.Allreduce(sums, total)
            sums[:] = total
        sums[0] = loss
        self.comm.Allreduce(self.gradient, self.other)
        self.gradient[:] = self.other
        if update is not None:
            update()

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


def open_exchange(comm):
    """Return the `Exchange` of a communicator, reproducible if its number of ranks suits it."""
    check_comm(comm)
    ranks = comm.Get_size()
    return (PlainExchange if ranks & (ranks - 1) else Exchange)(comm)

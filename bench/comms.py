"""Communicators for measurements: they count, delay or omit messages, or use a TCP connection.

Each has the methods that `fit(comm=...)` requires of an MPI communicator.
"""

import contextlib
import select
import socket
import struct
import time

import numpy as np

LENGTH = struct.Struct("<q")
# Seconds after which a rank gives up waiting for the other.
TIMEOUT_SECONDS = 120


class WrappedComm:
    """A communicator that passes every call on to another one.

    Parameters
    ----------
    comm : communicator
    """

    def __init__(self, comm):
        self.comm = comm

    def Get_rank(self):
        """Return the number of this rank."""
        return self.comm.Get_rank()

    def Get_size(self):
        """Return the number of ranks."""
        return self.comm.Get_size()

    def Sendrecv(self, sendbuf, dest, recvbuf, source):
        """Send a message, and receive one."""
        with self.observe():
            self.comm.Sendrecv(sendbuf, dest, recvbuf=recvbuf, source=source)

    def Bcast(self, buffer, root):
        """Copy the buffer of rank `root` to all ranks."""
        with self.observe():
            self.comm.Bcast(buffer, root)

    def Allreduce(self, sendbuf, recvbuf):
        """Sum over the ranks."""
        with self.observe():
            self.comm.Allreduce(sendbuf, recvbuf)

    def Barrier(self):
        """Wait for all ranks."""
        with self.observe():
            self.comm.Barrier()

    def observe(self):
        """Return a context for one call."""
        return contextlib.nullcontext()


class TimedComm(WrappedComm):
    """A communicator that sums the time of its calls, with the wait for the other ranks.

    Attributes
    ----------
    seconds : float
    """

    def __init__(self, comm):
        super().__init__(comm)
        self.seconds = 0.0

    @contextlib.contextmanager
    def observe(self):
        """Add the time of a call."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begin


class DelayingComm(WrappedComm):
    """A communicator whose `Sendrecv` takes longer: a link with a greater latency.

    Parameters
    ----------
    comm : communicator
    seconds : float
        Added to each `Sendrecv`.
    """

    def __init__(self, comm, seconds):
        super().__init__(comm)
        self.delay = seconds

    def Sendrecv(self, sendbuf, dest, recvbuf, source):
        """Send a message, receive one, and wait."""
        super().Sendrecv(sendbuf, dest, recvbuf, source)
        # A sleep of 1 ms took 1.3 ms on average, and the next computation was slower.
        end = time.perf_counter() + self.delay
        while time.perf_counter() < end:
            pass


class SilentComm:
    """Rank 0 of several ranks that neither sends nor receives: what it takes is local work.

    Parameters
    ----------
    size : int
    """

    def __init__(self, size=2):
        self.size = size

    def Get_rank(self):
        """Return 0."""
        return 0

    def Get_size(self):
        """Return the number of ranks."""
        return self.size

    def Sendrecv(self, sendbuf, dest, recvbuf, source):
        """Do nothing."""

    def Bcast(self, buffer, root):
        """Do nothing."""

    def Allreduce(self, sendbuf, recvbuf):
        """Do nothing."""

    def Barrier(self):
        """Do nothing."""


class SocketComm:
    """Two ranks that are connected by TCP.

    Each message is preceded by its length, so that it may be shorter than the buffer that
    receives it. Both directions are served at the same time.

    Parameters
    ----------
    connection : socket.socket
        Connected to the other rank.
    rank : {0, 1}
    """

    def __init__(self, connection, rank):
        self.connection, self.rank = connection, rank
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.poll = select.poll()

    @classmethod
    def connect(cls, rank, address, port):
        """Return the communicator of a rank; rank 0 listens, and rank 1 calls until it answers."""
        if rank == 0:
            with socket.create_server((address, port)) as server:
                server.settimeout(TIMEOUT_SECONDS)
                return cls(server.accept()[0], rank)
        end = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                return cls(socket.create_connection((address, port), timeout=1), rank)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def Get_rank(self):
        """Return the number of this rank."""
        return self.rank

    def Get_size(self):
        """Return 2."""
        return 2

    def Sendrecv(self, sendbuf, dest, recvbuf, source):
        """Send a message to the other rank, and receive one from there."""
        message = memoryview(sendbuf).cast("B") if len(sendbuf) else memoryview(b"")
        space = memoryview(recvbuf).cast("B") if len(recvbuf) else memoryview(bytearray())
        out = [memoryview(LENGTH.pack(len(message))), message]
        length = bytearray(LENGTH.size)
        into, is_length = memoryview(length), True
        while out or into is not None:
            self.wait(select.POLLIN * (into is not None) | select.POLLOUT * bool(out))
            if out:
                out = self.send_some(out)
            while into is not None:
                if len(into):
                    count = self.receive_some(into)
                    if not count:
                        break
                    into = into[count:]
                if not len(into):
                    into = space[: LENGTH.unpack(length)[0]] if is_length else None
                    is_length = False

    def wait(self, events):
        """Wait until the connection is ready."""
        self.poll.register(self.connection, events)
        if not self.poll.poll(TIMEOUT_SECONDS * 1000):
            raise TimeoutError(f"rank {1 - self.rank} has not answered for {TIMEOUT_SECONDS} s")

    def send_some(self, out):
        """Send as much as the connection takes; return the buffers that remain."""
        try:
            count = self.connection.sendmsg(out)
        except BlockingIOError:
            return out
        while out and count >= len(out[0]):
            count -= len(out[0])
            out = out[1:]
        return [out[0][count:], *out[1:]] if out else out

    def receive_some(self, into):
        """Receive the bytes that have arrived; return their number."""
        try:
            count = self.connection.recv_into(into)
        except BlockingIOError:
            return 0
        if not count:
            raise ConnectionError(f"rank {1 - self.rank} has closed the connection")
        return count

    def Bcast(self, buffer, root):
        """Copy the buffer of rank `root` to the other."""
        nothing = np.empty(0, np.uint8)
        sent, received = (buffer, nothing) if self.rank == root else (nothing, buffer)
        self.Sendrecv(sent, 1 - self.rank, received, 1 - self.rank)

    def Allreduce(self, sendbuf, recvbuf):
        """Sum the vectors of both ranks."""
        self.Sendrecv(sendbuf, 1 - self.rank, recvbuf, 1 - self.rank)
        recvbuf += sendbuf

    def Barrier(self):
        """Wait for the other rank."""
        nothing = np.empty(0, np.uint8)
        self.Sendrecv(nothing, 1 - self.rank, nothing, 1 - self.rank)

    def close(self):
        """Close the connection."""
        self.connection.close()

"""Two Linux network namespaces that are joined by a link of limited rate."""

import contextlib
import os
import shutil
import signal
import subprocess

ADDRESSES = ("10.213.7.1", "10.213.7.2")
PORT = 29_731
# The token bucket of tbf holds the bytes of this time, and at least two packets. After a
# pause that many bytes pass at full speed, which is not in the model; so the bucket is small. With
# 12 kB, messages still reached 95% of 1 Gbit/s.
BUCKET_SECONDS = 1e-4
LEAST_BUCKET_BYTES = 3100
QUEUE_MILLISECONDS = 100


def find_obstacle():
    """Return why network namespaces cannot be made, or None."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may make network namespaces"
    missing = [name for name in ("ip", "tc") if not shutil.which(name)]
    if missing:
        return f"{' and '.join(missing)} of iproute2 not found"
    return None


def run(*command):
    """Run a command; raise `OSError` with its message if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class LinkedNamespaces:
    """A context with two namespaces, which are deleted at its end.

    Parameters
    ----------
    bits_per_second : int
        Rate in each direction, enforced by `tc` with tbf.

    Attributes
    ----------
    names : tuple of str
        The namespaces of ranks 0 and 1.
    """

    def __init__(self, bits_per_second):
        self.rate = bits_per_second
        self.names = tuple(f"cmlp-{os.getpid()}-{rank}" for rank in (0, 1))

    def __enter__(self):
        try:
            self.create()
        except BaseException:
            self.delete()
            raise
        return self

    def __exit__(self, *_):
        self.delete()

    def create(self):
        """Make both namespaces and the link between them."""
        bucket = max(LEAST_BUCKET_BYTES, int(self.rate / 8 * BUCKET_SECONDS))
        for name in self.names:
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "veth0", "netns", self.names[0], "type", "veth",
            "peer", "name", "veth0", "netns", self.names[1])  # fmt: skip
        for name, address in zip(self.names, ADDRESSES, strict=True):
            run("ip", "-n", name, "address", "add", f"{address}/30", "dev", "veth0")
            run("ip", "-n", name, "link", "set", "veth0", "up")
            run("tc", "-n", name, "qdisc", "add", "dev", "veth0", "root", "tbf",
                "rate", f"{self.rate}bit", "burst", str(bucket),
                "latency", f"{QUEUE_MILLISECONDS}ms")  # fmt: skip

    def delete(self):
        """Delete the namespaces; the link goes with them."""
        # Children inherit this: Ctrl-C ends neither this loop nor `ip`.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for name in self.names:
                with contextlib.suppress(OSError):
                    run("ip", "netns", "delete", name)
        finally:
            signal.signal(signal.SIGINT, before)

    def start(self, rank, command):
        """Start a command in a namespace; return its process, whose output is a pipe."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.names[rank], *command], stdout=subprocess.PIPE, text=True
        )

    def run_pair(self, commands):
        """Run the commands of both ranks; return what rank 0 writes.

        Raises
        ------
        RuntimeError
            If one of them fails.
        """
        processes = []
        try:
            processes += [self.start(rank, command) for rank, command in enumerate(commands)]
            output = processes[0].communicate()[0]
            codes = [process.wait() for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if any(codes):
            raise RuntimeError(f"the ranks in {' and '.join(self.names)} ended with {codes}")
        return output

"""The number of worker threads: from the argument, the environment or the available CPUs."""

import functools
import math
import os

from cmlp._utils.validation import check_integer

# Number of worker threads that any machine may use. More threads than CPUs gain nothing, but each
# reserves a stack (8 MiB by default on Linux), and OpenMP ends the process if it cannot create a
# thread. Some are allowed, as the number of CPUs may be underestimated.
LEAST_LIMIT = 16

# Where Linux mounts the control group file systems.
CGROUP_ROOT = "/sys/fs/cgroup"


def count_available_cpus():
    """Return the number of CPUs that the process may use, at least 1.

    The smaller of its CPU affinity mask and its control groups' CPU limit, rounded up.
    """
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity mask
        cpus = os.cpu_count() or 1
    return cpus if read_cgroup_limit() >= cpus else max(1, math.ceil(read_cgroup_limit()))


@functools.cache
def read_cgroup_limit(root=CGROUP_ROOT, membership="/proc/self/cgroup"):
    """Return the CPU bandwidth limit of the process's control groups, in CPUs, or infinity.

    A group's limit applies to all its descendants, so the limit is the minimum over the
    process's group and its ancestors. Version 2 states it in ``cpu.max``, version 1 as
    ``cpu.cfs_quota_us / cpu.cfs_period_us`` (Linux kernel documentation,
    admin-guide/cgroup-v2.rst, "CPU Interface Files").

    Parameters
    ----------
    root : str
        The mount point of the control groups.
    membership : str
        The file that lists the process's groups.
    """
    from pathlib import Path  # pathlib would take a tenth of the package's import time

    root, membership = Path(root), Path(membership)
    try:
        lines = [line.split(":", 2) for line in membership.read_text().split()]
    except OSError:
        return math.inf
    limit = math.inf
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root  # version 2 lists no controllers
        directory = base / path.lstrip("/")
        for group in (directory, *directory.parents):
            limit = min(limit, read_group_limit(group))
            if group == base:
                break
    return limit


def read_group_limit(group):
    """Return the CPU bandwidth limit of a single control group, in CPUs, or infinity.

    Parameters
    ----------
    group : pathlib.Path
        The group's directory.
    """
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        limit = math.inf if quota in ("max", "-1") else float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return limit if limit > 0 else math.inf


def resolve_threads(threads=None):
    """Return the maximum number of worker threads.

    The argument has precedence, then the environment variables ``CMLP_NUM_THREADS`` and
    ``OMP_NUM_THREADS`` (its first item, if it is a list), then `count_available_cpus`. A number
    above both `count_available_cpus` and `LEAST_LIMIT` is reduced to the greater of the two.

    Parameters
    ----------
    threads : int, optional

    Raises
    ------
    TypeError, ValueError
        If `threads` or the environment variable is not an integer of at least 1.
    """
    if threads is not None:
        return limit_threads(check_integer("threads", threads, maximum=None))
    for variable in ("CMLP_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text:
            try:
                return limit_threads(check_integer(variable, int(text), maximum=None))
            except ValueError:
                raise ValueError(
                    f"{variable} must be a whole number of at least 1; got {text!r}"
                ) from None
    return count_available_cpus()


def limit_threads(threads):
    """Return a number of threads, reduced to the limit that `resolve_threads` states."""
    if threads <= LEAST_LIMIT:
        return threads
    return min(threads, max(count_available_cpus(), LEAST_LIMIT))

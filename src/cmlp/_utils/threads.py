"""The number of worker threads: from the argument, the environment or the available CPUs."""

import functools
import math
import os
from numbers import Integral

from cmlp._core import pool
from cmlp._utils.validation import check_integer

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
    """Return the maximum number of threads of a call, the calling thread included.

    The argument has precedence, then the environment variables ``CMLP_NUM_THREADS`` and
    ``OMP_NUM_THREADS`` (its first item, if it is a list). The result is at most
    `count_available_cpus`, as more threads gain nothing, and at most the limit that a
    controller of thread pools has set (`pool.set_limit`).

    Parameters
    ----------
    threads : int, optional

    Raises
    ------
    TypeError, ValueError
        If `threads` or the environment variable is not an integer of at least 1.
    """
    limits = [count_available_cpus(), pool.get_limit()]
    limits.append(read_environment() if threads is None else check_threads("threads", threads))
    return min(limit for limit in limits if limit is not None)


def resolve_jobs(n_jobs):
    """Return the number of threads for scikit-learn's argument `n_jobs`.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as `resolve_threads` chooses. Negative, as in Joblib: -1 is all CPUs, -2 all
        but one.

    Raises
    ------
    TypeError, ValueError
        If it is neither None nor an integer, or 0.
    """
    if n_jobs is None:
        return resolve_threads(None)
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool):
        raise TypeError(f"n_jobs must be an integer or None; got {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0; use -1 for all CPUs")
    return resolve_threads(
        int(n_jobs) if n_jobs > 0 else max(1, count_available_cpus() + 1 + int(n_jobs))
    )


def check_threads(name, threads):
    """Return a number of threads, an integer of at least 1."""
    return check_integer(name, threads, maximum=None)


def read_environment():
    """Return the number of threads that the environment variables allow, or None."""
    for variable in ("CMLP_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text:
            try:
                return check_threads(variable, int(text))
            except ValueError:
                raise ValueError(
                    f"{variable} must be a whole number of at least 1; got {text!r}"
                ) from None
    return None

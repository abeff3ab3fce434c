"""How many threads a call may take."""

import functools
import math
import os

from cmlp.checks import check_whole

# Where Linux mounts the control groups of containers.
CGROUPS = "/sys/fs/cgroup"


def available():
    """Return the number of CPUs that this process may use, by its affinity and its cgroup."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity mask
        cpus = os.cpu_count() or 1
    return cpus if cgroup_limit() >= cpus else max(1, math.ceil(cgroup_limit()))


@functools.cache
def cgroup_limit(root=CGROUPS, membership="/proc/self/cgroup"):
    """Return how many CPUs' time the process's control groups grant it, or infinity.

    A group's limit holds for those within it, so the least counts: of version 2
    ``cpu.max``, of version 1 ``cpu.cfs_quota_us`` over ``cpu.cfs_period_us``
    (Linux, Documentation/admin-guide/cgroup-v2.rst, section 5.1).
    """
    from pathlib import Path  # a tenth of the package's import

    root, membership = Path(root), Path(membership)
    try:
        lines = [line.split(":", 2) for line in membership.read_text().split()]
    except OSError:
        return math.inf
    limit = math.inf
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            limit = min(limit, group_limit(group))
            if group == base:
                break
    return limit


def group_limit(group):
    """Return the CPUs' time that one control group grants, or infinity."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        granted = float("inf") if quota in ("max", "-1") else float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return granted if granted > 0 else math.inf


def resolve(threads=None):
    """Return the number of threads to use at most.

    The argument goes first, then the environment's `CMLP_NUM_THREADS` and
    `OMP_NUM_THREADS`, then the CPUs that this process may use.

    Raises
    ------
    TypeError, ValueError
        If it is not a whole number of at least 1.
    """
    if threads is not None:
        return check_whole("threads", threads)
    for variable in ("CMLP_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text:
            try:
                return check_whole(variable, int(text))
            except ValueError:
                raise ValueError(
                    f"{variable} must be a whole number of at least 1, got {text!r}"
                ) from None
    return available()

"""How many threads a call may take."""

import os

from cmlp.spec import check_whole


def available():
    """Return the number of CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity mask
        return os.cpu_count() or 1


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

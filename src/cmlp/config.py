"""What was found and chosen on this machine."""

import numpy as np

from cmlp import threads
from cmlp._core import engine, hooks, kernels
from cmlp._version import __version__


def configuration():
    """Return what was found and chosen, as a dict of str."""
    found = hooks.use()
    if found is None:
        blas = "none"
    else:
        integers = "64-bit" if found.ilp64 else "32-bit"
        blas = f"{found.name} ({found.core}), {integers} integers, {found.path}"
    team = f"{threads.resolve()}" if engine.HAVE_THREADS else "1 (built without OpenMP)"
    return {
        "cmlp": __version__,
        "numpy": np.__version__,
        "isa": f"{kernels.ISA} (of {', '.join(kernels.available())})",
        "blas": blas,
        "threads": team,
    }


def show_config():
    """Print the version, the ISA, the BLAS and the threads that are in use."""
    for name, value in configuration().items():
        print(f"{name + ':':<9}{value}")

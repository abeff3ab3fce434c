"""What was found and chosen on this machine."""

import numpy as np

from cmlp import threads
from cmlp._core import engine, hooks, kernels
from cmlp._version import __version__
from cmlp.checks import check_whole


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


def show_config(network=None, batch_size=32):
    """Print the version, the ISA, the BLAS and the threads that are in use.

    Parameters
    ----------
    network : Network, optional
        Also print what computes each of its layers, and on how many threads, in training
        with dense input. Which code runs is a fixed rule of shape and ISA, never a timing.
    batch_size : int, default 32
    """
    lines = configuration()
    if network is not None:
        lines.update(plan(network, batch_size))
    for name, value in lines.items():
        print(f"{name + ':':<9}{value}")


def plan(network, batch_size):
    """Return what computes each layer of a network, as a dict of str."""
    batch_size = check_whole("batch_size", batch_size)
    team, products = network._program.plan(batch_size, threads.resolve())
    lines = {"batch": f"{batch_size} samples, {team} thread{'s' * (team > 1)}"}
    for l, product in enumerate(products):
        i, o = network.size[l : l + 2]
        lines[f"layer {l + 1}"] = f"{i} -> {o}, {product}"
    return lines

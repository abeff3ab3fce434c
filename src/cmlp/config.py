"""Report of the configuration: version, ISA, BLAS, threads, and each layer's code."""

import numpy as np

from cmlp._core import hooks, kernels
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import check_integer
from cmlp._version import __version__


def show_config(network=None, batch_size=32):
    """Print the version, the ISA, the BLAS and the number of threads in use.

    Parameters
    ----------
    network : Network or QuantizedNetwork, optional
        If given, also print which code computes each of its layers, and the number of threads,
        in training, or in predictions of a quantized network, with dense input. Both follow fixed
        rules of shape and ISA; cmlp never chooses code by timing it.
    batch_size : int, default 32
        Batch size of that training.

    Raises
    ------
    TypeError, ValueError
        If `batch_size` is not an integer of at least 1.
    """
    lines = describe_machine()
    if network is not None:
        lines.update(describe_products(network, batch_size))
    for name, value in lines.items():
        print(f"{name + ':':<10}{value}")


def describe_machine():
    """Return version, NumPy's version, ISA, bfloat16, BLAS and threads; a dict of str."""
    library = hooks.use()
    if library is None:
        blas = "none"
    else:
        integers = "64-bit" if library.ilp64 else "32-bit"
        blas = f"{library.name} ({library.core}), {integers} integers, {library.path}"
    return {
        "cmlp": __version__,
        "numpy": np.__version__,
        "isa": f"{kernels.ISA} (of {', '.join(kernels.list_available())})",
        "bfloat16": "tiles (AMX)"
        if kernels.ISA == "amx"
        else "dot products (AVX512_BF16)"
        if kernels.has_bfloat16()
        else "emulated, not faster than float32",
        "blas": blas,
        "threads": f"{resolve_threads()}",
    }


def describe_products(network, batch_size):
    """Return the code that computes each layer of a network; a dict from str to str.

    Parameters
    ----------
    network : Network or QuantizedNetwork
    batch_size : int
    """
    batch_size = check_integer("batch_size", batch_size)
    threads, products = network.state.program.plan(batch_size, resolve_threads())
    lines = {"batch": f"{batch_size} samples, {threads} thread{'s' * (threads > 1)}"}
    for l, product in enumerate(products):
        i, o = network.size[l : l + 2]
        lines[f"layer {l + 1}"] = f"{i} -> {o}, {product}"
    return lines

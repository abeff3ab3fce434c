"""What the tests share: the data, the ISAs, the hooks."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from cmlp import datasets
from cmlp._core import hooks, kernels

# Beside a checkout of the project the real digits may lie in a folder called shared.
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
if "CMLP_DATA" not in os.environ and SHARED.is_dir():
    os.environ["CMLP_DATA"] = str(SHARED)

# The same examples in every run, however slow the machine; --hypothesis-profile=search looks
# for others.
AT_ANY_SPEED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("search", **AT_ANY_SPEED)
settings.register_profile("repeat", derandomize=True, **AT_ANY_SPEED)
settings.load_profile("repeat")

# Code that prints the most memory that its process has had, in MiB. Where there is /proc it
# is asked, as rusage counts what the process had before it became a Python.
PRINT_PEAK_MEMORY = """
import pathlib, resource, sys
status = pathlib.Path("/proc/self/status")
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) >> 10)
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak >> (20 if sys.platform == "darwin" else 10))
"""


@pytest.fixture(scope="session")
def digits():
    """(X, y), (X_test, y_test): MNIST where CMLP_DATA has it, else generated digits."""
    if datasets.mnist.find(datasets.mnist.MNIST, None):
        return datasets.load_mnist(download=False)
    return datasets.make_digits(20_000, 0), datasets.make_digits(4_000, 1)


@pytest.fixture(params=kernels.available())
def isa(request):
    """Each ISA that this CPU runs, in turn."""
    before = kernels.ISA
    kernels.choose(request.param)
    yield request.param
    kernels.choose(before)


@pytest.fixture
def use_blas():
    """A function that makes the engine use the CBLAS at a path, or 'none'."""

    def use(path):
        found = hooks.find(path)
        hooks.install(found)
        return found

    yield use
    hooks.use.cache_clear()
    hooks.use()


@pytest.fixture
def rng():
    return np.random.default_rng(0)

"""Fixtures and helpers that several tests use: data, instruction sets, BLAS hooks."""

import gc
import os

# OpenBLAS reads this when NumPy loads it. With two threads, one of them spins until the other is
# finished: where another process uses a core, SciPy's L-BFGS takes 7 times as long. The engine
# uses one thread of a BLAS in any case; tests of that, and of forks, set two.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from cmlp import callbacks, datasets
from cmlp._core import hooks, kernels, program
from cmlp._core.training import EpochRun
from cmlp._training import inputs
from cmlp._utils import threads

# The real digits may be in a directory `shared` beside the checkout of the project.
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
if "CMLP_DATA" not in os.environ and SHARED.is_dir():
    os.environ["CMLP_DATA"] = str(SHARED)

# By default Hypothesis takes the same examples in every run; --hypothesis-profile=search takes
# new ones. Neither fails on a slow machine.
WITHOUT_DEADLINE = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("search", **WITHOUT_DEADLINE)
settings.register_profile("repeat", derandomize=True, **WITHOUT_DEADLINE)
settings.load_profile("repeat")

# Code that prints the peak resident memory of its process in MiB. On Linux it is read from /proc,
# as ru_maxrss includes the peak of the process that forked before exec.
PRINT_PEAK_MEMORY = """
import pathlib, resource, sys
status = pathlib.Path("/proc/self/status")
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) >> 10)
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak >> (20 if sys.platform == "darwin" else 10))
"""

# Mark of the tests that limit or measure memory. A sanitizer's shadow memory and quarantine count,
# so that the limits do not hold for a debug build.
measures_memory = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="the memory of a sanitizer would count"
)


def pytest_collection_modifyitems(items):
    """Mark the tests that the fixture `isa` runs with every instruction set."""
    for item in items:
        if {"isa", "isa_name"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("every_isa")


def pytest_collection_finish():
    """Collect garbage of the oldest generation less often: it has the objects of 10,000 tests."""
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], 100)


@pytest.fixture(scope="session")
def digits():
    """(X, y), (X_test, y_test): MNIST where CMLP_DATA has it, else generated digits."""
    if datasets.mnist.find(datasets.mnist.MNIST, None):
        return datasets.load_mnist(download=False)
    return datasets.make_digits(20_000, 0), datasets.make_digits(4_000, 1)


def draw_parameters(net, rng):
    """Give a network biases, scales and running statistics that no part of it ignores."""
    for bias in net.bias:
        bias[:] = rng.normal(size=bias.shape)
    for scale in (*net.scale, *net.alpha):
        if scale is not None:
            scale[:] = rng.uniform(0.5, 2, scale.shape)
    for mean, variance in zip(net.running_mean, net.running_variance, strict=True):
        if mean is not None:
            mean[:], variance[:] = rng.normal(size=mean.shape), rng.uniform(0.5, 2, mean.shape)
    return net


@pytest.fixture(params=kernels.list_available())
def isa(request):
    """Run the test once with each instruction set that this CPU has."""
    before = kernels.ISA
    kernels.choose(request.param)
    yield request.param
    kernels.choose(before)


# Hypothesis rejects function-scoped fixtures such as `isa`.
@pytest.fixture(params=kernels.list_available(), scope="module")
def isa_name(request):
    """Run the tests of a module once with each instruction set."""
    before = kernels.ISA
    kernels.choose(request.param)
    yield request.param
    kernels.choose(before)


@pytest.fixture
def many_threads(monkeypatch):
    """Let small work use up to 8 threads, as the test requests, on any number of CPUs."""
    monkeypatch.setattr(threads, "count_available_cpus", lambda: 8)
    program.divide_all_work(True)
    yield
    program.divide_all_work(False)


@pytest.fixture
def use_blas():
    """Return a function that makes the engine use the CBLAS at a path, or no BLAS for "none"."""

    def use(path):
        found = hooks.find(path)
        hooks.install(found)
        return found

    yield use
    hooks.use.cache_clear()
    hooks.use()


def train_epoch(program, rows, targets, order, batch_size, settings, threads, **options):
    """Train for one epoch; the arguments are those of `EpochRun`."""
    with EpochRun(program, rows, targets, order, batch_size, settings, threads, **options) as run:
        while run.run():
            pass


class Deadline(callbacks.Callback):
    """Ends a training run that a signal should have ended, but did not within some seconds."""

    def __init__(self, seconds=60):
        self.end = time.monotonic() + seconds

    def on_pause(self, network, run):
        assert time.monotonic() < self.end, "no signal has ended the training run"


@pytest.fixture
def ctrl_c():
    """Let SIGINT raise KeyboardInterrupt here and in child processes, also where it is ignored.

    A shell's script ignores it in the commands that it starts with ``&``.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def memory_path():
    """Return a new directory, in memory if possible, for tests that write hundreds of files.

    A file system on disk may write each of them at once: when it is synced or written again.
    """
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def read_data(network, X, y):
    """Return `Rows` and `Targets`, the form in which the engine reads X and y."""
    architecture = network.state.architecture
    rows = inputs.convert_rows(X, architecture.inputs, architecture.dtype)
    return rows, inputs.prepare_targets(y, len(rows), architecture)


def assert_same_state(network, other):
    """Check that two networks have the same parameters and running statistics, bit for bit."""
    for a, b in zip(network.state.snapshot(), other.state.snapshot(), strict=True):
        np.testing.assert_array_equal(a, b)


# Of the checks of scikit-learn, for other reasons than a package that is missing.
SKIPS_THAT_REMAIN = (
    "SCIPY_ARRAY_API is not set",
    "does not have a decision_function method",
    "scikit-learn computes 3 times the gradient of its loss",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let a skipped test fail where CMLP_NO_SKIPS is set, as in CI with every package installed."""
    report = yield
    if (
        report.skipped
        and not hasattr(report, "wasxfail")  # an expected failure
        and os.environ.get("CMLP_NO_SKIPS")
        and not any(reason in str(report.longrepr) for reason in SKIPS_THAT_REMAIN)
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CMLP_NO_SKIPS forbids: {report.longrepr}"
    return report

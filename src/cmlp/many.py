"""Several networks over the same data at once: ensembles, seeds, sweeps."""

import copy

from cmlp import batches, fitting, threads
from cmlp.callbacks import Callback
from cmlp.checks import check_switch
from cmlp.network import Network

# What may be a list with an item for each network.
OF_EACH = ("epochs", "batch_size", "optimizer", "schedule")

OF_ALL = (
    "shuffle", "validation_data", "validation_split", "sample_weight", "class_weight",
    "early_stopping", "callbacks", "metrics", "restore_good",
)  # fmt: skip


def fit_many(networks, X, y, *, sparse="auto", threads=None, return_exceptions=False, **options):
    """Train several networks over the same data, each on a thread of its own.

    Each ends with the very bits that its own `fit` would have given it. The data are converted
    and compressed once.

    Parameters
    ----------
    networks : sequence of Network
        All different, with the same inputs.
    X, y : array_like
        As in `Network.fit`.
    sparse : bool or "auto", default "auto"
        As in `Network.fit`.
    threads : int, optional
        As many networks train at once; by default as in `Network.fit`.
    return_exceptions : bool, default False
        Whether a network whose training fails, as by `TrainingDiverged`, has the error in the
        place of its history while the others go on. Otherwise it ends them all.
    **options
        Of `Network.fit`: epochs, batch_size, optimizer and schedule, each one for all or a list
        with one for each network; shuffle, validation_data, validation_split, sample_weight,
        class_weight, early_stopping, callbacks, metrics, restore_good. Each network has copies
        of its own of instances of `Callback`; functions are called from several threads.

    Returns
    -------
    list of History

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; no network has been trained.
    TrainingDiverged, KeyboardInterrupt
        As in `Network.fit`.
    """
    networks = list(networks)
    for network in networks:
        if not isinstance(network, Network):
            raise TypeError(f"networks must be instances of Network, got {network!r}")
    check_switch("return_exceptions", return_exceptions)
    if len({id(network) for network in networks}) < len(networks):
        raise ValueError("networks must all be different; network.copy() is another one")
    for name in options:
        if name not in OF_EACH + OF_ALL:
            allowed = ", ".join(OF_EACH + OF_ALL)
            raise TypeError(f"fit_many has no argument {name!r}; allowed are {allowed}")
    team = resolve_threads(threads)
    shared = {}
    courses = [
        course(network, shared_rows(shared, network, X, sparse, team), y, options, i, len(networks))
        for i, network in enumerate(networks)
    ]
    return run(courses, team, return_exceptions)


def shared_rows(shared, network, X, sparse, team):
    """Return X as rows for a network, the same for all that read it alike."""
    dense = network._architecture.input_noise > 0
    key = network.size[0], network.dtype, dense
    if key not in shared:
        rows = batches.as_rows(X, network.size[0], network.dtype)
        shared[key] = rows if dense or not len(rows) else batches.compressed(rows, sparse, team)
    return shared[key]


def course(network, rows, y, options, i, count):
    """Return the course of the i-th network."""
    own = dict(options)
    for name in OF_EACH:
        if isinstance(own.get(name), list):
            if len(own[name]) != count:
                raise ValueError(
                    f"{name} must be one for all or a list of {count}, got {len(own[name])}"
                )
            own[name] = own[name][i]
    for name in ("early_stopping", "callbacks"):
        if name in own:
            own[name] = own_copies(own[name])
    return fitting.prepare(network, rows, y, **own, sparse=rows.is_sparse, threads=1)


def own_copies(callbacks):
    """Return callbacks, copied where they remember something."""
    if isinstance(callbacks, (list, tuple)):
        return [own_copies(callback) for callback in callbacks]
    return copy.deepcopy(callbacks) if isinstance(callbacks, Callback) else callbacks


def run(courses, team, return_exceptions):
    """Run courses on so many threads, and return their histories, or errors, in order."""
    # It takes a good part of the package's import: it comes when it is needed.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max(1, min(team, len(courses)))) as pool:
        futures = [pool.submit(course.run) for course in courses]
        try:
            if return_exceptions:
                return [future.exception() or future.result() for future in futures]
            return [future.result() for future in futures]
        except BaseException:
            for each, future in zip(courses, futures, strict=True):
                each.cancelled = True
                future.cancel()
            raise


resolve_threads = threads.resolve

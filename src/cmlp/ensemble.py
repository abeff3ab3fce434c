"""`fit_many`: several networks trained on the same data at once, for ensembles and sweeps."""

import copy

from cmlp._training.many import prepare_one_of_many
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import check_bool, to_list
from cmlp.callbacks import Callback
from cmlp.network import Network

# Arguments that may be a list with one item for each network.
PER_NETWORK = (
    "epochs", "batch_size", "optimizer", "schedule", "decay_schedule", "dropout_schedule",
    "validation_split",
)  # fmt: skip

SHARED = (
    "shuffle", "validation_data", "sample_weight", "class_weight",
    "early_stopping", "callbacks", "metrics", "restore_good", "drop_last",
)  # fmt: skip


def fit_many(networks, X, y, *, sparse="auto", threads=None, return_exceptions=False, client=None,
             **options):  # fmt: skip
    """Train several networks on the same data, each on a thread of its own.

    The results have the same bits as separate calls of `fit`. The data are converted and
    compressed once.

    Parameters
    ----------
    networks : sequence of Network
        Different objects with the same number of inputs.
    X, y : array_like
        As in `Network.fit`. Each network distorts images of `datasets.augment` by itself.
    sparse : bool or "auto", default "auto"
        As in `Network.fit`.
    threads : int, optional
        Number of networks that train at the same time; by default as in `Network.fit`.
    return_exceptions : bool, default False
        If training of a network fails, for example by `TrainingDiverged`: True continues the
        others, and the result contains the exception instead of that network's history; False
        ends all of them and raises the exception.
    client : distributed.Client, optional
        Train on the workers of a Dask cluster, each network in a task, instead of on threads; the
        results have the same bits. The samples are sent once to each worker, and the arguments
        are pickled: functions are called on the workers, which also write the files of
        checkpoints. Requires the extra ``dask``.
    **options
        Arguments of `Network.fit`: epochs, batch_size, optimizer, schedule, decay_schedule,
        dropout_schedule and validation_split, each a single value or a list with one value for
        each network (rows for all networks are an array); shuffle, drop_last, validation_data,
        sample_weight, class_weight, early_stopping, callbacks, metrics, restore_good. Each network
        gets copies of `Callback` instances, unless `callbacks` is a list with one list for each
        network, as callbacks that write files need; functions are called from several threads.

    Returns
    -------
    list of History

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; no network has been trained.
    TrainingDiverged, KeyboardInterrupt
        As in `Network.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import Network, datasets, fit_many
    >>> X, y = datasets.make_digits(2000, seed=0)
    >>> nets = [Network([784, 32, 10], loss="cross_entropy", seed=seed) for seed in range(3)]
    >>> histories = fit_many(nets, X, y, epochs=2)
    >>> np.mean([net.predict_proba(X[:4]) for net in nets], axis=0).shape
    (4, 10)
    """
    networks = to_list("networks", networks, "Network")
    for network in networks:
        if not isinstance(network, Network):
            raise TypeError(f"networks must be instances of Network; got {network!r}")
    check_bool("return_exceptions", return_exceptions)
    if len({id(network) for network in networks}) < len(networks):
        raise ValueError("networks must be different objects; network.copy() returns a new one")
    for name in options:
        if name not in PER_NETWORK + SHARED:
            allowed = ", ".join(PER_NETWORK + SHARED)
            raise TypeError(f"fit_many has no argument {name!r}; allowed are {allowed}")
    selected = [select_options(options, i, len(networks)) for i in range(len(networks))]
    if client is not None:
        if threads is not None:
            raise ValueError(f"threads must be None with client; got {threads!r}")
        # Imported here because Dask is optional.
        from cmlp.dask.ensembles import fit_on_cluster

        return fit_on_cluster(networks, X, y, selected, sparse, client, return_exceptions)
    threads, cache = resolve_threads(threads), {}
    runs = [
        prepare_one_of_many(network, X, y, own, sparse, threads, cache)
        for network, own in zip(networks, selected, strict=True)
    ]
    return run_all(runs, threads, return_exceptions)


def select_options(options, i, count):
    """Return the options of the i-th of `count` networks, a dict."""
    own = dict(options)
    for name in PER_NETWORK:
        if isinstance(own.get(name), list):
            if len(own[name]) != count:
                raise ValueError(
                    f"{name} must be one for all or a list of {count}; got {len(own[name])}"
                )
            own[name] = own[name][i]
    if is_list_of_lists(own.get("callbacks")):
        if len(own["callbacks"]) != count:
            raise ValueError(
                f"callbacks must be one list for all networks, or a list of {count} lists, one for "
                f"each; got {len(own['callbacks'])}"
            )
        own["callbacks"] = own["callbacks"][i]
    elif "callbacks" in own:
        if count > 1:
            check_shared(own["callbacks"])
        own["callbacks"] = copy_callbacks(own["callbacks"])
    if "early_stopping" in own:
        own["early_stopping"] = copy_callbacks(own["early_stopping"])
    return own


def is_list_of_lists(value):
    """Return whether a value is a list or tuple, not empty, of lists or tuples."""
    kinds = list, tuple
    return isinstance(value, kinds) and bool(value) and all(isinstance(v, kinds) for v in value)


def check_shared(callbacks):
    """Raise `ValueError` if several networks would write the files of one callback."""
    for callback in callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]:
        if getattr(callback, "has_own_files", False):
            raise ValueError(
                "callbacks must be a list with one list for each network if they have a "
                f"{type(callback).__name__}, which writes files"
            )


def copy_callbacks(callbacks):
    """Return the callbacks; instances of `Callback`, which have state, are copied."""
    if isinstance(callbacks, (list, tuple)):
        return [copy_callbacks(callback) for callback in callbacks]
    return copy.deepcopy(callbacks) if isinstance(callbacks, Callback) else callbacks


def run_all(runs, threads, return_exceptions):
    """Run training runs on at most `threads` threads; return histories or exceptions, in order."""
    # Imported here because it takes a considerable part of the time of `import cmlp`.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max(1, min(threads, len(runs)))) as pool:
        futures = [pool.submit(run.run) for run in runs]
        try:
            if return_exceptions:
                return [future.exception() or future.result() for future in futures]
            return [future.result() for future in futures]
        except BaseException:
            for run, future in zip(runs, futures, strict=True):
                run.is_cancelled = True
                future.cancel()
            raise

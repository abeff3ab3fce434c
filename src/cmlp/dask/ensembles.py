"""The tasks of `fit_many` on a cluster: one for each network."""

import threading
import uuid
from typing import Any

import dask
from dask import is_dask_collection
from distributed.protocol.pickle import dumps

from cmlp._training.arguments import FitOptions, prepare_training
from cmlp._training.augmentation import AugmentedImages
from cmlp._training.inputs import prepare_rows
from cmlp.dask.clients import find_client

# Arguments of `fit` that hold samples: each worker has them once.
SAMPLES = "validation_data", "sample_weight"


class SharedSamples:
    """The samples of all networks; a worker converts and compresses them once.

    Parameters
    ----------
    X, y : array_like
    options : dict
        The arguments of `fit` that hold samples.
    sparse : bool or "auto"
    """

    def __init__(self, X, y, options, sparse):
        self.X, self.y, self.options, self.sparse = X, y, options, sparse
        self.cache: dict[Any, Any] = {}
        self.lock = threading.Lock()

    def prepare(self, network, options):
        """Return the `TrainingRun` of a network, on one thread.

        Parameters
        ----------
        network : Network
        options : dict
            The arguments of `fit` that do not hold samples.
        """
        options = {**self.options, **options}
        if isinstance(self.X, AugmentedImages):
            options = FitOptions(**options, sparse=self.sparse, threads=1)
            return prepare_training(network, self.X, self.y, options)
        with self.lock:
            rows = prepare_rows(
                self.X, network.state.architecture, sparse=self.sparse, cache=self.cache,
                batch_size=FitOptions(**options).batch_size,
            )  # fmt: skip
        options = FitOptions(**options, sparse=rows.is_sparse, threads=1)
        return prepare_training(network, rows, self.y, options)

    def __getstate__(self):
        return {"X": self.X, "y": self.y, "options": self.options, "sparse": self.sparse}

    def __setstate__(self, state):
        self.__init__(**state)

    def __sizeof__(self):
        return object.__sizeof__(self) + sum(getattr(a, "nbytes", 0) for a in (self.X, self.y))


def fit_on_cluster(networks, X, y, options, sparse, client, return_exceptions):
    """Train networks on the workers of a cluster, and update them in place.

    Parameters
    ----------
    networks : list of Network
    X, y : array_like
    options : list of dict
        The arguments of `fit` for each network.
    sparse : bool or "auto"
    client : distributed.Client
    return_exceptions : bool

    Returns
    -------
    list of History
        As `cmlp.fit_many`.
    """
    client = find_client(client)
    for name, value in {"X": X, "y": y}.items():
        if is_dask_collection(value):
            raise TypeError(
                f"{name} must be an array for fit_many; got a Dask collection; the estimators of "
                "cmlp.dask train on these"
            )
    samples = {name: options[0][name] for name in SAMPLES if options and name in options[0]}
    options = [{n: v for n, v in own.items() if n not in samples} for own in options]
    # Errors in the arguments are raised here, before any network is trained.
    check = SharedSamples(X, y, samples, sparse)
    for network, own in zip(networks, options, strict=True):
        check.prepare(network, own)
        check_picklable(network, own)
    [shared] = client.scatter([SharedSamples(X, y, samples, sparse)], broadcast=True, hash=False)
    token = f"cmlp-network-{uuid.uuid4().hex}"
    # Dask warns of graphs of more than 10 MB.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        futures = [
            client.submit(train_network, network, shared, own, key=(token, i), pure=False)
            for i, (network, own) in enumerate(zip(networks, options, strict=True))
        ]
    return collect_results(client, networks, futures, return_exceptions)


def check_picklable(network, options):
    """Raise `TypeError` for what cannot be sent to a worker.

    Parameters
    ----------
    network : Network
    options : dict
        Arguments of `fit`.
    """
    for name, value in {"networks": network, **options}.items():
        try:
            dumps(value)
        except Exception as error:
            raise TypeError(f"{name} must be picklable with client; got {value!r}") from error


def train_network(network, samples, options):
    """Train a copy of a network: the task of a worker.

    Returns
    -------
    state : ModelState
    result : History or Exception
    """
    network = network.copy()
    try:
        result = samples.prepare(network, options).run()
    except Exception as error:
        result = error
    return network.state, result


def collect_results(client, networks, futures, return_exceptions):
    """Update each network as its task ends; return histories or exceptions, in order."""
    results = []
    try:
        for network, future in zip(networks, futures, strict=True):
            state, result = future.result()
            network.state.adopt(state)
            if isinstance(result, Exception) and not return_exceptions:
                raise result
            results.append(result)
    except BaseException:
        client.cancel(futures)
        raise
    return results

"""Time to a test accuracy on MNIST: `cmlp.dask` on two workers against the local estimator.

`python -m bench.dask_mnist` trains both in turn with the same arguments, measures the test accuracy
after each epoch or round, and prints the medians of the times to 0.98. The local estimator uses two
threads; the cluster has two processes with one thread each, and the data are in their memory. The
time of the tests does not count. It requires the extra ``dask``, and MNIST.
"""

import argparse
import os
import time
import warnings
from statistics import median

# The threads of NumPy's BLAS would add to those that are compared.
os.environ.setdefault("OMP_NUM_THREADS", "2")

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning

import cmlp.dask
import cmlp.sklearn
from bench.estimators import load_mnist
from cmlp.callbacks import Callback

# As in the first recipe of `bench.accuracy`.
ARGUMENTS = {
    "hidden_layer_sizes": 256, "batch_size": 256, "learning_rate_init": 3e-3, "max_iter": 40,
    "n_iter_no_change": 40,
}  # fmt: skip


class Target(Callback):
    """Stop when the test accuracy is reached, and record the time without the tests.

    Parameters
    ----------
    X, y : ndarray
        Test data.
    accuracy : float
    """

    def __init__(self, X, y, accuracy):
        self.X, self.y, self.accuracy = X, y, accuracy
        self.start = time.perf_counter()
        self.seconds, self.found = None, []

    def on_epoch_end(self, network, epoch, record):
        """Test; return whether the accuracy is reached."""
        before = time.perf_counter()
        self.found.append(network.score(self.X, self.y))
        if self.found[-1] >= self.accuracy:
            self.seconds = before - self.start
            return True
        self.start += time.perf_counter() - before
        return False


def measure(estimator, X, y, target):
    """Fit an estimator; return the seconds to the accuracy and the number of epochs or rounds."""
    estimator.set_params(callbacks=[target])
    target.start = time.perf_counter()
    estimator.fit(X, y)
    return target.seconds, estimator.n_iter_


def main():
    """Measure both in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--accuracy", type=float, default=0.98)
    parser.add_argument("--partitions", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    (X, y), (X_test, y_test) = load_mnist()
    times: dict = {"local": [], "dask": []}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        rows = len(X) // options.partitions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the graph that sends the data is large
            blocks = client.persist(
                [da.from_array(array, chunks=(rows, *array.shape[1:])) for array in (X, y)]
            )
        for seed in range(options.repeats):
            for name, estimator, data in (
                ("local", cmlp.sklearn.MLPClassifier(threads=2), (X, y)),
                ("dask", cmlp.dask.MLPClassifier(client=client), blocks),
            ):
                estimator.set_params(random_state=seed, **ARGUMENTS)
                target = Target(X_test, y_test, options.accuracy)
                seconds, epochs = measure(estimator, *data, target)
                times[name].append(seconds if seconds is not None else np.inf)
                print(
                    f"{name:<6} seed {seed}: {times[name][-1]:.2f} s, {epochs} epochs", flush=True
                )
    medians = {name: median(values) for name, values in times.items()}
    ratio = medians["dask"] / medians["local"]
    print(
        f"median: local {medians['local']:.2f} s, dask {medians['dask']:.2f} s, ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()

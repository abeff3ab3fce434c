"""Short training runs on generated data: the cases of `bench.bits`.

Every function trains through the public API and returns what `bench.bits` hashes: networks,
histories, arrays and numbers, in lists, tuples and dicts.
"""

import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import cmlp
from cmlp import callbacks, losses, schedules
from cmlp.activations import celu, elu, leaky_relu
from cmlp.sklearn import MLPClassifier, MLPRegressor


def make_inputs(n=203, inputs=37, density=1.0, dtype="float32", seed=0):
    """Return an array of shape (n, inputs) with a fraction `density` of non-zero elements."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n, inputs)) < density
    if dtype == "uint8":
        return (rng.integers(1, 256, (n, inputs)) * mask).astype(np.uint8)
    return (rng.normal(size=(n, inputs)) * mask).astype(dtype)


def make_labels(n=203, classes=5, seed=1):
    """Return integer labels of shape (n,)."""
    return np.random.default_rng(seed).integers(0, classes, n)


def make_targets(n=203, outputs=3, seed=2):
    """Return real targets of shape (n, outputs)."""
    return np.random.default_rng(seed).normal(size=(n, outputs))


def make_network(sizes=(37, 45, 21, 5), activation="relu", loss="cross_entropy", **options):
    """Return a classifier whose hidden sizes are not multiples of a vector."""
    return cmlp.Network(list(sizes), activation=activation, loss=loss, seed=7, **options)


def train(network, X=None, y=None, *, epochs=2, batch_size=10, lr=0.05, optimizer=None, **options):
    """Fit a network; return it, its history and its predictions for the first 50 samples."""
    X = make_inputs() if X is None else X
    y = make_labels(X.shape[0]) if y is None else y
    history = network.fit(X, y, epochs=epochs, batch_size=batch_size,
                          optimizer=optimizer or cmlp.SGD(lr=lr), **options)  # fmt: skip
    return network, history, network(X[:50]), network(X[:1]), network.predict(X[:50])


# Inputs


def train_input(X, **options):
    """Train on an X of any kind, shape (n, inputs)."""
    return train(make_network([X.shape[1], 45, 5], **options), X)


def train_views():
    """Train on arrays that are not C-contiguous."""
    X = make_inputs(406, 74, dtype="float64")
    return [train_input(view) for view in (X[::2], X[:, ::2], np.asfortranarray(X), X[::-1])]


def train_float64():
    """Train a float64 network on each dtype of X, dense and CSR."""
    kinds = [make_inputs(dtype=dtype) for dtype in ("float32", "float64", "uint8")]
    kinds.append(csr_array(make_inputs(density=0.2, dtype="float64")))
    return [train_input(X, dtype="float64") for X in kinds]


def train_csr():
    """Train on CSR arrays of each dtype of values, with 32-bit and 64-bit indices."""
    results = []
    for dtype in ("float32", "float64", "uint8"):
        X = csr_array(make_inputs(inputs=90, density=0.15, dtype=dtype))
        wide = X.copy()
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
        results += [train_input(X), train_input(wide)]
    return results


def train_compressed(dtype, density, batch_size, sparse="auto", hidden=96):
    """Train on a dense X; its 130 columns are enough for compression into sparse rows."""
    X = make_inputs(inputs=130, density=density, dtype=dtype)
    return train(make_network([130, hidden, 5]), X, batch_size=batch_size, sparse=sparse)


def train_batch_sizes(dtype):
    """Train with batches of 1, 3, 5, 10 and 128, the last one of an epoch smaller."""
    network = {size: make_network(dtype=dtype, activation="tanh") for size in (1, 3, 5, 10, 128)}
    return [train(each, batch_size=size) for size, each in network.items()]


def train_large(dtype, optimizer, batch_size=128, **options):
    """Train with enough multiply-adds a step (11 million at 128) for packed panels, two threads."""
    X = make_inputs(384, 200)
    network = make_network([200, 257, 130, 10], dtype=dtype, **options)
    return train(network, X, make_labels(384, 10), batch_size=batch_size, optimizer=optimizer)


def train_large_sparse(dtype, batch_size, hidden=300, **options):
    """Train on sparse rows with a wide first layer: updates by column, packed weights."""
    X = make_inputs(320, 500, density=0.3, dtype=dtype)
    return train(make_network([500, hidden, 10], **options), X, make_labels(320, 10),
                 batch_size=batch_size, optimizer=cmlp.Adam(), sparse=True)  # fmt: skip


def train_shape(sizes, batch_size):
    """Train on bytes, 19% of them not zero as in MNIST, and predict all samples at once."""
    X, y = make_inputs(3000, sizes[0], 0.19, "uint8"), make_labels(3000, sizes[-1])
    results = []
    for sparse in ("auto", False):
        network = make_network(sizes)
        results += [train(network, X, y, epochs=1, batch_size=batch_size, sparse=sparse,
                          validation_data=(X[:1000] / 255, y[:1000])), network(X)]  # fmt: skip
    return results


# Optimizers


def train_optimizers(*optimizers, batch_size=10, **options):
    """Train one network with each optimizer, dense and sparse."""
    sparse = make_inputs(density=0.2)
    return [
        train(make_network(**options), X, optimizer=optimizer, batch_size=batch_size)
        for optimizer in optimizers
        for X in (None, csr_array(sparse))
    ]


def train_lbfgs():
    """Train with L-BFGS, with and without weight decay, normalization and validation."""
    network = make_network(dtype="float64", activation="tanh", normalization=["batch", "layer"])
    return [
        train(make_network(activation="tanh"), epochs=6, optimizer=cmlp.LBFGS()),
        train(network, epochs=6, optimizer=cmlp.LBFGS(weight_decay=1e-3, decay_bias=False),
              validation_data=(make_inputs(seed=5), make_labels(seed=6))),
    ]  # fmt: skip


# Activations and losses

ACTIVATIONS = {
    "bounded": ["sigmoid", "hard_sigmoid", "tanh", "hard_tanh", "softsign", "identity"],
    "rectified": ["relu", "leaky_relu", "elu", "selu", "celu", "softplus"],
    "smooth": ["gelu", "gelu_tanh", "silu", "mish"],
    "with parameters": [leaky_relu(0.2), elu(0.5), celu(2.0)],
}


def train_deep(names, dtype):
    """Train a network with one hidden layer for each activation, in order."""
    network = make_network([37, *range(19, 19 + len(names)), 5], names, dtype=dtype)
    return train(network, batch_size=16)


def train_loss(loss, output=None, dtype="float32"):
    """Train with a loss, on targets in [0, 1], counts or reals, as the loss requires."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", "")
    y = make_targets()
    if name == "quadratic" and output is None:  # sigmoid
        y = 1 / (1 + np.exp(-y))
    if name in ("cross_entropy", "binary_cross_entropy"):
        y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    elif name in ("hinge", "squared_hinge"):
        y = (y > 0).astype(float)
    elif name.startswith("poisson"):
        y = np.floor(np.abs(y) * 3)
    outputs = 3 * losses.resolve_loss(loss).blocks
    network = make_network([37, 22, outputs], "tanh", loss, output=output, dtype=dtype)
    return train(network, y=y, lr=0.02)


def train_losses(*arguments):
    """Train with each loss, float32 and float64."""
    return [
        train_loss(*each, dtype=dtype) for each in arguments for dtype in ("float32", "float64")
    ]


def compute_cubic_loss(outputs, targets):
    """Return the mean of |a - y|^3 / 3 and its gradient."""
    error = outputs - targets
    return np.mean(np.abs(error) ** 3) / 3, error * np.abs(error) / error.size


def train_single_output():
    """Train networks with one output: binary labels, hinge and regression."""
    labels, targets = make_labels(classes=2), make_targets(outputs=1)[:, 0]
    return [
        train(make_network([37, 22, 1], loss=loss), y=y, metrics=metrics)
        for loss, y, metrics in [
            ("binary_cross_entropy", labels, ("accuracy", "precision", "recall", "f1")),
            ("hinge", labels, ("accuracy", "f1")),
            ("mse", targets, ("r2", "mae", "mse", "rmse")),
        ]
    ]


# Regularization


def train_regularized(batch_size, X=None, **options):
    """Train with options of `Network` that change a step of training."""
    network = make_network([37 if X is None else X.shape[1], 45, 30, 5], **options)
    return train(network, X, batch_size=batch_size, optimizer=cmlp.SGD(lr=0.05, momentum=0.9))


# Arguments of `fit`


def train_schedules(*chosen):
    """Train with each schedule, with validation data for `ReduceOnPlateau`."""
    held_out = make_inputs(seed=5), make_labels(seed=6)
    return [
        train(make_network(), epochs=5, schedule=schedule, validation_data=held_out)
        for schedule in chosen
    ]


def train_weighted():
    """Train with weights of samples and of classes, together and apart."""
    weights = np.random.default_rng(3).random(203)
    return [
        train(make_network(), sample_weight=weights),
        train(make_network(), class_weight="balanced", batch_size=32),
        train(make_network(), sample_weight=weights, class_weight={0: 2.0, 3: 0.5},
              optimizer=cmlp.Adam(accumulate=3)),
    ]  # fmt: skip


def train_validated():
    """Train with metrics, validation and early stopping, which restores the best epoch."""
    stop = callbacks.EarlyStopping(patience=1)
    held_out = make_inputs(90, seed=5), make_labels(90, seed=6)
    metrics = ("accuracy", "top_2", "precision", "recall", "f1")
    network = make_network(normalization="batch")
    return [
        train(make_network(), epochs=9, lr=0.3, metrics=metrics, validation_data=held_out,
              early_stopping=stop),
        stop.best, stop.best_epoch, stop.stopped_epoch,
        train(network, epochs=9, metrics="top_3", validation_split=0.25, early_stopping=2,
              optimizer=cmlp.Adam(average=0.9)),
        [network.score(*held_out, metric=name) for name in metrics],
        train(make_network(), shuffle=False),
    ]  # fmt: skip


def train_partially(optimizer, **options):
    """Call `partial_fit` twice."""
    network, X, y = make_network(**options), make_inputs(), make_labels()
    records = [
        network.partial_fit(X[chunk], y[chunk], batch_size=16, optimizer=optimizer)
        for chunk in (slice(0, 100), slice(100, None))
    ]
    return network, records, network(X)


def train_batches():
    """Train on an iterable of batches of different sizes and kinds, some weighted."""
    X, y, w = make_inputs(density=0.3), make_labels(), np.linspace(0, 1, 203)
    spans = [slice(0, 40), slice(40, 41), slice(41, 150), slice(150, 203)]
    batches = [(X[s], y[s], w[s]) for s in spans]
    batches += [(csr_array(X[s]), y[s]) for s in spans]
    listed, generated = make_network(), make_network()
    return [
        listed.fit(batches, epochs=2, optimizer=cmlp.Adam(accumulate=3), metrics="f1",
                   schedule=schedules.Exponential()),
        generated.fit(lambda: iter(batches), epochs=2, optimizer=cmlp.Adam()),
        listed, generated, listed(X), generated(X),
    ]  # fmt: skip


class InterruptAfter(callbacks.Callback):
    """Raises KeyboardInterrupt after a number of steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_batch_end(self, network, epoch, step, loss):
        """Count a step, and raise after the last one."""
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


def train_interrupted(optimizer, steps=31, epochs=3, **options):
    """Interrupt training within an epoch, resume it from the checkpoint, and finish it."""
    held_out = make_inputs(90, seed=5), make_labels(90, seed=6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"

        def continue_training(network, left):
            checkpoint = callbacks.Checkpoint(path, every=2, unit="steps")
            return train(network, epochs=epochs, optimizer=optimizer, metrics="accuracy",
                         schedule=schedules.ReduceOnPlateau(patience=0), early_stopping=5,
                         validation_data=held_out,
                         callbacks=[checkpoint, InterruptAfter(left)])  # fmt: skip

        try:
            continue_training(make_network(**options), steps)
        except KeyboardInterrupt:
            return continue_training(cmlp.Network.resume(path), -1)
    raise RuntimeError("training ended before it was interrupted")


def train_saved():
    """Save a network with the optimizer of `partial_fit`, load it, and train on."""
    network, _, _ = train_partially(cmlp.Adam(), normalization="layer")
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder) / "net.npz", optimizer=True)
        loaded = cmlp.Network.load(Path(folder) / "net.npz")
    history = loaded.partial_fit(make_inputs(), make_labels(), optimizer=cmlp.Adam())
    return loaded, history, train(loaded.copy())


def train_many():
    """Train three networks on the same data, each with its own optimizer and batch size."""
    X, y = make_inputs(inputs=80, density=0.2, dtype="uint8"), make_labels()
    networks = [
        make_network([80, 31, 5]),
        make_network([80, 64, 20, 5], "tanh", dropout=0.2),
        make_network([80, 33, 5], dtype="float64", normalization="batch"),
    ]
    histories = cmlp.fit_many(
        networks, X, y, epochs=[2, 3, 2], batch_size=[10, 32, 1],
        optimizer=[cmlp.SGD(), cmlp.Adam(), cmlp.RMSprop()], validation_split=0.2,
        metrics="accuracy", early_stopping=3,
    )  # fmt: skip
    return networks, histories, [network(X) for network in networks]


# The reference's methods


def train_reference_mlp():
    """Call the methods of the reference's `MLP`, which print one line per epoch."""
    X, y = make_inputs(dtype="float64"), make_labels()
    pairs = [(x[:, None], np.eye(5)[:, [label]]) for x, label in zip(X, y, strict=True)]
    labeled = list(zip(X, y, strict=True))
    results = []
    for network in (cmlp.MLP([37, 19, 5], dtype="float64", seed=3), make_network()):
        network.train(pairs, 2, 10, 0.1, labeled)
        network.train(pairs, 1, 7, 0.1, shuffle=False)
        loss = network.update_mini_batch(pairs[:13], 0.2)
        results += [network, loss, network.backprop(*pairs[0]), network.evaluate(labeled),
                    network.forward(X[:9].T)]  # fmt: skip
    return results


def train_reference_model():
    """Call the methods of the reference's `Model`, which print the loss."""
    X, y = make_inputs(dtype="float64"), np.eye(5)[make_labels()]
    results = []
    for dtype in ("float32", "float64"):
        model = cmlp.Model(37, 18, 5, dtype=dtype, seed=3)
        model.train(X, y, 2, 0.05)
        model.test(X, y)
        outputs = model.forward(X)
        results += [model.network, outputs, model.backward(X, y, outputs)]
    return results


# Estimators


def train_estimator(kind, X=None, y=None, **options):
    """Fit an estimator; return its coefficients, curves and predictions."""
    X = make_inputs() if X is None else X
    if y is None:
        y = make_labels(len(X)) if kind is MLPClassifier else make_targets(len(X), 2)
    options = {"hidden_layer_sizes": (23, 14), "max_iter": 6, "random_state": 4, **options}
    estimator = kind(**options).fit(X, y)
    return describe_estimator(estimator, X)


def describe_estimator(estimator, X):
    """Return an estimator's parameters, records and predictions."""
    recorded = ("loss_", "best_loss_", "n_iter_", "loss_curve_", "validation_scores_", "t_",
                "best_validation_score_")  # fmt: skip
    found = {name: getattr(estimator, name, None) for name in recorded}
    probabilities = estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else None
    return [estimator.coefs_, estimator.intercepts_, estimator.network_, found,
            estimator.predict(X), estimator.predict(X[:1]), probabilities]  # fmt: skip


def train_estimators(**options):
    """Fit a classifier and a regressor with the same options."""
    return [train_estimator(kind, **options) for kind in (MLPClassifier, MLPRegressor)]


def train_estimators_partially():
    """Call `partial_fit` of both estimators twice, and continue a fit by `warm_start`."""
    X, y, targets = make_inputs(), make_labels(), make_targets(outputs=1)[:, 0]
    classifier = MLPClassifier((23,), random_state=4, max_iter=3, warm_start=True)
    regressor = MLPRegressor(hidden_layer_sizes=(23,), solver="sgd", random_state=4)
    results = []
    for chunk in (slice(0, 120), slice(60, None)):
        classifier.partial_fit(X[chunk], y[chunk], classes=range(5))
        regressor.partial_fit(X[chunk], targets[chunk])
        results += [describe_estimator(classifier, X), describe_estimator(regressor, X)]
    for _ in range(2):
        results.append(describe_estimator(classifier.fit(X, y), X))
    return results


def train_estimator_inputs():
    """Fit estimators to float64, CSR, weighted, binary and multilabel data."""
    X, y = make_inputs(density=0.2, dtype="float64"), make_labels()
    weights = np.random.default_rng(3).random(203)
    classifier = MLPClassifier((23,), max_iter=3, random_state=4, class_weight="balanced")
    return [
        describe_estimator(classifier.fit(X, y, sample_weight=weights), X),
        train_estimator(MLPClassifier, y=make_labels(classes=2), early_stopping=True),
        train_estimator(MLPClassifier, y=make_targets() > 0),
        train_estimator(MLPRegressor, y=np.floor(np.abs(make_targets(outputs=1)[:, 0]) * 3),
                        loss="poisson"),
        describe_estimator(MLPClassifier((23,), max_iter=3, random_state=4).fit(csr_array(X), y),
                           csr_array(X)),
    ]  # fmt: skip

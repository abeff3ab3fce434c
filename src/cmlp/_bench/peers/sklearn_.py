"""scikit-learn: MLPClassifier in float32 with plain gradient descent, the same steps."""

import warnings

FRACTION = 0.2
ACTIVATIONS = {"sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def prepare(job, X, y):
    from sklearn.neural_network import MLPClassifier

    if job.optimizer != "sgd":
        return None
    X = X.astype("float32") / 255 if X.dtype == "uint8" else X
    if not job.epochs:
        model = MLPClassifier(job.sizes[1:-1], activation=ACTIVATIONS[job.activation])
        model.partial_fit(X, y, classes=range(job.sizes[-1]))
        return lambda: model.predict_proba(X)
    warnings.simplefilter("ignore")  # ConvergenceWarning: the epochs are few

    def run():
        MLPClassifier(
            job.sizes[1:-1], activation=ACTIVATIONS[job.activation], solver="sgd", alpha=0,
            batch_size=job.batch, learning_rate_init=job.lr, max_iter=job.epochs, momentum=0,
            tol=0, n_iter_no_change=job.epochs + 1, random_state=0,
        ).fit(X, y)  # fmt: skip

    return run

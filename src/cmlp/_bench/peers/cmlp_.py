"""cmlp: all of `fit`, with conversion, shuffling and setup."""

from cmlp import SGD, Adam, Network

FRACTION = 1.0


def prepare(job, X, y, **options):
    net = Network(list(job.sizes), activation=job.activation, loss=job.loss, seed=0, **options)
    if not job.epochs:
        return lambda: net.predict_proba(X)
    optimizer = {"sgd": SGD, "adam": Adam}[job.optimizer](job.lr)
    return lambda: net.fit(
        X, y, epochs=job.epochs, batch_size=job.batch, optimizer=optimizer, shuffle=True
    )

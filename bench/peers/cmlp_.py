"""cmlp: all of `fit`, with conversion, shuffling and setup."""

from cmlp import SGD, Network

FRACTION = 1.0


def prepare(job, X, y):
    net = Network(list(job.sizes), activation=job.activation, loss=job.loss, seed=0)
    if not job.epochs:
        return lambda: net.predict_proba(X)
    return lambda: net.fit(
        X, y, epochs=job.epochs, batch_size=job.batch, optimizer=SGD(job.lr), shuffle=True
    )

"""Whole training runs, drawn by hypothesis, against the oracle's.

An example draws layers, activations, loss, optimizer, normalization, dropout, dtype, the form of X,
batch size, threads and instruction set. After a few epochs in order, the history, the parameters,
the running statistics and the predictions must be the oracle's, which shares no code with cmlp.
"""

import dataclasses

import numpy as np
import oracle
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_optimizers import CASES, name_of, own_arguments

from cmlp import BatchNorm, Network, losses
from cmlp._core import kernels
from cmlp.activations import ACTIVATIONS

# One below, at and above the widths of vectors and tiles, and small ones.
WIDTHS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 48, 65, 130, 300]
HIDDEN = [name for name, activation in ACTIVATIONS.items() if activation.hidden]
EPS, MOMENTUM = 1e-5, 0.1
SEED = 7


@dataclasses.dataclass
class Run:
    """One training run; the attributes are arguments of `Network` and of `fit`."""

    sizes: list
    activation: list
    output: str
    loss: str
    norms: list
    rates: list
    dtype: str
    optimizer: object
    n_samples: int
    batch_size: int
    epochs: int
    form: str
    density: float
    threads: int
    isa: str
    seed: int


@st.composite
def runs(draw):
    hidden = draw(st.integers(0, 3))
    loss = losses.LOSSES[draw(st.sampled_from(sorted(losses.LOSSES)))]
    outputs = draw(st.integers(2 if loss.output == "softmax" else 1, 5)) * loss.blocks
    allowed = loss.outputs or ("identity", "sigmoid", "tanh", "softmax")
    dtype = draw(st.sampled_from(["float32", "float64"]))
    norms = [draw(st.sampled_from([None, None, "batch", "layer"])) for _ in range(hidden)]
    # The statistics of one or two values have derivatives that are zero but for rounding, which
    # 1 / sqrt(eps) multiplies: float32 is not compared with float64 there.
    is_coarse = dtype == "float32" and any(norms)
    n_samples = draw(st.integers(8 if is_coarse else 1, 40))
    least_batch = max(-(-n_samples // 6), 8 if is_coarse else 1)
    output = draw(st.sampled_from([o for o in allowed if o != "softmax" or outputs > 1]))
    # Where gradients are zero but for rounding (before a normalization, before a softmax), Lion's
    # steps have an arbitrary sign, and those of others with a small eps an arbitrary size.
    has_signs = dtype == "float32" or any(norms) or output == "softmax"
    cases = [case for case in CASES if not (has_signs and name_of(case) == "lion")]
    optimizer = draw(st.sampled_from(cases))
    most = 0.02 if name_of(optimizer) == "sgd" else 0.002
    optimizer = dataclasses.replace(optimizer, lr=min(optimizer.lr, most))
    if "eps" in vars(optimizer):
        least = 1e-3 if dtype == "float32" or any(norms) else 1e-6
        optimizer = dataclasses.replace(optimizer, eps=max(optimizer.eps, least))
    return Run(
        sizes=[draw(st.sampled_from(WIDTHS[3 * is_coarse :])) for _ in range(hidden + 1)]
        + [outputs],
        activation=[draw(st.sampled_from(HIDDEN)) for _ in range(hidden)],
        output=output,
        loss=loss.name,
        norms=norms,
        rates=[draw(st.sampled_from([0.0, 0.0, 0.25, 0.5])) for _ in range(hidden + 1)],
        dtype=dtype,
        optimizer=optimizer,
        n_samples=n_samples,
        batch_size=draw(
            st.integers(least_batch, n_samples + 1).filter(
                lambda size: not is_coarse or n_samples % size in (0, *range(8, n_samples))
            )
        ),
        epochs=draw(st.integers(1, 2)),
        form=draw(st.sampled_from(["float32", "float64", "uint8", "compressed", "csr"])),
        density=draw(st.sampled_from([0.1, 0.5, 1.0])),
        threads=draw(st.sampled_from([1, 3])),
        isa=draw(st.sampled_from(kernels.list_available())),
        seed=draw(st.integers(0, 2**31)),
    )


def draw_data(run, rng):
    """Return X in its form, X as the network computes with it, and the targets."""
    shape = run.n_samples, run.sizes[0]
    is_stored = rng.random(shape) < run.density
    if run.form == "uint8":
        X = (rng.integers(0, 256, shape) * is_stored).astype(np.uint8)
        values = X / 255
    else:
        X = (rng.normal(size=shape) * is_stored / np.sqrt(shape[1])).astype(np.float32)
        values = X.astype(float)
    if run.form == "float64":
        X = values
    if run.form == "csr":
        X = scipy.sparse.csr_array(X)
    # Sigmoid and softmax restrict the targets of any loss, and losses those of any output.
    low, high = losses.LOSSES[run.loss].bounds
    if run.output in ("sigmoid", "softmax"):
        low, high = 0, 1
    targets = run.sizes[-1] // losses.LOSSES[run.loss].blocks
    y = rng.uniform(max(low, -2), min(high, 3), (run.n_samples, targets))
    if run.loss == "cross_entropy" or "hinge" in run.loss:
        y = oracle.one_hot(rng.integers(0, run.sizes[-1], run.n_samples), run.sizes[-1])
    return X, values, y.astype(run.dtype)


def make_network(run, rng):
    """Return a network whose biases and scales are drawn, too."""
    net = Network(
        run.sizes, activation=run.activation, output=run.output, loss=run.loss, dtype=run.dtype,
        dropout=run.rates[1:], input_dropout=run.rates[0], seed=SEED,
        normalization=[BatchNorm(MOMENTUM, EPS) if kind == "batch" else kind
                       for kind in run.norms],
    )  # fmt: skip
    for bias in net.bias:
        bias[:] = rng.normal(size=bias.shape) / 4
    for scale in net.scale:
        if scale is not None:
            scale[:] = rng.uniform(0.5, 1.5, scale.shape)
    return net


class Oracle:
    """The same training run in plain NumPy and float64.

    Attributes
    ----------
    parameters : dict of list
        ``weight``, ``bias``, ``scale``, ``running_mean`` and ``running_variance`` of each layer;
        None for layers without.
    greatest : float
        Greatest absolute pre-activation while training.
    """

    def __init__(self, run, net):
        self.run = run
        self.names, self.greatest = [*run.activation, run.output], 0
        self.parameters = {
            name: [None if a is None else np.array(a, float) for a in getattr(net, name)]
            for name in ("weight", "bias", "scale", "running_mean", "running_variance")
        }
        self.trained = [p for name in ("weight", "bias", "scale")
                        for p in self.parameters[name] if p is not None]  # fmt: skip
        self.step = oracle.OPTIMIZERS[name_of(run.optimizer)](
            *self.trained, **own_arguments(run.optimizer)
        )

    def train(self, X, y):
        """Return the mean loss of each epoch."""
        history = []
        for epoch in range(self.run.epochs):
            total = 0
            for start in range(0, len(X), self.run.batch_size):
                batch = slice(start, start + self.run.batch_size)
                total += self.train_batch(X[batch], y[batch], epoch, start) * len(X[batch])
            history.append(total / len(X))
        return history

    def train_batch(self, X, y, epoch, start):
        run, p = self.run, self.parameters
        masks = [
            oracle.mask(rate, width, SEED, epoch, layer, start, len(X)) if rate else 1.0
            for layer, (rate, width) in enumerate(zip([*run.rates, 0], run.sizes, strict=True))
        ]
        self.observe(X, masks)
        loss, nablas = oracle.regularized_gradient(
            p["weight"], p["bias"], p["scale"], self.names, run.loss, X, y, masks, run.norms, EPS
        )
        self.step(*(nabla for each in zip(*nablas, strict=True) for nabla in each
                    if nabla is not None))  # fmt: skip
        return loss

    def observe(self, X, masks):
        """Update the running statistics and the greatest pre-activation with a batch."""
        p, a = self.parameters, X * masks[0]
        for l, kind in enumerate([*self.run.norms, None]):
            z = a @ p["weight"][l].T
            if kind == "batch":
                mean, variance = z.mean(axis=0), z.var(axis=0) * len(z) / max(len(z) - 1, 1)
                for name, value in (("running_mean", mean), ("running_variance", variance)):
                    p[name][l] = (1 - MOMENTUM) * p[name][l] + MOMENTUM * value[:, None]
            if kind:
                z = oracle.normalize(kind, z, EPS)[0] * p["scale"][l].T
            z = z + p["bias"][l].T
            self.greatest = max(self.greatest, np.abs(z).max())
            a = oracle.ACTIVATIONS[self.names[l]](z) * masks[l + 1]

    def predict(self, X):
        """Return the outputs, with running statistics and without dropout."""
        p, a = self.parameters, X
        for l, name in enumerate(self.names):
            z = a @ p["weight"][l].T
            kind = self.run.norms[l] if l < len(self.run.norms) else None
            if kind == "layer":
                z = oracle.normalize(kind, z, EPS)[0] * p["scale"][l].T
            elif kind == "batch":
                gain = p["scale"][l] / np.sqrt(p["running_variance"][l] + EPS)
                z = (z - p["running_mean"][l].T) * gain.T
            a = oracle.ACTIVATIONS[name](z + p["bias"][l].T)
        return a


def assert_close(got, want, before, dtype):
    """Check an array that training has changed from `before` to `got`."""
    got = np.asarray(got, float)
    if dtype == "float64":
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-8)
    else:
        # A unit at the kink of its activation may take another step than the oracle's.
        assert np.abs(got - want).mean() < 0.02 * np.abs(want - before).mean() + 1e-5


# Ten times as many with --hypothesis-profile=search, whose examples are new in each run.
@pytest.mark.usefixtures("many_threads")
@settings(max_examples=200 if settings.default.derandomize else 2000)
@given(runs())
def test_training_is_the_oracles(run):
    rng = np.random.default_rng(run.seed)
    X, values, y = draw_data(run, rng)
    net = make_network(run, rng)
    expected = Oracle(run, net)
    before = {name: [None if a is None else a.copy() for a in arrays]
              for name, arrays in expected.parameters.items()}  # fmt: skip
    with np.errstate(all="ignore"):
        losses_of_epochs = expected.train(values, y.astype(float))
    # A run that diverges, as with a batch normalization of equal values, multiplies every rounding,
    # and 1 - softmax has no digits where it saturates.
    assume(expected.greatest < 12 and np.isfinite(losses_of_epochs).all())
    isa = kernels.ISA
    kernels.choose(run.isa)
    try:
        history = net.fit(
            X, y, epochs=run.epochs, batch_size=run.batch_size, optimizer=run.optimizer,
            shuffle=False, threads=run.threads,
            sparse=True if run.form == "compressed" else "auto",
        )  # fmt: skip
        outputs = net(X, threads=run.threads)
    finally:
        kernels.choose(isa)
    is_exact = run.dtype == "float64"
    np.testing.assert_allclose(
        history["loss"], losses_of_epochs, rtol=1e-8 if is_exact else 2e-3, atol=1e-8 if is_exact
        else 1e-4,
    )  # fmt: skip
    for name, arrays in expected.parameters.items():
        for got, want, start in zip(getattr(net, name), arrays, before[name], strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                assert_close(got, want, start, run.dtype)
    # The outputs of the network's own parameters, so that the errors of training do not add up.
    own = Oracle(run, net).predict(values)
    np.testing.assert_allclose(outputs, own, rtol=1e-9 if is_exact else 1e-3,
                               atol=1e-9 if is_exact else 1e-3)  # fmt: skip

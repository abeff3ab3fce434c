"""Full-batch training by SciPy's L-BFGS, with the compiled loss and gradient."""

from dataclasses import dataclass

import numpy as np

from cmlp.checks import check_not_negative, check_switch, check_whole, optional


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS over all samples at once, by SciPy.

    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45, 1989, algorithm 2.1. An epoch is one iteration; batches and
    their order have no meaning here, and nothing is dropped. It goes without schedule, metrics,
    `validation_split`, checkpoints, `max_norm` and `restore_good`. It needs SciPy, the extra
    ``lbfgs``.

    Parameters
    ----------
    history : int, default 10
        How many earlier steps shape one.
    tol : float, default 1e-5
        It has converged where no element of the gradient exceeds this,
    ftol : float, default 2.2e-9
        or where the loss falls by less than this part of itself.
    max_fun : int, default 15000
        The most evaluations of loss and gradient.
    weight_decay : float, default 0
        L2: half of this times the sum of squared parameters is added to the loss.
    decay_bias : bool, default True
        Whether that is also for biases and the scales of normalisations.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of its range.
    """

    history: int = 10
    tol: float = 1e-5
    ftol: float = 1e7 * np.finfo(float).eps
    max_fun: int = 15_000
    weight_decay: float = 0.0
    decay_bias: bool = True

    def __post_init__(self):
        check_whole("history", self.history)
        check_whole("max_fun", self.max_fun)
        check_switch("decay_bias", self.decay_bias)
        for name in ("tol", "ftol", "weight_decay"):
            check_not_negative(name, getattr(self, name))


class Objective:
    """The loss and its gradient as functions of one vector of all parameters.

    Parameters
    ----------
    network : Network
    rows, targets : cmlp._core.samples.Rows, Targets
    optimizer : LBFGS
    threads : int
    """

    def __init__(self, network, rows, targets, optimizer, threads):
        self.network, self.rows, self.targets, self.threads = network, rows, targets, threads
        self.gradient = network._new_parameters()
        self.values = arrays_of(network._parameters)
        self.slopes = arrays_of(self.gradient)
        weights = len(network._parameters.weights)
        self.decay = np.concatenate([
            np.full(a.size, optimizer.weight_decay if l < weights or optimizer.decay_bias else 0.0)
            for l, a in enumerate(self.values)
        ])  # fmt: skip
        self.evaluations, self.last_loss = 0, np.nan

    def start(self):
        """Return the parameters as they are, float64."""
        return flat(self.values)

    def put(self, x):
        """Let the network have these parameters."""
        start = 0
        for array in self.values:
            array[...] = x[start : start + array.size].reshape(array.shape)
            start += array.size

    def settle(self, x):
        """Let the network have these parameters, and the statistics that belong to them."""
        self.put(x)
        if self.network._statistics.block.size:
            self.gradient.block[:] = 0
            self.network._program.gradient(
                self.rows, self.targets, self.gradient.padded, self.threads, momentum=1.0
            )

    def __call__(self, x):
        """Return the loss, decay included, and its gradient."""
        self.put(x)
        self.gradient.block[:] = 0
        self.evaluations += 1
        loss = self.network._program.gradient(
            self.rows, self.targets, self.gradient.padded, self.threads
        )
        self.last_loss = loss + float((self.decay * x * x).sum()) / 2
        return self.last_loss, flat(self.slopes) + self.decay * x


def arrays_of(parameters):
    """Return the views of all parameters, weights first."""
    scales = [scale for scale in parameters.scales if scale is not None]
    return [*parameters.weights, *parameters.biases, *scales]


def flat(arrays):
    """Return arrays as one vector, float64."""
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])


def minimize(objective, optimizer, epochs, after):
    """Minimise, and call `after` with the number of each iteration from 0.

    `after` may raise `StopIteration` to end it. Returns what SciPy returns, or None where
    it was ended. The network ends with the parameters of the last iteration, also when an
    error or Ctrl-C comes in the middle of one.

    Raises
    ------
    ImportError
        Without SciPy.
    """
    scipy_minimize = optional("scipy.optimize", "LBFGS", "SciPy", "lbfgs").minimize
    iteration, last = 0, objective.start()

    def each(x):
        nonlocal iteration, last
        last = x.copy()
        objective.settle(x)
        after(iteration)
        iteration += 1

    try:
        result = scipy_minimize(
            objective, objective.start(), method="L-BFGS-B", jac=True, callback=each,
            options={"maxiter": epochs, "maxfun": optimizer.max_fun, "gtol": optimizer.tol,
                     "ftol": optimizer.ftol, "maxcor": optimizer.history},
        )  # fmt: skip
    except StopIteration:
        return None
    except BaseException:
        objective.put(last)
        raise
    objective.settle(result.x)
    return result

"""Full-batch training with SciPy's L-BFGS and the engine's loss and gradient."""

import time

import numpy as np

from cmlp._model.parameter_groups import check_trainable
from cmlp._training.loop import TrainingRun
from cmlp._utils.validation import import_optional
from cmlp.errors import TrainingDiverged


class Objective:
    """The loss and its gradient as functions of one vector of all parameters.

    The vector has all weights, then all biases, then all scales, without padding.

    Parameters
    ----------
    state : ModelState
    rows, targets : Rows, Targets
    optimizer : LBFGS
    threads : int

    Attributes
    ----------
    last_loss : float
        The last value of the loss, decay included; NaN before the first.
    last_gradient : ndarray of float64, shape (n_parameters,), or None
        The gradient of the last loss, decay included.
    """

    def __init__(self, state, rows, targets, optimizer, threads):
        self.state, self.rows, self.targets, self.threads = state, rows, targets, threads
        parameters, self._gradient = state.parameters, state.parameters.make_zeros()
        names = dict.fromkeys(tensor.name for tensor in parameters.tensors)
        tensors = [t for name in names for t in parameters.tensors if t.name == name]
        check_trainable(tensors, parameters.frozen)
        sizes = [t.rows * t.columns for t in tensors]
        is_trained = [t.layer not in parameters.frozen for t in tensors]
        self.is_frozen = None if all(is_trained) else ~np.repeat(is_trained, sizes)
        is_decayed = [trained and (t.name == "weight" or optimizer.decay_bias)
                      for t, trained in zip(tensors, is_trained, strict=True)]  # fmt: skip
        self.decay = np.repeat(np.where(is_decayed, optimizer.weight_decay, 0.0), sizes)
        # Parameters and gradient of the last evaluation, without padding, and pairs of views to
        # copy them by: one of a block's tensor, one of the vector's part.
        self._vector, self._flat_gradient, self._scratch = np.empty((3, self.decay.size))
        self._vector_views = pair_views(parameters, tensors, self._vector)
        self._gradient_views = pair_views(self._gradient, tensors, self._flat_gradient)
        self.last_loss, self.last_gradient = np.nan, None

    def get_parameters(self):
        """Return the network's parameters as one vector, float64."""
        for view, part in self._vector_views:
            np.copyto(part, view)
        return self._vector.copy()

    def set_parameters(self, x):
        """Copy a vector into the network's parameters."""
        np.copyto(self._vector, x)
        for view, part in self._vector_views:
            np.copyto(view, part, casting="same_kind")

    def accept(self, x):
        """Copy a vector into the network's parameters and update the running statistics."""
        if not np.array_equal(x, self._vector):
            self.set_parameters(x)
        if self.state.statistics.block.size:
            self._compute_gradient(momentum=1.0)

    def compute_loss(self, x):
        """Return the loss, decay included, and compute its gradient in the same pass."""
        self.set_parameters(x)
        loss = self._compute_gradient()
        for view, part in self._gradient_views:
            np.copyto(part, view)
        decayed = np.multiply(self.decay, x)
        self.last_loss = loss + float(np.multiply(decayed, x, out=self._scratch).sum()) / 2
        self.last_gradient = np.add(self._flat_gradient, decayed, out=decayed)
        if self.is_frozen is not None:
            self.last_gradient[self.is_frozen] = 0
        return self.last_loss

    def get_gradient(self, x):
        """Return `last_gradient`: SciPy asks for it right after the loss of the same x."""
        return self.last_gradient

    def _compute_gradient(self, momentum=0.0):
        self._gradient.block.fill(0)
        return self.state.program.gradient(
            self.rows, self.targets, self._gradient.block, self.threads, momentum=momentum
        )


def pair_views(block, tensors, vector):
    """Return the views of a block's tensors, each with the view of its part of a vector.

    Parameters
    ----------
    block : TensorBlock
    tensors : sequence of tensors of the block
    vector : ndarray, shape (n_parameters,)
        Has the tensors in this order, without padding.

    Returns
    -------
    list of (ndarray, ndarray)
    """
    pairs, start = [], 0
    for tensor in tensors:
        view = block.views[tensor]
        pairs.append((view, vector[start : start + view.size].reshape(view.shape)))
        start += view.size
    return pairs


def minimize(objective, optimizer, epochs, after):
    """Minimize the loss with L-BFGS.

    At the end, also after an exception or Ctrl-C, the network has the parameters of the last
    complete iteration.

    Parameters
    ----------
    objective : Objective
    optimizer : LBFGS
    epochs : int
        Maximum number of iterations.
    after : callable
        Called with the number of each iteration, from 0, after it. It may raise
        `StopIteration` to end the minimization.

    Returns
    -------
    scipy.optimize.OptimizeResult or None
        None if `after` ended it.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    """
    scipy_minimize = import_optional("scipy.optimize", "LBFGS", "SciPy", "lbfgs").minimize
    iteration, last = 0, objective.get_parameters()

    # By the name of its argument, SciPy passes its own vector instead of a copy.
    def finish_iteration(intermediate_result):
        nonlocal iteration, last
        last = intermediate_result.x.copy()
        objective.accept(last)
        after(iteration)
        iteration += 1

    try:
        result = scipy_minimize(
            objective.compute_loss, last, method="L-BFGS-B", jac=objective.get_gradient,
            callback=finish_iteration,
            options={"maxiter": epochs, "maxfun": optimizer.max_fun, "gtol": optimizer.tol,
                     "ftol": optimizer.ftol, "maxcor": optimizer.history},
        )  # fmt: skip
    except StopIteration:
        return None
    except BaseException:
        objective.set_parameters(last)
        raise
    objective.accept(result.x)
    return result


class FullBatchRun(TrainingRun):
    """One call of `fit` with `LBFGS`; an epoch is an iteration."""

    def run(self):
        """Train and return the `History`.

        Raises
        ------
        ImportError
            If SciPy is not installed.
        TrainingDiverged
            If the loss, its gradient or a parameter is not finite.
        """
        self.state.check_finite()
        source = self.source
        self.objective = Objective(
            self.state, source.rows, source.targets, self.optimizer, self.threads
        )
        self.adopt_task()
        self.start = time.perf_counter()
        self.discard_averages()
        self.notify("on_train_begin")
        self.state.history = self.history
        try:
            with self.progress:
                result = minimize(
                    self.objective, self.optimizer, self.epochs, self.record_iteration
                )
        except BaseException as error:
            self.notify("on_error", self, error)
            raise
        # SciPy ends without an iteration if the first loss or gradient is not finite.
        is_finite = result is None or (np.isfinite(result.fun) and np.isfinite(result.jac).all())
        if not (is_finite and self.state.program.is_finite()):
            raise TrainingDiverged(len(self.history.epochs), 0)
        self.notify("on_train_end", self.history)
        self.state.training = self.summarize()
        return self.history

    def record_iteration(self, epoch):
        """Record an iteration; raise `StopIteration` to end training."""
        start, self.start = self.start, time.perf_counter()
        seconds = self.start - start
        record = {
            "loss": self.objective.last_loss,
            "seconds": seconds,
            "samples_per_second": self.source.n_samples / max(seconds, 1e-9),
        }
        if not np.isfinite(record["loss"]):
            raise TrainingDiverged(epoch, 0)
        if self.validate is not None:
            record.update(self.validate())
        self.history.epochs.append(record)
        is_stopped = self.notify("on_epoch_end", epoch, record)
        self.progress.finish_epoch(epoch, record)
        if is_stopped or self.is_cancelled:
            raise StopIteration

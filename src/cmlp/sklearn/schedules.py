"""scikit-learn's learning rates: ``"constant"``, ``"invscaling"`` and ``"adaptive"``.

The objects here are running schedules of a training run and also hold the state of its optimizer,
because scikit-learn scales the momentum buffer of SGD when the learning rate changes. Both persist
between calls of `partial_fit` and are pickled with the estimator.
"""

from cmlp.optimizers import SGD


class LearningRate:
    """scikit-learn's ``learning_rate="constant"``, and the base of the other two.

    Parameters
    ----------
    optimizer_state : cmlp._model.optimizer_state.OptimizerState
        The state of the optimizer, whose learning rate is the initial one.

    Attributes
    ----------
    optimizer_state : OptimizerState
    learning_rate : float
        The current learning rate. scikit-learn's ``_optimizer`` has the same attribute.
    """

    def __init__(self, optimizer_state):
        self.optimizer_state = optimizer_state
        self.learning_rate = float(optimizer_state.optimizer.lr)

    def change(self, learning_rate):
        """Set the learning rate.

        scikit-learn's velocity contains each gradient multiplied by minus the learning rate of its
        step. cmlp stores the sum of the gradients without that factor, so the sum is scaled to
        preserve the velocity.
        """
        optimizer = self.optimizer_state.optimizer
        if isinstance(optimizer, SGD) and optimizer.momentum:
            self.optimizer_state.blocks["state_0"] *= self.learning_rate / learning_rate
        self.learning_rate = learning_rate

    def end_epoch(self, n_samples_seen):
        """Update the learning rate after an epoch.

        Parameters
        ----------
        n_samples_seen : int
            The number of samples processed in all epochs so far: ``t_``.
        """

    def handle_plateau(self):
        """Return whether training stops now that loss or score no longer improve, and a message.

        Returns
        -------
        stop : bool
        message : str
            The message that scikit-learn prints with `verbose`.
        """
        return True, "Stopping."

    # The methods of a running schedule, which the training run calls.

    @property
    def epoch_factor(self):
        """The factor of the optimizer's learning rate in all steps until the end of the epoch."""
        return self.learning_rate / self.optimizer_state.optimizer.lr

    def observe(self, record):
        """Do nothing: the training monitor calls `end_epoch` and `handle_plateau` instead."""


class InverseScaling(LearningRate):
    """scikit-learn's ``learning_rate="invscaling"``: the initial rate over (t + 1)^`power_t`.

    Parameters
    ----------
    optimizer_state : OptimizerState
    power_t : float
    """

    def __init__(self, optimizer_state, power_t):
        super().__init__(optimizer_state)
        self.initial_rate, self.power_t = self.learning_rate, power_t

    def end_epoch(self, n_samples_seen):
        """Update the learning rate after an epoch."""
        self.change(self.initial_rate / (n_samples_seen + 1) ** self.power_t)


class Adaptive(LearningRate):
    """scikit-learn's ``learning_rate="adaptive"``: divided by 5 on each plateau."""

    def handle_plateau(self):
        """Divide the learning rate by 5, or stop if it is at most 1e-6."""
        if self.learning_rate <= 1e-6:
            return True, "Learning rate too small. Stopping."
        self.change(self.learning_rate / 5.0)
        return False, f"Setting learning rate to {self.learning_rate:f}"


def start_learning_rate(estimator, optimizer_state):
    """Return the running learning rate of an estimator.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor of cmlp.sklearn
        Its `learning_rate` is used with ``solver="sgd"`` only, as in scikit-learn, and not with an
        `optimizer`.
    optimizer_state : OptimizerState

    Returns
    -------
    LearningRate
    """
    if estimator.solver == "sgd" and estimator.optimizer is None:
        if estimator.learning_rate == "invscaling":
            return InverseScaling(optimizer_state, estimator.power_t)
        if estimator.learning_rate == "adaptive":
            return Adaptive(optimizer_state)
    return LearningRate(optimizer_state)

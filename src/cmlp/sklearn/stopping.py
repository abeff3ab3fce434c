"""scikit-learn's records of training, and its rules for stopping."""

from cmlp.callbacks import Callback
from cmlp.sklearn.losses import is_averaged_over_outputs

# Activations of the last layer (`out_activation_`) whose loss scikit-learn averages over the
# outputs; cmlp sums over them.
AVERAGED_OUTPUTS = ("identity", "exp")


class StoppingRule:
    """Count the epochs in which a quantity has not improved by more than `tol`.

    Parameters
    ----------
    tol : float
    n_iter_no_change : int
        The rule is met after more than this number of such epochs in a row.
    best : float
        The lowest value so far.
    count : int
        The number of such epochs so far.
    """

    def __init__(self, tol, n_iter_no_change, best, count):
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.best, self.count = best, count

    def update(self, value):
        """Count an epoch by its value; lower is better.

        Returns
        -------
        bool
            Whether the value is the lowest so far.
        """
        self.count = self.count + 1 if value > self.best - self.tol else 0
        is_best = value < self.best
        if is_best:
            self.best = value
        return is_best

    def is_met(self):
        """Return whether there has been no improvement for too long."""
        return self.count > self.n_iter_no_change


class TrainingMonitor(Callback):
    """Record each epoch in the attributes of an estimator, and stop training as scikit-learn does.

    It updates ``n_iter_``, ``t_``, ``loss_``, ``loss_curve_``, ``best_loss_`` and, with validation
    data, ``validation_scores_`` and ``best_validation_score_``.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor of cmlp.sklearn
    n_samples : int
        The number of samples of an epoch.
    learning_rate : cmlp.sklearn.schedules.LearningRate
    no_improvement_count : int
        The number of epochs without improvement in earlier calls of `fit` or `partial_fit`.
    validate : callable, optional
        Returns the score of the validation data.
    is_incremental : bool
        Whether this is `partial_fit`, which ends after one epoch.
    prints : bool
        Whether to print scikit-learn's lines: with ``verbose=1``, as 2 shows a progress bar.

    Attributes
    ----------
    rule : StoppingRule
        It minimizes the loss or, with `early_stopping`, the negative validation score: negation is
        exact, so both comparisons are scikit-learn's.
    best : snapshot of cmlp's ModelState, or None
        The parameters with the best validation score, if `early_stopping` is on.
    """

    def __init__(self, estimator, n_samples, learning_rate, no_improvement_count, validate,
                 is_incremental, prints):  # fmt: skip
        self.estimator, self.n_samples, self.learning_rate = estimator, n_samples, learning_rate
        self.validate, self.is_incremental, self.best = validate, is_incremental, None
        e = estimator
        self.prints = prints
        best = -e.best_validation_score_ if e.early_stopping else e.best_loss_
        self.rule = StoppingRule(e.tol, e.n_iter_no_change, best, no_improvement_count)
        self.reads_network = validate is not None

    def on_epoch_end(self, network, epoch, record):
        """Record an epoch; return whether to stop."""
        e = self.estimator
        e.n_iter_ = epoch + 1
        e.loss_ = self.convert_loss(record)
        e.t_ += self.n_samples
        e.loss_curve_.append(e.loss_)
        if self.prints:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if self.validate is not None:
            has_quantiles = e.loss == "pinball" or getattr(e.loss, "quantiles", ())
            name = "d2" if has_quantiles else network.score_name
            record[f"val_{name}"] = self.record_score(network)
        if not e.early_stopping:
            self.rule.update(e.loss_)
            e.best_loss_ = self.rule.best
        self.learning_rate.end_epoch(e.t_)
        return self.has_stopped_improving() or self.is_incremental

    def convert_loss(self, record):
        """Return the loss of an epoch as scikit-learn defines it."""
        e = self.estimator
        if e.out_activation_ not in AVERAGED_OUTPUTS or not is_averaged_over_outputs(e.loss):
            return record["loss"]
        penalty = record.get("penalty", 0.0)
        return (record["loss"] - penalty) / e.n_outputs_ + penalty

    def record_score(self, network):
        """Record the score of the validation data and return it."""
        e = self.estimator
        score = self.validate()
        e.validation_scores_.append(score)
        if self.prints:
            print(f"Validation score: {score:f}")
        if e.early_stopping and self.rule.update(-score):
            e.best_validation_score_ = score
            self.best = network.state.snapshot()
        return score

    def has_stopped_improving(self):
        """Return whether to stop; an adaptive learning rate is reduced first."""
        if not self.rule.is_met():
            return False
        stop, message = self.learning_rate.handle_plateau()
        if not stop:
            self.rule.count = 0
        e = self.estimator
        if self.prints:
            quantity = "Validation score" if e.early_stopping else "Training loss"
            print(f"{quantity} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
                  f"consecutive epochs. {message}")  # fmt: skip
        return stop

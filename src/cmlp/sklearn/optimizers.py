"""Optimizers for the arguments of an estimator."""

from dataclasses import dataclass, replace

from cmlp._model.optimizer_choice import resolve_optimizer
from cmlp.optimizers import SGD, Adam


@dataclass(frozen=True, eq=False, repr=False)
class ScikitAdam(Adam):
    """Adam as scikit-learn computes it.

    scikit-learn adds `eps` to the root of the second moment before the bias correction; `Adam`
    adds it after. See ``AdamOptimizer`` in ``sklearn/neural_network/_stochastic_optimizers.py``.
    """

    @property
    def hyper(self):
        """The hyperparameters in the order of the compiled code; 1.0 selects scikit-learn's eps."""
        return (*super().hyper, 1.0)


def choose_optimizer(estimator):
    """Return the optimizer that the arguments of an estimator describe.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor of cmlp.sklearn
        A given `optimizer` takes precedence over `solver`. `alpha` is then its L2 penalty, unless
        the optimizer has a penalty or a weight decay of its own.

    Returns
    -------
    cmlp.optimizers.Optimizer
    """
    e = estimator
    if e.optimizer is not None:
        optimizer = resolve_optimizer(e.optimizer)
        if optimizer.weight_decay or optimizer.penalty is not None:
            return optimizer
        return replace(optimizer, penalty=e.alpha)
    if e.solver == "sgd":
        nesterov = bool(e.nesterovs_momentum and e.momentum > 0)
        return SGD(e.learning_rate_init, momentum=e.momentum, nesterov=nesterov, penalty=e.alpha)
    return ScikitAdam(e.learning_rate_init, (e.beta_1, e.beta_2), e.epsilon, penalty=e.alpha)

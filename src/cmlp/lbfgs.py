"""`LBFGS`: full-batch training by SciPy's L-BFGS-B."""

from dataclasses import dataclass

import numpy as np

from cmlp._utils.fields import Record, check_fields, checked_field
from cmlp._utils.validation import check_bool, check_integer, check_non_negative


@dataclass(frozen=True, eq=False, repr=False)
class LBFGS(Record):
    """Limited-memory BFGS over all samples at once, by SciPy.

    An epoch is one iteration of L-BFGS-B. The batch size and the sample order have no effect,
    and dropout is off. Schedules, metrics, `validation_split`, per-batch callbacks,
    `Checkpoint`, `max_norm` and `restore_good` are not supported. Requires SciPy, the extra
    ``lbfgs``.

    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45, 1989, algorithm 2.1.

    Parameters
    ----------
    history : int, default 10
        Number of previous steps that approximate the Hessian (SciPy's ``maxcor``).
    tol : float, default 1e-5
        Training stops if no element of the gradient exceeds it in magnitude (``gtol``).
    ftol : float, default 2.2e-9
        Training stops if the loss f decreases by at most ``ftol * max(abs(f), 1)``.
    max_fun : int, default 15000
        Maximum number of evaluations of loss and gradient (``maxfun``).
    weight_decay : float, default 0
        L2 coefficient: ``weight_decay / 2`` times the sum of squared parameters is added to
        the loss.
    decay_bias : bool, default True
        Whether `weight_decay` applies to biases and normalization scales too.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """

    history: int = checked_field(check_integer, 10)
    tol: float = checked_field(check_non_negative, 1e-5)
    ftol: float = checked_field(check_non_negative, 1e7 * np.finfo(float).eps)
    max_fun: int = checked_field(check_integer, 15_000)
    weight_decay: float = checked_field(check_non_negative, 0.0)
    decay_bias: bool = checked_field(check_bool, True)

    def __post_init__(self):
        check_fields(self)

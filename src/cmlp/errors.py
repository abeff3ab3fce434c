"""Exceptions that are specific to cmlp."""

__all__ = ["NonFiniteParameters", "RankError", "TrainingDiverged"]


class TrainingDiverged(ArithmeticError):
    """Raised when training makes the loss of a batch or a parameter infinite or NaN.

    The loss is checked after every step, the parameters and running statistics at the end of
    every epoch. The network keeps the parameters as they are after the step at which the check
    failed.

    Attributes
    ----------
    epoch : int
        The epoch of the current call, counted from 0.
    step : int
        The step within that epoch, counted from 0, after which the check failed.
    rank : int or None
        With several ranks, the first one whose loss is not finite.
    """

    def __init__(self, epoch, step, rank=None):
        super().__init__(epoch, step, rank)
        self.epoch, self.step, self.rank = epoch, step, rank

    def __str__(self):
        place = "" if self.rank is None else f" on rank {self.rank}"
        return (
            f"training diverged: the loss or a parameter is not finite{place} in epoch "
            f"{self.epoch}, step {self.step}; a smaller learning rate may help"
        )


class RankError(RuntimeError):
    """Raised when training on several ranks ends because of another rank.

    Attributes
    ----------
    rank : int
        The rank that ended first.
    reason : str
        Why it ended.
    """

    def __init__(self, rank, reason):
        super().__init__(rank, reason)
        self.rank, self.reason = rank, reason

    def __str__(self):
        return f"training ended because rank {self.rank} ended by {self.reason}"


class NonFiniteParameters(TrainingDiverged, ValueError):
    """Raised when training or a prediction needs parameters and one is NaN or infinite.

    It is a `TrainingDiverged` of the first step, because training on such parameters diverges.

    Parameters
    ----------
    name : str
        The array, as an attribute of the network: ``"weight[0]"``.
    dtype : str
        The network's dtype, beyond whose range numbers become infinite.
    """

    def __init__(self, name, dtype):
        super().__init__(0, 0)
        self.args = name, dtype

    def __str__(self):
        name, dtype = self.args
        return f"{name} must be finite in {dtype}; it holds NaN or infinity"

"""Exceptions that are specific to cmlp."""


class TrainingDiverged(ArithmeticError):
    """Raised when the loss of a batch is infinite or NaN.

    The network keeps the parameters as they are after the step with that batch.

    Attributes
    ----------
    epoch : int
        The epoch of the current call, counted from 0.
    step : int
        The step within that epoch, counted from 0.
    """

    def __init__(self, epoch, step):
        super().__init__(epoch, step)
        self.epoch, self.step = epoch, step

    def __str__(self):
        return (
            f"training diverged: the loss is not finite in epoch {self.epoch}, step {self.step}; "
            "a smaller learning rate may help"
        )

"""Exceptions that are specific to cmlp."""


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
    """

    def __init__(self, epoch, step):
        super().__init__(epoch, step)
        self.epoch, self.step = epoch, step

    def __str__(self):
        return (
            "training diverged: the loss or a parameter is not finite in epoch "
            f"{self.epoch}, step {self.step}; a smaller learning rate may help"
        )

"""The errors that are cmlp's own."""


class TrainingDiverged(ArithmeticError):
    """The loss of a batch became infinite or not a number.

    The parameters are those after that batch.

    Attributes
    ----------
    epoch, step : int
        Which batch of which epoch of this call, both from 0.
    """

    def __init__(self, epoch, step):
        super().__init__(epoch, step)
        self.epoch, self.step = epoch, step

    def __str__(self):
        return (
            f"training diverged: the loss is not finite in epoch {self.epoch}, step {self.step}; "
            "a smaller learning rate may help"
        )

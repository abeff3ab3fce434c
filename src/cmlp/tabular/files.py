"""Files of the estimators, without pickle."""


class EstimatorFiles:
    """A mixin of the estimators: `save` and `load`."""

"""Plots of training runs, networks and predictions with Matplotlib (the extra ``plot``).

Functions take a `cmlp.Network`, a `cmlp.QuantizedNetwork`, or a fitted estimator of
`cmlp.sklearn` or `cmlp.tabular`, alone or in a pipeline or search of scikit-learn; those that only
predict take any classifier or regressor with scikit-learn's methods. A function that draws one
picture draws it into `ax`, by default the axes of a new figure, and returns the axes; one that
draws several images takes and returns an array `axes`. No function shows or closes a figure.
"""

from cmlp.plot.classifiers import calibration_curve, confusion_matrix
from cmlp.plot.curves import learning_curve
from cmlp.plot.diagram import architecture
from cmlp.plot.images import confident_mistakes, first_layer_weights
from cmlp.plot.regressors import residuals

__all__ = [
    "architecture", "calibration_curve", "confident_mistakes", "confusion_matrix",
    "first_layer_weights", "learning_curve", "residuals",
]  # fmt: skip

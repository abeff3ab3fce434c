"""scikit-learn's `MLPClassifier` and `MLPRegressor`, trained and evaluated by cmlp.

The classes derive from scikit-learn's, so arguments, attributes, checks and messages are
scikit-learn's own; training and prediction run in cmlp's compiled code. With the same
`random_state`, the initial weights, the validation split and the order of the samples are those
that scikit-learn draws. Importing the module lets threadpoolctl limit cmlp's threads. Requires
scikit-learn, the extra ``sklearn``.
"""

from cmlp._utils.validation import import_optional

# Before the estimators import scikit-learn, so that the error says what to install.
import_optional("sklearn", "cmlp.sklearn", "scikit-learn", "sklearn")

from cmlp.sklearn.estimators import MLPClassifier, MLPRegressor
from cmlp.sklearn.registration import register_skl2onnx
from cmlp.sklearn.threadpool import register_controller

register_controller()

__all__ = ["MLPClassifier", "MLPRegressor", "register_skl2onnx"]

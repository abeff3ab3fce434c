"""skl2onnx's converters of the estimators.

A converter is a function of (scope, operator, container): `operator.raw_operator` is the estimator,
`operator.inputs` and `operator.outputs` are variables, and the container takes the nodes. The
network's nodes are those of `cmlp.formats.onnx_export`.
"""

import numpy as np
from onnx import TensorProto, numpy_helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.common.utils import check_input_and_output_numbers
from skl2onnx.common.utils_classifier import get_label_classes
from sklearn.utils.validation import check_is_fitted

from cmlp.activations import ACTIVATIONS
from cmlp.formats.onnx_export import (
    MIN_OPSET,
    GraphBuilder,
    add_function,
    add_network,
    add_predictions,
)
from cmlp.sklearn.estimators import MLPClassifier, MLPRegressor

# As skl2onnx's converter of scikit-learn's MLPClassifier has them.
OPTIONS = {
    "zipmap": [True, False, "columns"], "output_class_labels": [False, True],
    "nocl": [True, False],
}  # fmt: skip


def register():
    """Register the converters."""
    update_registered_converter(
        MLPClassifier, "CmlpMLPClassifier", set_classifier_types, convert_classifier,
        options=OPTIONS,
    )  # fmt: skip
    update_registered_converter(
        MLPRegressor, "CmlpMLPRegressor", set_regressor_types, convert_regressor
    )


class ContainerGraph(GraphBuilder):
    """Adds nodes and constants to a container of skl2onnx.

    Parameters
    ----------
    scope : skl2onnx.common._topology.Scope
    container : skl2onnx.common._container.ModelComponentContainer
    dtype : type
        numpy.float32 or numpy.float64, of the constants.
    """

    def __init__(self, scope, container, dtype):
        super().__init__(container.target_opset_any_domain(""))
        self.scope, self.container, self.dtype = scope, container, np.dtype(dtype)
        if self.opset < MIN_OPSET:
            raise ValueError(f"target_opset must be at least {MIN_OPSET}; got {self.opset}")

    def add_node(self, operator, *inputs, output=None, **attributes):
        """Add a node with one output; return the name of the output."""
        output = output or self.scope.get_unique_variable_name(operator.lower())
        self.container.add_node(
            operator, list(inputs), output, name=self.scope.get_unique_operator_name(operator),
            **attributes,
        )  # fmt: skip
        return output

    def add_constant(self, value, dtype=None):
        """Add a constant; return its name."""
        name, array = (
            self.scope.get_unique_variable_name("c"),
            np.asarray(value, dtype or self.dtype),
        )
        if array.dtype.kind == "O":
            values = [text.encode() for text in array.ravel().tolist()]
            self.container.add_initializer(name, TensorProto.STRING, array.shape, values)
        else:
            tensor = numpy_helper.from_array(array, name)
            self.container.add_initializer(name, tensor.data_type, array.shape, tensor)
        return name


def begin_conversion(scope, operator, container, activates_outputs=True):
    """Add the network; return the graph and the name of the outputs."""
    estimator = operator.raw_operator
    check_is_fitted(estimator)
    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    graph = ContainerGraph(scope, container, np.float64 if is_double else np.float32)
    real = TensorProto.DOUBLE if is_double else TensorProto.FLOAT
    x = graph.add_node("Cast", operator.inputs[0].full_name, to=real)
    return graph, add_network(graph, x, estimator.network_.state, activates_outputs)


def convert_classifier(scope, operator, container):
    """Add a classifier: labels, and probabilities or, with a hinge loss, scores."""
    classifier = operator.raw_operator
    check_is_fitted(classifier)
    architecture = classifier.network_.state.architecture
    n_outputs, has_probabilities = architecture.outputs, architecture.has_probabilities
    # One class against the rest.
    is_divided = (
        architecture.output.name == "sigmoid" and n_outputs > 1 and not has_labels(classifier)
    )
    graph, outputs = begin_conversion(scope, operator, container, not is_divided)
    label, values = (variable.full_name for variable in operator.outputs)
    if has_labels(classifier):
        is_present = add_decision(graph, outputs, architecture)
        graph.add_node("Cast", is_present, output=label, to=TensorProto.INT64)
        graph.add_node("Identity", outputs, output=values)
        return
    if n_outputs == 1:
        flat = graph.add_node("Squeeze", outputs, graph.add_constant([1], np.int64))
        is_second = add_decision(graph, flat, architecture)
        index = graph.add_node("Cast", is_second, to=TensorProto.INT64)
        first = add_complement(graph, outputs, has_probabilities)
        found = graph.add_node("Concat", first, outputs, axis=1)
    else:
        index = graph.add_node("ArgMax", outputs, axis=1, keepdims=0)
        found = add_shares(graph, outputs, architecture) if is_divided else outputs
    graph.add_node("Identity", found, output=values)
    classes = convert_classes(get_label_classes(scope, classifier))
    graph.add_node("Gather", graph.add_constant(classes, classes.dtype), index, output=label)


def add_decision(graph, outputs, architecture):
    """Add whether outputs are above the decision threshold, as scikit-learn's `LabelBinarizer`."""
    return graph.add_node("Greater", outputs, graph.add_constant(architecture.decision_threshold))


def add_complement(graph, outputs, has_probabilities):
    """Add the value of the first of two classes: 1 - p, or the negative score."""
    if not has_probabilities:
        return graph.add_node("Neg", outputs)
    return graph.add_node("Sub", graph.add_constant(1.0), outputs)


def add_shares(graph, z, architecture):
    """Add sigmoids of z divided by their sum, as `predict_proba` for one class against the rest.

    As the softmax of log(sigmoid(z)) = z - softplus(z): ONNX Runtime's sigmoids have absolute
    errors of 1e-7. If the sum is 0 in the network's dtype, all classes are equally probable.
    """
    logarithms = graph.add_node("Sub", z, add_function(graph, z, ACTIVATIONS["softplus"]))
    shares = graph.add_node("Softmax", logarithms, axis=1)
    least = np.log(np.finfo(architecture.dtype).tiny)
    is_positive = graph.add_node("Greater", z, graph.add_constant(least))
    is_positive = graph.add_node("Cast", is_positive, to=TensorProto.FLOAT)
    count = graph.add_node("ReduceSum", is_positive, graph.add_constant([1], np.int64), keepdims=1)
    has_share = graph.add_node("Greater", count, graph.add_constant(0.0, np.float32))
    return graph.add_node("Where", has_share, shares, graph.add_constant(1 / architecture.outputs))


def convert_classes(classes):
    """Return labels as an array that ONNX can hold: int64, or objects that are strings.

    Raises
    ------
    ValueError
        If they are neither whole numbers of int64 nor strings.
    """
    classes = np.asarray(classes)
    if all(isinstance(each, str) for each in classes.tolist()):
        return np.array(classes.tolist() * (2 if len(classes) == 1 else 1), object)
    with np.errstate(invalid="ignore"):
        found = classes.astype(np.int64) if classes.dtype.kind in "biuf" else None
    if found is None or (found != classes).any():
        raise ValueError(
            "classes_ must be all strings or all whole numbers of int64 for skl2onnx; got "
            f"{classes.tolist()!r}"
        )
    return np.repeat(found, 2) if len(found) == 1 else found  # one output has two classes


def has_labels(classifier):
    """Return whether each output of a fitted classifier is a label that is present or not."""
    return classifier._label_binarizer.y_type_.startswith("multilabel")


def convert_regressor(scope, operator, container):
    """Add a regressor: predictions of shape (samples, targets)."""
    graph, outputs = begin_conversion(scope, operator, container)
    architecture = operator.raw_operator.network_.state.architecture
    found = add_predictions(graph, outputs, architecture.loss, architecture.outputs)
    graph.add_node("Identity", found, output=operator.outputs[0].full_name)


def set_classifier_types(operator):
    """Set types and shapes of the outputs of a classifier."""
    calculate_linear_classifier_output_shapes(operator)
    classifier, samples = operator.raw_operator, operator.inputs[0].get_first_dimension()
    if has_labels(classifier):
        shape = [samples, classifier.n_outputs_]
        operator.outputs[0].set_type(Int64TensorType(shape))
        operator.outputs[1].type.shape = shape
    elif classifier.n_outputs_ == 1:
        operator.outputs[1].type.shape = [samples, 2]


def set_regressor_types(operator):
    """Set type and shape of the predictions of a regressor."""
    check_is_fitted(operator.raw_operator)
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    architecture, source = operator.raw_operator.network_.state.architecture, operator.inputs[0]
    n = architecture.outputs if architecture.loss.quantiles else architecture.targets
    is_double = isinstance(source.type, DoubleTensorType)
    kind = DoubleTensorType if is_double else FloatTensorType
    operator.outputs[0].set_type(kind([source.get_first_dimension(), n]))

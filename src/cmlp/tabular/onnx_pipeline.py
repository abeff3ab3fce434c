"""An estimator for tables as an ONNX model: from columns to predictions."""

import math

import numpy as np
from onnx import TensorProto, helper

from cmlp._utils.validation import look_up
from cmlp.formats.onnx_export import (
    GraphBuilder,
    add_network,
    add_predictions,
    check_opset,
    write_model,
)
from cmlp.tabular.calibration import LEAST_PROBABILITY
from cmlp.tabular.scaling import SATURATION

# Domain of LabelEncoder, and the first of its opsets whose LabelEncoder maps to numbers.
ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 2

REAL_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1


def write(model, path, opset, dtype):
    """Write an `ExportedModel` as an ONNX model, atomically; see `EstimatorExports.to_onnx`."""
    opset = check_opset(opset)
    real_type = look_up("dtype", dtype, REAL_TYPES)
    names = model.names
    is_classifier = model.classes is not None
    check_names(names, ["label", "probabilities"] if is_classifier else ["prediction", "std"])
    graph = GraphBuilder(opset, choose_prefix(names))
    kinds = [choose_category_type(model, i) for i in range(len(model.encoder.categories_))]
    types = dict.fromkeys(names, real_type)
    for column, kind in zip(model.encoder.categorical_columns_, kinds, strict=True):
        types[names[column]] = kind
    inputs = [helper.make_tensor_value_info(n, kind, ["rows", 1]) for n, kind in types.items()]
    x = add_encoding(graph, model, kinds)
    add_outputs = add_classification if is_classifier else add_regression
    outputs = add_outputs(graph, model, x, real_type)
    write_model(graph, inputs, outputs, path, **{ML_DOMAIN: ML_OPSET})


def check_names(names, outputs):
    """Raise `ValueError` if the name of a column is empty, or also the name of an output."""
    for name in names:
        if not name:
            raise ValueError("the columns of X must have names that are not empty for to_onnx")
        if name in outputs:
            raise ValueError(
                f"the columns of X must not have the name of an output of the ONNX model; got "
                f"{name!r}"
            )


def choose_prefix(names):
    """Return a prefix that no column's name has."""
    prefix = "cmlp_"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return prefix


def choose_category_type(model, index):
    """Return the type of the tensor of a categorical column: int64, float64 or string."""
    categories = model.encoder.categories_[index]
    if len(categories) == 0 or any(isinstance(category, str) for category in categories):
        model.list_texts(index)
        return TensorProto.STRING
    if all(isinstance(c, int) and MIN_INT64 <= c <= MAX_INT64 for c in categories):
        return TensorProto.INT64
    for category in categories:
        if float(category) != category:
            name = model.names[model.encoder.categorical_columns_[index]]
            raise ValueError(
                f"the categories of column {name!r} must all be int64 or all be float64 for "
                f"to_onnx; got {category!r}"
            )
    return TensorProto.DOUBLE


def add_encoding(graph, model, kinds):
    """Add the encoding of the columns; return the name of the networks' input, float32."""
    encoder, names = model.encoder, model.names
    parts = []
    if len(encoder.numeric_columns_):
        parts += add_numbers(graph, encoder, [names[i] for i in encoder.numeric_columns_])
    for index in model.code_order:
        column = names[encoder.categorical_columns_[index]]
        parts.append(add_codes(graph, model, index, column, kinds[index]))
    return graph.add_node("Concat", *parts, axis=1)


def add_numbers(graph, encoder, names):
    """Add the scaled numbers and the indicators; return the names of both.

    Computed in float64, as `cmlp.tabular.scaling.scale` does; halves do not overflow.
    """
    double = np.float64
    numbers = graph.add_node("Concat", *names, axis=1)
    numbers = graph.add_node("Cast", numbers, to=TensorProto.DOUBLE)
    halves = graph.add_node("Mul", numbers, graph.add_constant(0.5, double))
    x = graph.add_node("Sub", halves, graph.add_constant(encoder.medians_ / 2, double))
    x = graph.add_node("Mul", x, graph.add_constant(encoder.factors_, double))
    bound = encoder.smooth_clip
    x = graph.add_node("Mul", x, graph.add_constant(2 / (bound or 1.0), double))
    if bound is not None:
        limits = [graph.add_constant(limit, double) for limit in (-SATURATION, SATURATION)]
        x = graph.add_node("Min", graph.add_node("Max", x, limits[0]), limits[1])
        square = graph.add_node("Mul", x, x)
        root = graph.add_node(
            "Sqrt", graph.add_node("Add", square, graph.add_constant(1.0, double))
        )
        x = graph.add_node("Mul", graph.add_node("Div", x, root), graph.add_constant(bound, double))
    # NaN: a missing number, or infinity times a factor of 0
    x = graph.add_node("Where", graph.add_node("IsNaN", x), graph.add_constant(0.0, double), x)
    parts = [graph.add_node("Cast", x, to=TensorProto.FLOAT)]
    if encoder.has_missing_.any():
        with_indicator = graph.select_columns(numbers, np.flatnonzero(encoder.has_missing_))
        is_missing = graph.add_node("IsNaN", with_indicator)
        signs = graph.add_constant(1.0), graph.add_constant(-1.0)
        parts.append(graph.add_node("Where", is_missing, *signs))
    return parts


def add_codes(graph, model, index, column, kind):
    """Add the codes of a categorical column; return their name, (rows, 1), float32."""
    categories = model.encoder.categories_[index]
    codes = np.arange(1.0, len(categories) + 1)
    if len(categories) == 0:
        zero = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
        return graph.add_node("ConstantOfShape", graph.add_node("Shape", column), value=zero)
    if kind == TensorProto.DOUBLE:  # LabelEncoder has float32 keys before its opset 4
        keys = graph.add_constant(categories.astype(np.float64), np.float64)
        is_category = graph.add_node("Equal", column, keys)
        found = graph.add_node("Cast", is_category, to=TensorProto.FLOAT)
        return graph.add_node("MatMul", found, graph.add_constant(codes[:, None]))
    if kind == TensorProto.STRING:
        keys = {"keys_strings": model.list_texts(index)}
    else:
        keys = {"keys_int64s": [int(category) for category in categories]}
    return graph.add_node(
        "LabelEncoder", column, domain=ML_DOMAIN, values_floats=codes.tolist(), default_float=0.0,
        **keys,
    )  # fmt: skip


def add_classification(graph, model, x, real_type):
    """Add the networks and the outputs of a classifier; return their descriptions."""
    n_classes = len(model.classes)
    if model.states:
        found = [
            add_temperature(graph, add_network(graph, x, state), model.temperature)
            for state in model.states
        ]
        probabilities = add_mean(graph, found, np.float32)
    else:
        first = graph.add_node("Shape", graph.select_columns(x, [0]))
        one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
        probabilities = graph.add_node("ConstantOfShape", first, value=one)
    graph.add_node("Identity", probabilities, output="probabilities")
    names, kind = convert_classes(model.classes)
    index = graph.add_node("ArgMax", "probabilities", axis=1, keepdims=0)
    graph.add_node("Gather", graph.add_constant(names, names.dtype), index, output="label")
    shape = ["rows", n_classes]
    return [
        helper.make_tensor_value_info("label", kind, ["rows"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape),
    ]


def convert_classes(classes):
    """Return classes as an array that ONNX can hold, and the type of its elements.

    Raises
    ------
    TypeError
        If there are classes of other types than those of ONNX.
    """
    values = classes.tolist()
    if all(isinstance(value, str) for value in values):
        return np.array(values, object), TensorProto.STRING
    if classes.dtype.kind in "iu" and all(MIN_INT64 <= value <= MAX_INT64 for value in values):
        return classes.astype(np.int64), TensorProto.INT64
    if classes.dtype.kind == "b":
        return classes, TensorProto.BOOL
    if classes.dtype.kind == "f":
        return classes.astype(np.float64), TensorProto.DOUBLE
    raise TypeError(
        f"classes_ must be all str, int64, bool or float for to_onnx; got {classes.tolist()!r}"
    )


def add_temperature(graph, probabilities, temperature):
    """Add softmax(log(p) / T), or p for T = 1; see `cmlp.tabular.calibration`."""
    if temperature == 1:
        return probabilities
    positive = graph.add_node("Max", probabilities, graph.add_constant(LEAST_PROBABILITY))
    logits = graph.multiply(graph.add_node("Log", positive), 1 / temperature)
    return graph.add_node("Softmax", logits, axis=1)


def add_mean(graph, names, dtype):
    """Add the mean of tensors of a dtype; return its name."""
    if len(names) == 1:
        return names[0]
    total = graph.add_node("Sum", *names)
    return graph.add_node("Div", total, graph.add_constant(len(names), dtype))


def add_regression(graph, model, x, real_type):
    """Add the networks and the outputs of a regressor; return their descriptions.

    From the networks' outputs on, all is computed in float64, as `RealMLPRegressor.predict` does.
    """
    outputs = [add_network(graph, x, state) for state in model.states]
    n = model.n_predictions
    found = [
        add_predictions(graph, each, model.loss, model.states[0].architecture.outputs)
        for each in outputs
    ]
    means = [add_decoding(graph, model, each) for each in found]
    clamped = [add_clamps(graph, model.targets, each) for each in means] if model.clamps else means
    results = {"prediction": add_mean(graph, clamped, np.float64)}
    if model.loss.has_std:
        results["std"] = add_deviation(graph, model, outputs, means)
    shape = ["rows"] if model.is_vector else ["rows", n]
    for name, result in results.items():
        if model.is_vector:
            result = graph.add_node("Squeeze", result, graph.add_constant([1], np.int64))
        graph.add_node("Cast", result, output=name, to=real_type)
    return [helper.make_tensor_value_info(name, real_type, shape) for name in results]


def add_decoding(graph, model, values):
    """Add the values in the units of the targets, float64."""
    targets, double = model.targets, np.float64
    values = graph.add_node("Cast", values, to=TensorProto.DOUBLE)
    scaled = graph.add_node("Mul", values, graph.add_constant(targets.deviation, double))
    return graph.add_node("Add", scaled, graph.add_constant(targets.mean, double))


def add_clamps(graph, targets, values):
    """Add the values within the range of the targets."""
    values = graph.add_node("Max", values, graph.add_constant(targets.lowest, np.float64))
    return graph.add_node("Min", values, graph.add_constant(targets.highest, np.float64))


def add_deviation(graph, model, outputs, means):
    """Add the standard deviations of the mixture of the networks' normal distributions."""
    n, variances = model.n_predictions, []
    for each in outputs:
        logarithms = graph.select_columns(each, range(n, 2 * n))
        least = graph.add_constant(math.log(model.loss.parameter))
        excess = graph.add_node("Sub", logarithms, least)
        logarithm = graph.add_node("Add", graph.add_node("Softplus", excess), least)
        std = graph.add_node("Exp", graph.multiply(logarithm, 0.5))
        std = graph.add_node("Cast", std, to=TensorProto.DOUBLE)
        deviation = graph.add_constant(model.targets.deviation, np.float64)
        std = graph.add_node("Mul", std, deviation)
        variances.append(graph.add_node("Mul", std, std))
    variance = variances[0]
    if len(variances) > 1:
        mean = add_mean(graph, means, np.float64)
        changes = [graph.add_node("Sub", each, mean) for each in means]
        squares = [graph.add_node("Mul", change, change) for change in changes]
        between = add_mean(graph, squares, np.float64)
        variance = graph.add_node("Add", add_mean(graph, variances, np.float64), between)
    return graph.add_node("Sqrt", variance)

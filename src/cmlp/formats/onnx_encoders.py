"""Encoders in ONNX: the input layers of `cmlp.layers` as nodes of the standard operators.

Each function adds the computed columns of one kind of encoder for the columns that it replaces, in
their order; `add_encoder` puts them between the columns that are copied.
"""

import numpy as np
from onnx import TensorProto


def add_encoder(graph, x, encoder):
    """Add the nodes of a `FoldedEncoder`; return the name of its outputs.

    Parameters
    ----------
    graph : GraphBuilder
    x : str
        The input, (samples, inputs), float32.
    encoder : FoldedEncoder
    """
    plan, order = encoder.plan, encoder.compute_order()
    given = x
    if len(plan.kept_column) or not is_range(plan.column):
        given = graph.select_columns(x, plan.column)
    outputs = ENCODER_NODES[encoder.layer.kind](graph, given, encoder)
    if len(plan.kept_column):
        kept = graph.select_columns(x, plan.kept_column)
        outputs = graph.add_node("Concat", kept, outputs, axis=1)
    return outputs if is_range(order) else graph.select_columns(outputs, order)


def is_range(indices):
    """Return whether indices are 0, 1, 2, ..."""
    return np.array_equal(indices, np.arange(len(indices)))


def add_scale(graph, x, encoder):
    """Add the columns of a `Scale`."""
    return graph.multiply(x, encoder.values["input_scale"].T)


def add_one_hot(graph, x, encoder):
    """Add the columns of a `OneHot`; -1 and 1 in one column for two categories."""
    categories = encoder.plan.categories
    widths = encoder.list_counts()
    codes = [[2] if count == 2 else range(1, count + 1) for count in categories]
    repeated = graph.select_columns(x, np.repeat(np.arange(len(widths)), widths))
    outputs = add_equality(graph, repeated, np.concatenate(codes))
    if 2 not in categories:
        return outputs
    is_pair = np.repeat(categories == 2, widths).astype(np.float32)
    first = graph.multiply(add_equality(graph, repeated, np.ones(1)), is_pair)
    return graph.add_node("Sub", outputs, first)


def add_equality(graph, x, values):
    """Add 1 where `x` equals a value, else 0."""
    is_equal = graph.add_node("Equal", x, graph.add_constant(values))
    return graph.add_node("Cast", is_equal, to=TensorProto.FLOAT)


def add_embedding(graph, x, encoder):
    """Add the columns of an `Embedding`: rows of a table that has zeros for each code 0."""
    table, first = encoder.stack_tables()
    codes = add_codes(graph, x, encoder.plan.categories)
    rows = graph.add_node(
        "Add", graph.add_node("Cast", codes, to=TensorProto.INT64),
        graph.add_constant(first, np.int64),
    )  # fmt: skip
    vectors = graph.add_node("Gather", graph.add_constant(table), rows)
    return add_flat(graph, vectors, len(first) * table.shape[1])


def add_codes(graph, x, categories):
    """Add the codes of `x`, with 0 for all other numbers and for NaN."""
    is_whole = graph.add_node("Equal", x, graph.add_node("Floor", x))
    is_positive = graph.add_node("Greater", x, graph.add_constant(0.0))
    is_known = graph.add_node("LessOrEqual", x, graph.add_constant(categories))
    is_code = graph.add_node("And", graph.add_node("And", is_whole, is_positive), is_known)
    return graph.add_node("Where", is_code, x, graph.add_constant(0.0))


def add_flat(graph, x, width):
    """Add `x`, (samples, ...), as rows of `width` numbers."""
    return graph.add_node("Reshape", x, graph.add_constant([0, width], np.int64))


def add_periodic(graph, x, encoder):
    """Add the columns of a `Periodic`.

    The angle is reduced in turns, where it is exact: its sine and cosine are as accurate as those
    of the engine for any number of turns.
    """
    layer, values = encoder.layer, encoder.values
    numbers = graph.add_node("Unsqueeze", x, graph.add_constant([2], np.int64))
    turns = graph.multiply(numbers, values["frequency"].T)
    if layer.has_phases:
        phase = graph.add_constant(values["phase"].T / (2 * np.pi))
        turns = graph.add_node("Add", turns, phase)
    rest = graph.add_node("Sub", turns, graph.add_node("Round", turns))
    angles = graph.multiply(rest, 2 * np.pi)
    features = graph.add_node("Cos", angles)
    if not layer.has_phases:
        features = graph.add_node("Concat", features, graph.add_node("Sin", angles), axis=2)
    weight, bias = encoder.stack_maps()
    # (columns, samples, features) times (columns, features, outputs)
    features = graph.add_node("Transpose", features, perm=[1, 0, 2])
    outputs = graph.add_node("MatMul", features, graph.add_constant(weight))
    outputs = graph.add_node("Add", outputs, graph.add_constant(bias[:, None]))
    if layer.rectifies:
        outputs = graph.add_node("Relu", outputs)
    outputs = graph.add_node("Transpose", outputs, perm=[1, 0, 2])
    if layer.keeps_value:
        outputs = graph.add_node("Concat", outputs, numbers, axis=2)
    return add_flat(graph, outputs, len(bias) * layer.outputs)


# Kind of encoder -> function of (graph, name of the replaced columns, FoldedEncoder) that adds its
# nodes and returns the name of the computed columns.
ENCODER_NODES = {
    "scale": add_scale, "one_hot": add_one_hot, "embedding": add_embedding,
    "periodic": add_periodic,
}  # fmt: skip

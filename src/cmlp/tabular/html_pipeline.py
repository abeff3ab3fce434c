"""An estimator for tables as a web page: controls for its columns, and its predictions."""

import math

import numpy as np

from cmlp._utils.validation import look_up
from cmlp.formats.html import choose_title, write_page
from cmlp.formats.html_controls import (
    DEFAULT_RANGE,
    LEAST_SPAN,
    check_texts,
    is_range,
    make_choice,
    make_number,
    spread,
)
from cmlp.formats.html_layers import ArrayList, describe_head, describe_network


def write(model, path, target_name, *, labels, ranges, values, title, weights):
    """Write an `ExportedModel` as a page, atomically; see `EstimatorExports.to_html`.

    Parameters
    ----------
    model : ExportedModel
    path : str or os.PathLike
    target_name : str or None
        Name of a single target.
    labels, ranges, values, title, weights
        As in `EstimatorExports.to_html`.
    """
    look_up("weights", weights, {"float32": None, "int8": None})
    description = {
        "kind": "table",
        "title": choose_title(title, path),
        "sizes": list(model.states[0].architecture.sizes) if model.states else [],
        "labels": choose_labels(model, labels, target_name),
        "head": describe_pipeline_head(model),
        "encoding": describe_encoding(model),
        "inputs": list_controls(model, ranges, values),
    }
    arrays = ArrayList()
    description["networks"] = [
        describe_network(state, arrays, weights == "int8") for state in model.states
    ]
    write_page(description, arrays.arrays, path)


def choose_labels(model, labels, target_name):
    """Return the names of the classes or targets, a list of str."""
    is_classifier = model.classes is not None
    count = len(model.classes) if is_classifier else len(model.targets.mean)
    if labels is None and is_classifier:
        labels = [str(each) for each in model.classes]
    elif labels is None:
        labels = [target_name or "prediction"] if count == 1 else [f"y{i}" for i in range(count)]
    return check_texts("labels", labels, count, "class" if is_classifier else "target")


def describe_pipeline_head(model):
    """Return the fields that lead from the networks' outputs to predictions."""
    if not model.states:  # a single class
        return {"isClassifier": True, "task": "multiclass", "hasProbabilities": True}
    head = describe_head(model.states[0])
    if model.classes is not None:
        return head | {"temperature": model.temperature}
    targets, n = model.targets, model.n_predictions
    unit = {"scale": targets.deviation, "shift": targets.mean, "lowest": None, "highest": None}
    if model.clamps:
        unit |= {"lowest": targets.lowest, "highest": targets.highest}
    # Of several quantiles, which have one target, each has the same.
    unit = {name: None if value is None else np.broadcast_to(value, n).tolist()
            for name, value in unit.items()}  # fmt: skip
    return head | {"unit": unit}


def describe_encoding(model):
    """Return the fields of the preprocessing, from numbers and codes to the networks' inputs."""
    encoder = model.encoder
    return {
        "medians": encoder.medians_.tolist(),
        "factors": encoder.factors_.tolist(),
        "bound": encoder.smooth_clip or 0.0,
        "withIndicator": np.flatnonzero(encoder.has_missing_).tolist(),
        "codeOrder": model.code_order,
    }


def list_controls(model, ranges, values):
    """Return the controls of the columns, in the order of the table.

    Raises
    ------
    TypeError, ValueError
        If an option does not fit.
    """
    encoder, names = model.encoder, model.names
    is_shared = is_range(ranges.tolist() if isinstance(ranges, np.ndarray) else ranges)
    ranges = spread("ranges", ranges, names, is_range)
    values = spread("values", values, names, lambda value: False)
    controls = [None] * len(names)
    for i, column in enumerate(encoder.numeric_columns_.tolist()):
        median, factor = float(encoder.medians_[i]), float(encoder.factors_[i])
        controls[column] = make_number(
            names[column], ranges[column], values[column], choose_range(median, factor), median
        ) | {"mayMiss": True}
    for i, column in enumerate(encoder.categorical_columns_.tolist()):
        if ranges[column] is not None and not is_shared:
            raise ValueError(
                f"ranges must be given for numeric columns only; got {names[column]!r}"
            )
        texts = model.list_texts(i)
        check_texts("the categories", texts, len(texts), "category")
        controls[column] = make_choice(names[column], texts, values[column])
    check_texts("the names of the columns", names, len(names), "column")
    return controls


def choose_range(median, factor):
    """Return the range of a column, by its median and `factor`, which is 1 / IQR or 0.

    The ends are two digits long, so that the slider has round numbers.
    """
    half = 2 / factor if factor else max(1.0, abs(median) / 2)
    if not (half > LEAST_SPAN and math.isfinite(2 * (abs(median) + half))):
        return DEFAULT_RANGE
    unit = 10.0 ** math.floor(math.log10(half))
    low, high = math.floor((median - half) / unit) * unit, math.ceil((median + half) / unit) * unit
    low, high = (float(f"{value:.15g}") for value in (low, high))
    return (low, high) if high - low >= LEAST_SPAN else DEFAULT_RANGE

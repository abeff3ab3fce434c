"""Models in files, and what they need of a table."""

import numpy as np

from cmlp import Network, QuantizedNetwork, formats
from cmlp._cli.errors import CommandError, list_names
from cmlp._cli.tables import CATEGORY, NUMBER, check_columns, find_column
from cmlp._model.state import ModelState
from cmlp.datasets.tables import LABEL_NAMES

# Key of the training record of a network in a checkpoint whose columns are standardized.
STANDARDIZED = "standardized"


def load_model(path, to_predict=True):
    """Return the `Network`, `QuantizedNetwork` or estimator for tables that a file stores.

    Parameters
    ----------
    path : str
    to_predict : bool, default True
        Whether to refuse checkpoints whose scale is not the scale of the data.

    Raises
    ------
    CommandError, ValueError, OSError
        If the file is not a model, or such a checkpoint.
    """
    native = formats.get_native_format(path, for_reading=True)
    with native.open_archive(path) as reader:
        section = reader.header.get("tabular")
    if section is not None:
        from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

        name = section.get("class") if isinstance(section, dict) else None
        is_regressor = name == RealMLPRegressor.__name__
        return (RealMLPRegressor if is_regressor else RealMLPClassifier).load(path)
    state = native.read(path)
    if isinstance(state, ModelState):
        is_standardized = state.checkpoint is not None and (state.training or {}).get(STANDARDIZED)
        if to_predict and is_standardized:
            raise CommandError(
                f"{path} is a checkpoint of training on standardized columns, and its network has "
                "their scale: take the file of --out, which 'cmlp train --resume' writes"
            )
        state.checkpoint = None  # as in Network.load
        return Network.from_state(state)
    return QuantizedNetwork(state)


def is_estimator(model):
    """Return whether a model is an estimator for tables."""
    return not isinstance(model, (Network, QuantizedNetwork))


def list_inputs(model):
    """Return the names of the columns that a model reads, or their number if it has no names."""
    if not is_estimator(model):
        names, n_inputs = (model.state.training or {}).get("columns"), model.size[0]
        is_valid = isinstance(names, list) and len(set(map(str, names))) == n_inputs == len(names)
        return list(map(str, names)) if is_valid else n_inputs
    names = getattr(model.encoder_, "feature_names_in_", None)
    return model.n_features_in_ if names is None else list(names)


def get_target_name(model):
    """Return the name of the target's column that a model was trained with, or None."""
    if is_estimator(model):
        return getattr(model, "target_name_", None)
    name = (model.state.training or {}).get("target")
    return name if isinstance(name, str) else None


def set_names(network, columns, target, X):
    """Store the names of the columns and of the target that a network was trained with.

    Parameters
    ----------
    network : Network
    columns : iterable of str
    target : str
    X : ndarray, shape (n_rows, n_columns)
        Of the training. The ranges of its columns are stored too, for web pages.
    """
    record = {"columns": list(columns), "target": target}
    for name, values in (("minimum", X.min(0)), ("maximum", X.max(0)),
                         ("mean", X.mean(0, dtype=np.float64))):  # fmt: skip
        record[f"columns_{name}"] = [float(f"{value:.6g}") for value in values]
    network.state.training = (network.state.training or {}) | record


def choose_inputs(model, path, names, has_names, target=None):
    """Return which columns of a table a model reads.

    Parameters
    ----------
    model : Network, QuantizedNetwork or estimator
    path : str
    names : list of str
        The columns of the table.
    has_names : bool
        Whether the names are in the file.
    target : str, optional
        The target's column, as for `find_target`. If the model or the table has no names of
        columns, the model reads all but the target, in the order of the file.

    Returns
    -------
    list of str

    Raises
    ------
    CommandError
        If columns are missing, or their number does not fit.
    """
    needed = list_inputs(model)
    if isinstance(needed, list):
        if has_names or set(needed) <= set(names):
            check_columns(path, names, needed)
            return needed
        needed = len(needed)
    if target is not None or len(names) == needed + 1:
        target = find_target(path, names, has_names, target)
        names = [name for name in names if name != target]
    if len(names) != needed:
        beside = "" if target is None else f" beside the target {target!r}"
        raise CommandError(
            f"{path}: without names of columns, the model needs {needed} in the order of its "
            f"training data; got {len(names)}{beside}"
        )
    return names


def choose_target(model, path, names, has_names, target=None):
    """Return the name of the target's column in a table.

    Parameters
    ----------
    model, path, names, has_names, target
        As for `choose_inputs`. Without a target, it is the column that the model was trained with;
        if the model has no name of it, the only column that the model does not read, or else as for
        `find_target`.

    Raises
    ------
    CommandError, ValueError
        If there is no such column, or the model reads it.
    """
    needed, stored = list_inputs(model), get_target_name(model)
    needed = needed if isinstance(needed, list) else []
    others = [name for name in names if name not in needed]
    if target is None and stored is not None:
        if stored in names:
            return stored
        if has_names:
            raise CommandError(
                f"{path}: the file must have the column {stored!r}, the target of the training, or "
                f"--target must name another one; the columns are {list_names(names)}"
            )
    elif target is None and needed and len(others) == 1:
        return others[0]
    name = find_target(path, names, has_names, target)
    if name in needed:
        raise CommandError(
            f"{path}: give the column of the target by --target; "
            + (f"the model reads {name!r}" if others else "the model reads all columns of the file")
        )
    return name


def find_target(path, names, has_names, target):
    """Return the name of the target's column as `find_column`, but never the last by default.

    Parameters
    ----------
    path, names, has_names, target
        As for `choose_inputs`.

    Raises
    ------
    CommandError, ValueError
        If there is no such column, or no target is given and no name is a common one of targets.
    """
    name = find_column(path, names, has_names, target)
    if target is None and not (has_names and name.lower() in LABEL_NAMES):
        raise CommandError(
            f"{path}: --target must be given: the name or the index of the column that is not an "
            f"input of the model; the columns are {list_names(names)}"
        )
    return name


def choose_kinds(model, inputs):
    """Return a dict from the names of the columns that a model reads to their kinds."""
    if not is_estimator(model):
        return dict.fromkeys(inputs, NUMBER)
    categorical = set(model.encoder_.categorical_columns_.tolist())
    return {name: CATEGORY if i in categorical else NUMBER for i, name in enumerate(inputs)}


def make_inputs(model, table, inputs):
    """Return columns of a table as a model takes them.

    Parameters
    ----------
    model : Network, QuantizedNetwork or estimator
    table : Table
        Of the kinds that `choose_kinds` returns.
    inputs : list of str

    Returns
    -------
    dict from str to ndarray, or ndarray of float32, shape (n_rows, n_columns)
    """
    if not is_estimator(model):
        return table.to_matrix(inputs)
    arrays = [table.columns[name] for name in inputs]
    encoder, names = model.encoder_, list_inputs(model)
    for i, categories in zip(encoder.categorical_columns_, encoder.categories_, strict=True):
        arrays[i] = match_values(arrays[i], categories.tolist())
    return dict(zip(names if isinstance(names, list) else inputs, arrays, strict=True))


def match_values(column, known):
    """Return texts as the categories or labels that are written like them; others unchanged.

    Parameters
    ----------
    column : ndarray of str objects or None, shape (n_rows,)
    known : list of str, int, float or bool
    """
    lookup = {str(value): value for value in known}
    numbers = {float(value): value for value in known if not isinstance(value, str)}
    if numbers:
        texts = {text for text in column.tolist() if text is not None and text not in lookup}
        lookup |= {
            text: value for text in texts if (value := find_number(text, numbers)) is not None
        }
    matched = np.empty(len(column), object)
    matched[:] = [lookup.get(text, text) for text in column.tolist()]
    return matched


def find_number(text, numbers):
    """Return the value of a dict from floats that a text stands for, or None."""
    try:
        return numbers.get(float(text.replace(",", ".")))
    except ValueError:
        return None

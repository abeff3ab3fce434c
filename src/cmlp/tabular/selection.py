"""The argument `categorical_features`: which columns are categorical."""

import numpy as np

FROM_DTYPE = "from_dtype"
KINDS = "an array-like of bool, int or str"


def select_categorical(categorical_features, names, columns):
    """Return which columns are categorical.

    The messages are those of scikit-learn's HistGradientBoostingClassifier.

    Parameters
    ----------
    categorical_features : {"from_dtype"}, array-like of bool, int or str, or None
    names : list or None
        The column names, if the table has any.
    columns : list of Column

    Returns
    -------
    ndarray of bool, shape (n_columns,)

    Raises
    ------
    ValueError
        If `categorical_features` is none of these, or names a column that does not exist.
    """
    if categorical_features is None:
        return np.zeros(len(columns), bool)
    if isinstance(categorical_features, str):
        if categorical_features != FROM_DTYPE:
            raise ValueError(
                f"categorical_features must be {FROM_DTYPE!r}, {KINDS}, or None; "
                f"got {categorical_features!r}"
            )
        return np.array([column.is_categorical for column in columns], bool)
    selected = check_selection(categorical_features)
    mask = np.zeros(len(columns), bool)
    if not selected:
        return mask
    if isinstance(selected[0], str):
        mask[find_names(selected, names)] = True
    elif isinstance(selected[0], bool):
        if len(selected) != len(columns):
            raise ValueError(
                "categorical_features set as a boolean mask must have shape (n_features,), "
                f"got: ({len(selected)},)"
            )
        mask[:] = selected
    else:
        if max(selected) >= len(columns) or min(selected) < 0:
            raise ValueError(
                "categorical_features set as integer indices must be in [0, n_features - 1]"
            )
        mask[selected] = True
    return mask


def check_selection(categorical_features):
    """Return an array-like of bool, int or str as a list of Python's bool, int or str."""
    array = np.asarray(categorical_features)
    if array.ndim != 1:
        raise ValueError(f"categorical_features must be {KINDS}, got: {categorical_features!r}")
    types = set(map(type, categorical_features)) if array.dtype.kind in "OU" else set()
    is_string = all(issubclass(kind, str) for kind in types)
    if array.size and not (array.dtype.kind in "biu" or (array.dtype.kind in "OU" and is_string)):
        found = ", ".join(sorted(kind.__name__ for kind in types)) or array.dtype.name
        raise ValueError(f"categorical_features must be {KINDS}, got: {found}.")
    return array.tolist()


def find_names(selected, names):
    """Return the indices of the columns with the given names."""
    if names is None or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a boolean mask "
            "when the model is fitted on data without feature names."
        )
    indices = {name: index for index, name in enumerate(names)}
    for name in selected:
        if name not in indices:
            raise ValueError(
                f"categorical_features has an item value {name!r} which is not a valid feature "
                f"name of the training data. Observed feature names: {names}"
            )
    return [indices[name] for name in selected]

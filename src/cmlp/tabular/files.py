"""Files of the estimators, without pickle: `save` and `load`.

A file is a native one, ``.npz`` or ``.safetensors``, whose header has the key ``tabular`` instead
of an architecture: the class and its arguments, the encoder, the targets, and the headers of the
networks. The arrays of the i-th network have the prefix ``network_<i>_``.
"""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cmlp import formats
from cmlp._model.state import ModelState
from cmlp._training.history import History
from cmlp._utils.fields import list_defaults
from cmlp._utils.schema import (
    Anything,
    Boolean,
    Fields,
    FiniteArray,
    Integer,
    Items,
    Nullable,
    Real,
    Text,
)
from cmlp.formats.archive import (
    ArchiveReader,
    MemoryReader,
    is_plain_network,
    pack,
    pack_memory,
    unpack,
)
from cmlp.formats.finite import check_finite
from cmlp.network import Network
from cmlp.tabular.encoding import TableEncoder
from cmlp.tabular.fields import SCHEMA as ENCODER_SCHEMA
from cmlp.tabular.networks import InputColumns
from cmlp.tabular.settings import CLASSIFICATION
from cmlp.tabular.targets import ClassTargets, RealTargets

LABEL_KINDS = "biufUO"  # of dtypes

SCHEMA = Fields(
    {
        "class": Text(),
        "arguments": Fields({}, {}, Anything()),
        "encoder": Anything(),
        "max_one_hot": Nullable(Integer(1)),
        "best_epochs": Items(Integer(-1)),
        "networks": Items(Fields({}, {}, Anything())),
    },
    {"labels": Fields({"dtype": Text(), "values": Items(Anything())}, {}),
     "temperature": Real(1e-9), "targets": Integer(1), "is_vector": Boolean(),
     "clamps": Boolean(), "target_name": Text()},
)  # fmt: skip

TARGET_ARRAYS = "mean", "deviation", "lowest", "highest"
ENCODER_ARRAYS = "medians", "factors"
DOUBLE = np.dtype(np.float64)


# Types of JSON values that arguments may have; True and False are integers too.
PLAIN = int, float, str, type(None)


# Attributes of a fitted estimator that a file stores, or that follow from it.
STORED = (
    "encoder_", "networks_", "best_epochs_", "temperature_", "n_features_in_", "feature_names_in_",
    "_columns", "_targets", "_clamps", "target_name_",
)  # fmt: skip


class EstimatorFiles:
    """A mixin of the estimators: `save`, `load` and pickles."""

    def save(self, path):
        """Write the fitted estimator to a file; an existing file is replaced atomically.

        The file has the networks and all that predictions need, but neither the histories nor
        `oof_prediction_`. Arguments other than numbers, strings, None, and lists, arrays and dicts
        of them, such as a splitter or a random state, are left out: `load` sets them to their
        defaults.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.npz`` or, with the package safetensors, ``.safetensors``.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the path has another extension, or labels are neither numbers nor strings.
        """
        check_is_fitted(self)
        formats.get_native_format(path).write_archive(path, *pack_estimator(self))

    @classmethod
    def load(cls, path):
        """Read an estimator that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        RealMLPClassifier or RealMLPRegressor

        Raises
        ------
        ValueError
            If the file is not an estimator of this class; the message names the file and the
            reason.
        FileNotFoundError
            If the file does not exist.
        """
        with formats.get_native_format(path, for_reading=True).open_archive(path) as reader:
            try:
                return unpack_estimator(cls, reader)
            except (TypeError, ValueError, OverflowError) as error:
                if str(error).startswith(reader.path):
                    raise
                raise reader.make_error(error) from None

    # A pickle has the header and the arrays of a file instead of objects of cmlp, which tools that
    # load files without executing code (skops) would ask the user to trust.

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "histories_" in state:
            state["histories_"] = [history.epochs for history in state["histories_"]]
        if not all(map(is_plain_network, state.get("networks_", [None]))):
            return state
        try:
            packed = pack_memory(*pack_estimator(self))
        except ValueError:  # labels or parameters that files do not store
            return state
        for name in STORED:
            state.pop(name, None)
        return {**state, "_packed": packed}

    def __setstate__(self, state):
        state = list_defaults(type(self)) | state
        packed, histories = state.pop("_packed", None), state.get("histories_", ())
        for i, epochs in enumerate(histories):
            if isinstance(epochs, list):
                histories[i] = History.from_epochs(epochs)
        super().__setstate__(state)
        if packed is not None:
            reader = MemoryReader(packed)
            load_fitted(self, reader, SCHEMA.check("tabular", reader.header["tabular"]))
            for network, history in zip(self.networks_, histories, strict=False):
                network.state.history = history


def to_json(value):
    """Return a value of an argument for JSON; None as the second item if it cannot be stored."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        value = value.tolist()
    if isinstance(value, dict):
        pairs, is_plain = to_json(list(value.items()))
        return {"items": pairs}, is_plain
    if isinstance(value, PLAIN):
        return value, True
    if isinstance(value, (list, tuple)):
        items = [to_json(item) for item in value]
        return [item for item, _ in items], all(is_plain for _, is_plain in items)
    return None, False


def from_json(value):
    """Return a value that `to_json` has stored; raise ValueError for a dict that it has not."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    pairs = value.get("items")
    if len(value) != 1 or not isinstance(pairs, list) or not all(map(is_pair, pairs)):
        raise ValueError("tabular.arguments must have dicts as lists of pairs")
    return {key: from_json(item) for key, item in pairs}


def is_pair(value):
    """Return whether a value is a list of a key and any other value."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], PLAIN)


def pack_estimator(estimator):
    """Return a fitted estimator as a header and named arrays; see `load`."""
    fields, encoder_arrays = estimator.encoder_.to_fields()
    arguments = {name: to_json(value) for name, value in estimator.get_params(deep=False).items()}
    section = {
        "class": type(estimator).__name__,
        "arguments": {name: value for name, (value, is_plain) in arguments.items() if is_plain},
        "encoder": fields, "max_one_hot": estimator._columns.max_one_hot,
        "best_epochs": list(map(int, estimator.best_epochs_)), "networks": [],
    }  # fmt: skip
    if getattr(estimator, "target_name_", None) is not None:
        section["target_name"] = estimator.target_name_
    arrays = {f"encoder_{name}": array for name, array in encoder_arrays.items()}
    targets = estimator._targets
    if isinstance(targets, ClassTargets):
        section |= {"labels": pack_labels(targets.classes), "temperature": estimator.temperature_}
    else:
        section |= {
            "targets": len(targets.mean), "is_vector": targets.is_vector,
            "clamps": estimator._clamps,
        }  # fmt: skip
        arrays |= {f"target_{name}": getattr(targets, name) for name in TARGET_ARRAYS}
    for i, network in enumerate(estimator.networks_):
        header, found = pack(network.state)
        check_finite(found, network.dtype)
        section["networks"].append(header)
        arrays |= {f"network_{i}_{name}": array for name, array in found.items()}
    return {"tabular": section}, arrays


def pack_labels(classes):
    """Return the labels of classes as their dtype and a list of numbers or strings."""
    values = classes.tolist()
    is_plain = all(isinstance(value, (bool, int, float, str)) for value in values)
    if classes.dtype.kind not in LABEL_KINDS or not is_plain:
        raise ValueError(
            f"y must have numbers or strings as labels for save; got {classes.dtype}, such as "
            f"{values[0]!r}"
        )
    return {"dtype": classes.dtype.str, "values": values}


def unpack_labels(labels):
    """Return the labels that `pack_labels` has packed; raise ValueError if they are invalid."""
    try:
        dtype = np.dtype(labels["dtype"])
    except (TypeError, ValueError, SyntaxError):  # NumPy parses a string such as "(2,f4"
        dtype = np.dtype("V1")
    values = labels["values"]
    is_plain = all(isinstance(value, (bool, int, float, str)) for value in values)
    if dtype.kind not in LABEL_KINDS or not is_plain or not values:
        raise ValueError("labels must be numbers or strings of a suitable dtype, at least one")
    classes = np.array(values, dtype)
    if classes.tolist() != values or not (classes[:-1] < classes[1:]).all():
        raise ValueError("labels must be in ascending order, of their dtype")
    return classes


class NetworkReader(ArchiveReader):
    """The arrays of one network of a file, whose header is an item of the file's.

    Parameters
    ----------
    parent : ArchiveReader
    header : dict
    prefix : str
        Of the names of the network's arrays.
    """

    def __init__(self, parent, header, prefix):
        super().__init__(parent.path)
        self.parent, self.header, self.prefix = parent, header, prefix

    def read(self, name, shape, dtype):
        """Return the array `name` of the network; raise ValueError unless it fits."""
        return self.parent.read(self.prefix + name, shape, dtype)


def unpack_estimator(cls, reader):
    """Return the estimator that a file stores.

    Parameters
    ----------
    cls : type
        The class that it must have.
    reader : ArchiveReader

    Raises
    ------
    TypeError, ValueError
        If the contents of the file are invalid.
    """
    if "tabular" not in reader.header:
        raise ValueError("it has no estimator of cmlp.tabular")
    section = SCHEMA.check("tabular", reader.header["tabular"])
    if section["class"] != cls.__name__:
        raise ValueError(f"its estimator is a {section['class']}, not a {cls.__name__}")
    names = cls._get_param_names()
    for name in section["arguments"]:
        if name not in names:
            raise ValueError(f"tabular.arguments.{name} is not a known key")
    estimator = cls(**{name: from_json(value) for name, value in section["arguments"].items()})
    load_fitted(estimator, reader, section)
    reader.check_all_read()
    return estimator


def load_fitted(estimator, reader, section):
    """Set the attributes of an estimator that a file stores.

    Parameters
    ----------
    estimator : RealMLP
        Has the arguments of the file.
    reader : ArchiveReader
    section : dict
        Of the header, with the types and keys of `SCHEMA`.

    Raises
    ------
    TypeError, ValueError
        If the contents of the file are invalid.
    """
    encoder = unpack_encoder(reader, section["encoder"])
    columns = InputColumns(encoder, section["max_one_hot"])
    targets = unpack_targets(estimator, reader, section)
    estimator._set_fitted(encoder, columns, targets, section.get("clamps", False))
    estimator.best_epochs_ = section["best_epochs"]
    estimator.target_name_ = section.get("target_name")
    estimator.networks_ = [
        unpack_network(NetworkReader(reader, header, f"network_{i}_"), columns, targets)
        for i, header in enumerate(section["networks"])
    ]
    if not estimator.networks_ or len(estimator.best_epochs_) != len(estimator.networks_):
        raise ValueError("tabular.networks and best_epochs must have equal lengths, at least one")


def unpack_encoder(reader, fields):
    """Return the `TableEncoder` of a file."""
    columns = ENCODER_SCHEMA.check("tabular.encoder", fields)["columns"]
    shape = (sum(column["kind"] == "numeric" for column in columns),)
    arrays = {name: reader.read(f"encoder_{name}", shape, DOUBLE) for name in ENCODER_ARRAYS}
    return TableEncoder.from_fields(fields, arrays)


def unpack_targets(estimator, reader, section):
    """Return the targets of the estimator of a file, and set its temperature."""
    is_classifier = estimator._task == CLASSIFICATION
    for name in ("labels", "temperature") if is_classifier else ("targets", "is_vector", "clamps"):
        if name not in section:
            raise ValueError(f"tabular.{name} is missing")
    if is_classifier:
        estimator.temperature_ = section["temperature"]
        return ClassTargets(unpack_labels(section["labels"]))
    shape = (section["targets"],)
    arrays = [
        FiniteArray(shape, DOUBLE).check(name, reader.read(f"target_{name}", shape, DOUBLE))
        for name in TARGET_ARRAYS
    ]
    return RealTargets(*arrays, section["is_vector"])


def unpack_network(reader, columns, targets):
    """Return a network of a file.

    Parameters
    ----------
    reader : NetworkReader
    columns : InputColumns
    targets : ClassTargets or RealTargets

    Raises
    ------
    ValueError
        If it is invalid, or its inputs or outputs do not fit.
    """
    state = unpack(reader)
    if not isinstance(state, ModelState):
        raise ValueError("tabular.networks must not be quantized")
    architecture = state.architecture
    is_classifier = isinstance(targets, ClassTargets)
    expected = columns.width, targets.count_outputs(architecture.loss)
    found = architecture.inputs, architecture.outputs
    if found != expected or (architecture.loss.name == "cross_entropy") != is_classifier:
        raise ValueError(
            f"tabular.networks must have {expected[0]} inputs and {expected[1]} outputs, and suit "
            f"the targets; got {found[0]} and {found[1]}, loss {architecture.loss.name}"
        )
    return Network.from_state(state)

"""The options of ``cmlp train`` from flags, ``--set`` and a configuration file.

All have one flat namespace, as no two arguments of `Network`, `Network.fit`, the optimizers and the
estimators for tables have the same name with different meanings.
"""

import argparse
import contextlib
import inspect
import tomllib
from dataclasses import fields

from cmlp import Network, callbacks, layers, optimizers, schedules
from cmlp._cli.errors import CommandError, suggest
from cmlp._training.arguments import OPTION_NAMES
from cmlp._utils.validation import look_up
from cmlp.lbfgs import LBFGS
from cmlp.normalizations import NORMALIZATIONS

# Name of an argument of the estimators -> the same option's name for networks.
ALIASES = {
    "max_epochs": "epochs", "learning_rate": "lr", "random_state": "seed", "n_jobs": "threads",
    "validation_fraction": "validation_split", "label": "target", "sizes": "layers",
}  # fmt: skip

# Options of the command itself that need a table, and the others.
TABLE_NAMES = frozenset([
    "target", "drop", "categorical", "missing", "separator", "header", "encoding", "test", "task",
])  # fmt: skip
COMMAND_NAMES = TABLE_NAMES | {"data", "test_split", "model", "out", "plot", "quiet"}

# Flags that only the estimators have.
ESTIMATOR_FLAGS = frozenset(["preset", "variant", "cv", "time_limit"])

# Options of the command that only networks have.
NETWORK_NAMES = frozenset([
    "layers", "standardize", "checkpoint", "checkpoint_every", "resume", "mpi",
])  # fmt: skip

# Arguments that only Python can give: arrays, functions, communicators.
PYTHON_ONLY = frozenset([
    "validation_data", "sample_weight", "callbacks", "comm", "distribute", "progress", "verbose",
    "categorical_features",
])  # fmt: skip

# Options that both kinds of models have. Those that select a network are left out.
SHARED_NAMES = frozenset([
    "epochs", "lr", "seed", "threads", "validation_split", "init", "decay_schedule",
    "compute_dtype", "betas", "batch_size", "dropout_schedule", "dropout", "schedule",
    "early_stopping", "class_weight", "weight_decay", "dtype",
])  # fmt: skip

# Losses of the regressor and of the classifier for tables.
REGRESSOR_LOSSES = ("mse", "mae", "huber", "log_cosh", "pinball", "gaussian_nll")
ESTIMATOR_LOSSES = (*REGRESSOR_LOSSES, "cross_entropy")

# First characters of lists, tables and strings in TOML.
OPENING = ("[", "{", '"', "'")

SCHEDULES = {name: type(schedule) for name, schedule in schedules.NAMES.items()}

INPUT_LAYERS = {
    "embedding": layers.Embedding, "one_hot": layers.OneHot, "periodic": layers.Periodic,
    "scale": layers.Scale,
}  # fmt: skip

# Option -> classes by name that a table such as {name = "step", every = 10} makes.
CLASSES = {
    "schedule": SCHEDULES, "decay_schedule": SCHEDULES, "dropout_schedule": SCHEDULES,
    "normalization": NORMALIZATIONS, "input_layers": INPUT_LAYERS,
}  # fmt: skip


def list_parameters(*functions):
    """Return the names of the parameters of functions, a set."""
    return {name for each in functions for name in inspect.signature(each).parameters} - {"self"}


def list_network_names():
    """Return the options of networks, a set of str."""
    kinds = [*optimizers.OPTIMIZERS.values(), LBFGS]
    of_optimizers = {field.name for kind in kinds for field in fields(kind)}
    names = list_parameters(Network.__init__) | set(OPTION_NAMES) | of_optimizers | NETWORK_NAMES
    return names - PYTHON_ONLY - {"sizes"}


def list_estimator_names():
    """Return the options of the estimators for tables, a set of str; ImportError without them."""
    from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

    names = list_parameters(RealMLPClassifier.__init__, RealMLPRegressor.__init__)
    return {ALIASES.get(name, name) for name in names} - PYTHON_ONLY


def parse_value(text):
    """Return the value of an option: TOML, items separated by commas, or text.

    Raises
    ------
    argparse.ArgumentTypeError
        If it begins as a list, a table or a string of TOML, and is none.
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text[:1] in OPENING:
            raise argparse.ArgumentTypeError(
                f"{text} is not a value in TOML, where text has quotes: {error}"
            ) from None
        items = text.split(",")
        return text if len(items) == 1 else [parse_value(item.strip()) for item in items]


def read_settings(flags, config, assignments):
    """Return all options that are given, a dict from their names to values.

    Parameters
    ----------
    flags : dict
        Options of the command line; those that are None are not given. They override the others.
    config : str or None
        A TOML file without sections.
    assignments : sequence of str
        ``NAME=VALUE`` each; they override the file.

    Raises
    ------
    CommandError
        If the file is not TOML, or a name is unknown.
    """
    settings = {}
    if config is not None:
        try:
            with open(config, "rb") as file:
                found = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CommandError(f"--config {config}: not a TOML file: {error}") from None
        add_settings(settings, found, f"--config {config}")
    for assignment in assignments:
        name, is_valid, text = assignment.partition("=")
        if not is_valid:
            raise CommandError(f"--set must be NAME=VALUE; got {assignment!r}")
        try:
            value = parse_value(text.strip())
        except argparse.ArgumentTypeError as error:
            raise CommandError(f"--set {name.strip()}: {error}") from None
        add_settings(settings, {name.strip(): value}, "--set")
    return settings | {name: value for name, value in flags.items() if value is not None}


def add_settings(settings, found, source):
    """Add options of a source to `settings`, by the names of the networks' options.

    Raises
    ------
    CommandError
        If a name is unknown, or is another name of an option that the source has too.
    """
    known = list_network_names() | COMMAND_NAMES
    if not {ALIASES.get(key, key).replace("-", "_") for key in found} <= known:
        with contextlib.suppress(ImportError):
            known |= list_estimator_names()  # imports scikit-learn
    known |= {alias for alias, name in ALIASES.items() if name in known}
    given = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in known:
            if isinstance(value, dict) and set(value) & known:
                raise CommandError(f"{source}: [{key}] must not be a section; names are flat")
            raise CommandError(f"{source}: {key!r} is not an option{suggest(name, known)}")
        name = ALIASES.get(name, name)
        if name in given:
            raise CommandError(f"{source}: {given[name]!r} and {key!r} are the same option")
        given[name] = key
        settings[name] = value


def choose_model(settings, is_table):
    """Return ``"network"`` or ``"realmlp"``.

    Parameters
    ----------
    settings : dict
    is_table : bool
        Whether the data are a table with named columns.

    Raises
    ------
    CommandError
        If an option is not one of this model.
    """
    network_names = list_network_names()
    model = settings.get("model")
    if model is not None:
        look_up("--model", model, {"network": None, "realmlp": None})
    if not is_table:
        if model == "realmlp":
            raise CommandError("--model realmlp needs a table: a .csv, .tsv or .parquet file")
        model = "network"
    only_network = [n for n in settings if n in network_names and n not in SHARED_NAMES]
    if has_estimator_loss(settings):
        only_network.remove("loss")
    is_inferred = model is None
    if is_inferred:
        model = "network" if only_network else "realmlp"
    try:
        allowed = network_names if model == "network" else list_estimator_names()
    except ImportError as error:
        raise ImportError(f"{error}, or train a network with --model network") from None
    wrong = [name for name in settings if name not in allowed | COMMAND_NAMES]
    if wrong:
        reason = describe_choice(only_network) if is_inferred else ""
        raise CommandError(f"{to_flag(wrong[0])} is not an option of --model {model}{reason}")
    if model == "realmlp" and "loss" in settings and not has_estimator_loss(settings):
        raise CommandError(
            f"--loss must be {', '.join(ESTIMATOR_LOSSES)} for --model realmlp; got "
            f"{settings['loss']}; --model network has the others"
        )
    return model


def has_estimator_loss(settings):
    """Return whether a loss is given that the estimators for tables have too."""
    loss = settings.get("loss")
    if isinstance(loss, list) and len(loss) == 2 and loss[0] == "huber":
        return True
    return isinstance(loss, str) and loss in ESTIMATOR_LOSSES


def describe_choice(only_network):
    """Return the end of a message: why a table trains a network, and how it trains RealMLP.

    Parameters
    ----------
    only_network : list of str
        The options that select the network.
    """
    if not only_network:
        return ""
    name, names = only_network[0], set()
    with contextlib.suppress(ImportError):
        names = list_estimator_names()
    cure = "give" if set(only_network) <= names else f"leave {name} out for"
    return f", which the option {name} selects; {cure} --model realmlp"


def to_flag(name):
    """Return the option of the command line of a name."""
    return "--" + name.replace("_", "-")


def build_value(name, value):
    """Return the value of an argument of `Network` or `fit`: tables become objects.

    Raises
    ------
    CommandError
        If a table names an unknown class, or the class does not have such an argument.
    """
    if name in CLASSES:
        if isinstance(value, list):
            return [build_value(name, item) for item in value]
        if isinstance(value, dict):
            arguments = dict(value)
            kind = look_up(f"the name of {name}", arguments.pop("name", None), CLASSES[name])
            return call(kind, name, arguments)
    if name == "early_stopping" and isinstance(value, dict):
        return call(callbacks.EarlyStopping, name, value)
    if name == "class_weight" and isinstance(value, dict):
        return {int(key) if key.isdecimal() else key: each for key, each in value.items()}
    return tuple(value) if name == "betas" and isinstance(value, list) else value


def call(kind, name, arguments):
    """Return ``kind(**arguments)``; raise `CommandError` for an argument that it does not have."""
    known = list_parameters(kind)
    for key in arguments:
        if key not in known:
            raise CommandError(f"{name} has no argument {key!r}{suggest(key, known)}")
    return kind(**arguments)


def take(settings, names):
    """Return the options of some names that are given, as values for Python.

    Parameters
    ----------
    settings : dict
    names : iterable of str
    """
    return {name: build_value(name, settings[name]) for name in names if name in settings}

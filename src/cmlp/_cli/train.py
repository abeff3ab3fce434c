"""``cmlp train``: reads the data, chooses the model, and writes what training leaves."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from cmlp import formats, losses
from cmlp._cli.arrays import check_file, has_file, load_data, split_arrays, split_rows
from cmlp._cli.errors import CommandError, count_nouns, list_names
from cmlp._cli.models import set_names
from cmlp._cli.scores import convert_target
from cmlp._cli.settings import (
    COMMAND_NAMES,
    ESTIMATOR_FLAGS,
    TABLE_NAMES,
    choose_model,
    list_network_names,
    read_settings,
    to_flag,
)
from cmlp._cli.sizes import REGRESSION_LOSSES
from cmlp._cli.tables import CATEGORY, NUMBER, check_columns, is_table, read_table, scan_table
from cmlp._cli.targets import CLASSIFICATION, REGRESSION, take_target
from cmlp._cli.train_network import get_communicator, train_network
from cmlp._utils.validation import import_optional
from cmlp.formats.atomic import replace_file

PLOT_FORMATS = (".png", ".svg", ".pdf")


def run_train(options):
    """Train a model and print its score on test data.

    A table with named columns trains RealMLP, which takes categories and missing values, unless an
    option of networks is given; other data train a plain network. Data without test data of their
    own are split: a random sixth of the rows, always the same, is tested with and not trained on.
    """
    flags = {
        name: value
        for name, value in vars(options).items()
        if name in list_network_names() | COMMAND_NAMES | ESTIMATOR_FLAGS
    }
    settings = read_settings(flags, options.config, options.set)
    check_paths(settings)
    data = settings.get("data")
    has_columns = has_file(data) and is_table(data)
    model = choose_model(settings, has_columns)
    save = make_saver(settings)
    if has_columns:
        train_on_table(settings, model, save)
        return
    check_options_of_arrays(settings)
    train, test = load_data(data)
    if test is None:
        train, test = split_arrays(*train, settings.get("test_split"))
    train_network(settings, train, test if len(test[0]) else None, False, save)


def check_options_of_arrays(settings):
    """Raise `CommandError` for options that need a table."""
    given = [name for name in settings if name in TABLE_NAMES]
    if given:
        raise CommandError(f"{to_flag(given[0])} needs a table: a .csv, .tsv or .parquet file")


def check_paths(settings):
    """Raise `CommandError` if a file cannot be written, before the training."""
    out, plot = settings.get("out"), settings.get("plot")
    if out:
        path = Path(out)
        is_native = path.suffix in (".npz", ".safetensors")
        if not (is_native and path.parent.is_dir()) or path.is_dir():
            raise CommandError(
                f"--out {out}: it must be a .npz file, or .safetensors, in an existing directory"
            )
        native = formats.get_native_format(out)
        if native.package is not None:
            import_optional(native.package, f"--out {out}", native.package_title, native.extra)
    if plot:
        path = Path(plot)
        if path.suffix not in PLOT_FORMATS or not path.parent.is_dir():
            raise CommandError(
                f"--plot {plot}: it must end in {', '.join(PLOT_FORMATS)}, in an existing directory"
            )
        import_optional("matplotlib", "--plot", "Matplotlib", "plot").use("Agg")
    if (checkpoint := settings.get("checkpoint")) and not Path(checkpoint).parent.is_dir():
        raise CommandError(f"--checkpoint {checkpoint}: it must be in an existing directory")


def make_saver(settings):
    """Return a function of a model and its history that writes ``--out`` and ``--plot``."""

    def show(line):
        if not settings.get("quiet"):
            print(line)

    def save(model, history):
        if settings.get("out"):
            model.save(settings["out"])
            show(f"saved {settings['out']}")
        if settings.get("plot") and history is not None:
            axes = history.plot()
            with replace_file(settings["plot"]) as file:
                axes.figure.savefig(file, format=Path(settings["plot"]).suffix[1:])
            import_optional("matplotlib.pyplot", "--plot", "Matplotlib", "plot").close(axes.figure)
            show(f"saved {settings['plot']}")

    return save


def train_on_table(settings, model, save):
    """Train a model on a table; see `run_train`.

    Parameters
    ----------
    settings : dict
    model : {"network", "realmlp"}
    save : callable
    """
    path, options = settings["data"], make_table_options(settings)
    task, column = choose_task(settings), settings.get("target")
    table, name = scan_table(
        path, options, column, to_names(settings, "drop"), to_names(settings, "categorical")
    )
    inputs, target, n_dropped = take_target(table, name, task)
    comm = get_communicator(settings)
    if not settings.get("quiet") and (comm is None or comm.Get_rank() == 0):
        print(target.describe())
        print(describe_columns(inputs))
        if n_dropped:
            print(f"left out: {count_nouns(n_dropped, 'row')} without a target")
        for doubt in table.doubts:
            print(f"cmlp: note: {doubt}", file=sys.stderr)
    test = None
    if "test" in settings:
        test = read_test_table(settings, options, inputs, target, model)
    if model == "network":
        train_network_on_table(settings, inputs, target, test, save)
        return
    from cmlp._cli.train_estimator import train_estimator

    if test is None:
        classes = None
        if target.task == CLASSIFICATION:
            classes = np.unique(target.values, return_inverse=True)[1]
        rows, held_out = split_rows(len(inputs), settings.get("test_split"), classes)
        test = inputs.take(held_out), target.values[held_out]
        inputs, target.values = inputs.take(rows), target.values[rows]
    test = (test[0].columns, test[1]) if len(test[1]) else None
    train_estimator(settings, inputs, target, test, save)


def train_network_on_table(settings, inputs, target, test, save):
    """Train a network on a table; see `run_train`.

    Parameters
    ----------
    settings : dict
    inputs : Table
    target : Target
    test : tuple (Table, y) or None
        None to hold rows out.
    save : callable
    """
    check_network_target(inputs, target)
    try:
        train = inputs.to_matrix(), target.values
    except CommandError as error:
        raise CommandError(
            f"{error}; --model realmlp takes categories and missing values, and --drop leaves "
            "columns out"
        ) from None
    if target.task == REGRESSION:
        settings = {"loss": "mse"} | settings
    if test is None:
        train, test = split_arrays(*train, settings.get("test_split"))
    else:
        test = test[0].to_matrix(list(inputs.columns)), test[1]

    def save_with_names(network, history):
        set_names(network, inputs.columns, target.name, train[0])
        save(network, history)

    train_network(settings, train, test if len(test[1]) else None, True, save_with_names)


def make_table_options(settings):
    """Return the options for reading tables as a namespace."""
    names = ("separator", "header", "encoding", "missing")
    return SimpleNamespace(**{name: settings.get(name) for name in names})


def to_names(settings, name):
    """Return an option with names of columns as a list of str."""
    value = settings.get(name, [])
    if isinstance(value, str):
        value = value.split(",")
    return [str(each).strip() for each in (value if isinstance(value, list) else [value])]


def choose_task(settings):
    """Return the task that the options choose, or None."""
    task, loss = settings.get("task"), settings.get("loss")
    if loss is None:
        return task
    of_loss = losses.resolve_loss(loss).name in REGRESSION_LOSSES
    of_loss = REGRESSION if of_loss else CLASSIFICATION
    if task not in (None, of_loss):
        raise CommandError(f"--loss {loss} is one of {of_loss}; got --task {task}")
    return of_loss


def describe_columns(table):
    """Return a line with the numbers of columns of either kind."""
    categories = [name for name, column in table.columns.items() if column.dtype == object]
    numbers = len(table.columns) - len(categories)
    shown = f": {list_names(categories)}" if categories else ""
    return f"{count_nouns(numbers, 'column')} of numbers, {len(categories)} of categories{shown}"


def check_network_target(inputs, target):
    """Raise `CommandError` if the labels of a table are text."""
    if target.values.dtype.kind == "U":
        raise CommandError(
            f"{inputs.path}: the target {target.name!r} must hold whole numbers from 0 for a "
            f"network; got {str(target.values[0])!r}; --model realmlp takes text"
        )


def read_test_table(settings, options, inputs, target, model):
    """Return the rows of ``--test`` that have a target: a `Table` and their targets."""
    path = settings["test"]
    if "test_split" in settings:
        raise CommandError("--test and --test-split must not be given together")
    check_file(path)
    if not is_table(path):
        raise CommandError(f"--test {path}: it must be a .csv, .tsv or .parquet file")
    kinds = {
        name: CATEGORY if column.dtype == object else NUMBER
        for name, column in inputs.columns.items()
    }
    has_classes = target.task == CLASSIFICATION and model == "realmlp"
    kinds[target.name] = CATEGORY if has_classes else NUMBER

    def choose_kinds(names, has_names):
        check_columns(path, names, kinds)
        return kinds

    table = read_table(path, options, choose_kinds)
    return convert_target(table, target.name, np.unique(target.values) if has_classes else None)[:2]

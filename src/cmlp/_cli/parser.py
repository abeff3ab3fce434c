"""The parser of the command line.

Options of ``train`` have the default None: `settings.read_settings` takes those that are None from
a configuration file.
"""

import argparse

from cmlp import formats, losses, optimizers
from cmlp._cli.arrays import DEFAULT_DATA
from cmlp._cli.bench import run_bench
from cmlp._cli.completion import SHELLS, PrintCompletion, add_file
from cmlp._cli.evaluate import run_evaluate
from cmlp._cli.export import run_export, run_info
from cmlp._cli.predict import run_predict
from cmlp._cli.settings import ESTIMATOR_LOSSES, parse_value
from cmlp._cli.sizes import REGRESSION_LOSSES
from cmlp._cli.train import run_train
from cmlp._cli.train_network import FIT_DEFAULTS, REFERENCE_LR
from cmlp._version import __version__

DATA_KINDS = (
    "a .csv, .tsv, .parquet or .npz file, a directory of IDX files, mnist, fashion-mnist, digits"
)


def build_parser():
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="cmlp", description="Train, evaluate, apply and convert multilayer perceptrons."
    )
    top.add_argument("--version", action="version", version=f"cmlp {__version__}")
    top.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS,
        help="print the script that completes commands in a shell (cmlp[cli])",
    )  # fmt: skip
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands)
    add_evaluate(commands)
    add_predict(commands)
    add_export(commands)
    add_info(commands)
    add_bench(commands)
    return top


def add_train(commands):
    """Add the command ``train``."""
    train = commands.add_parser("train", help="train a model", description=run_train.__doc__)
    add_data_options(train)
    add_table_options(train)
    add_column_options(train)
    add_model_options(train)
    add_network_options(train)
    add_training_options(train)
    files = train.add_argument_group("files")
    add_file(files, "--out", metavar="MODEL.npz", help="file to save the model to")
    add_file(files, "--plot", metavar="CURVE.png", help="draw losses and scores by epoch")
    add_file(
        files, "--checkpoint", metavar="RUN.npz", help="write checkpoints of a network's training"
    )
    files.add_argument(
        "--checkpoint-every", type=int, metavar="EPOCHS", help="default: after each epoch"
    )
    add_file(
        files, "--resume", metavar="RUN.npz",
        help="continue a network's training from a checkpoint; the other options must be the same",
    )  # fmt: skip
    add_file(files, "--config", metavar="CONFIG.toml",
             help="read options: names as in Python or here, flat")  # fmt: skip
    files.add_argument("--set", metavar="NAME=VALUE", action="append", default=[],
                       help="any argument of the Python classes; the value in TOML")  # fmt: skip
    train.add_argument("--quiet", action="store_true", default=None,
                       help="print only the last line")  # fmt: skip
    train.set_defaults(run=run_train)


def add_data_options(command):
    """Add the data as an argument and as an option."""
    add_file(command, "file", nargs="?", metavar="DATA",
             help=f"{DATA_KINDS}; default: {DEFAULT_DATA}")  # fmt: skip
    add_file(command, "--data", metavar="DATA", help="the same as an option")


def add_table_options(command):
    """Add the options of tables in files."""
    group = command.add_argument_group("tables in files")
    group.add_argument(
        "--target", "--label", metavar="COLUMN",
        help="column of the target: its name, or its index from 0; default: the column named "
        "label, labels, class, target or y, else the last",
    )  # fmt: skip
    group.add_argument("--missing", metavar="TEXT,TEXT",
                       help="texts of missing values beside NA, ? and others")  # fmt: skip
    group.add_argument("--separator", metavar="CHARACTER", help="default: detected")
    group.add_argument("--header", action=argparse.BooleanOptionalAction,
                       help="whether the first row has names; default: detected")  # fmt: skip
    group.add_argument("--encoding", help="default: UTF-8, or UTF-16 with a byte order mark")


def add_column_options(command):
    """Add the options that choose columns and rows of a table to train on."""
    group = command.add_argument_group("columns and rows")
    group.add_argument("--drop", metavar="COLUMN,COLUMN", help="columns to leave out")
    group.add_argument("--categorical", metavar="COLUMN,COLUMN",
                       help="columns that are categories although they hold numbers")  # fmt: skip
    group.add_argument("--task", choices=["classification", "regression"], help="default: inferred")
    add_file(group, "--test", metavar="FILE", help="table to test with")
    group.add_argument("--test-split", type=float, metavar="FRACTION",
                       help="of the rows to test with; default: a sixth")  # fmt: skip
    group.add_argument("--validation-split", type=float, metavar="FRACTION",
                       help="of the rows to validate each epoch with")  # fmt: skip


def add_model_options(command):
    """Add the options that choose the model, and those of RealMLP."""
    group = command.add_argument_group("model")
    group.add_argument(
        "--model", choices=["realmlp", "network"],
        help="default: realmlp for tables, unless an option that only networks have is given",
    )  # fmt: skip
    group.add_argument("--preset", choices=["fast", "default", "best"], help="of realmlp")
    group.add_argument("--variant", choices=["TD", "TD-S"], help="of realmlp")
    group.add_argument("--cv", type=int, metavar="FOLDS", help="realmlp: average this many folds")
    group.add_argument("--time-limit", type=float, metavar="SECONDS", help="realmlp")


def add_network_options(command):
    """Add the options of networks."""
    group = command.add_argument_group("networks")
    group.add_argument(
        "--layers", metavar="784,30,10",
        help="layer sizes; default: INPUTS,30,CLASSES, or INPUTS,30,1 for regression",
    )  # fmt: skip
    group.add_argument("--activation", type=parse_value,
                       help="of the hidden layers; default: sigmoid")  # fmt: skip
    group.add_argument(
        "--loss", choices=[*losses.LOSSES],
        help=f"{', '.join(REGRESSION_LOSSES)}: regression, the target is a number to predict; "
        "others: classification, it is a class, for networks a whole number from 0; default of "
        f"networks: quadratic, or mse for the numbers of a table; realmlp has "
        f"{', '.join(ESTIMATOR_LOSSES)}",
    )  # fmt: skip
    group.add_argument("--optimizer", choices=[*optimizers.OPTIMIZERS, "lbfgs"],
                       help="default: sgd")  # fmt: skip
    group.add_argument("--normalization", type=parse_value, help="batch or layer")
    group.add_argument("--metrics", type=parse_value, metavar="NAME,NAME", help="shown by epoch")
    group.add_argument(
        "--standardize", action=argparse.BooleanOptionalAction,
        help="train on standardized columns; the saved network reads the columns themselves; "
        "default: for tables",
    )  # fmt: skip
    group.add_argument("--mpi", action="store_true", default=None,
                       help="train on all ranks, started by mpiexec (cmlp[mpi])")  # fmt: skip
    group.add_argument(
        "--shards", type=int,
        help="parts of the samples, for the same bits on any number of ranks",
    )  # fmt: skip


def add_training_options(command):
    """Add the options of training that networks and RealMLP share."""
    group = command.add_argument_group("training")
    group.add_argument("--epochs", type=int,
                       help=f"default of networks: {FIT_DEFAULTS['epochs']}")  # fmt: skip
    group.add_argument("--batch-size", type=int,
                       help=f"default of networks: {FIT_DEFAULTS['batch_size']}")  # fmt: skip
    group.add_argument(
        "--lr", type=float, help="learning rate; default: realmlp's or the optimizer's, "
        f"{REFERENCE_LR} for sgd with quadratic",
    )  # fmt: skip
    group.add_argument("--schedule", type=parse_value, help="of the learning rate")
    group.add_argument("--weight-decay", type=float)
    group.add_argument("--dropout", type=parse_value, help="fraction, of networks also a list")
    group.add_argument("--early-stopping", type=int, metavar="EPOCHS",
                       help="stop after this many epochs without improvement")  # fmt: skip
    group.add_argument("--class-weight", type=parse_value, help="balanced")
    group.add_argument("--seed", type=int, help="default: 0")
    group.add_argument("--dtype", choices=["float32", "float64"], help="default: float32")
    group.add_argument("--threads", type=int, help="maximum number of threads")


def add_evaluate(commands):
    """Add the command ``evaluate``."""
    evaluate = commands.add_parser(
        "evaluate", help="test a model", description=run_evaluate.__doc__
    )
    add_file(evaluate, "model", metavar="MODEL")
    add_data_options(evaluate)
    add_table_options(evaluate)
    evaluate.set_defaults(run=run_evaluate)


def add_predict(commands):
    """Add the command ``predict``."""
    predict = commands.add_parser("predict", help="apply a model", description=run_predict.__doc__)
    add_file(predict, "model", metavar="MODEL")
    add_file(predict, "file", metavar="FILE", help=".csv, .tsv, .parquet, .npz with X, .npy, IDX")
    add_file(
        predict,
        "--out",
        metavar="FILE",
        help="default: standard output; .csv, .csv.gz, .parquet, ...",
    )
    predict.add_argument("--proba", action="store_true",
                         help="add a column proba_CLASS for each class")  # fmt: skip
    predict.add_argument(
        "--raw", action="store_true",
        help="one line for each row: the prediction, or all outputs with --proba",
    )  # fmt: skip
    predict.add_argument("--column", default="prediction", metavar="NAME",
                         help="of the predictions; default: prediction")  # fmt: skip
    add_table_options(predict)
    predict.set_defaults(run=run_predict)


def add_export(commands):
    """Add the command ``export``."""
    export = commands.add_parser(
        "export", help="write a model in another format", description=run_export.__doc__
    )
    add_file(export, "model", metavar="MODEL")
    export.add_argument(
        "--to",
        required=True,
        choices=[*(each.name for each in formats.list_export_formats()), "torch"],
    )
    add_file(
        export, "--out", metavar="FILE", help="default: MODEL with the extension of the format"
    )
    export.add_argument("--name", default="model", help="C: prefix of the functions' names")
    export.add_argument(
        "--int8", action="store_true", help="C, HTML: quantize the weights to 8 bits"
    )
    export.add_argument("--own-math", action="store_true", help="C: do not call math.h")
    export.add_argument(
        "--arithmetic", choices=["float32", "int8"], default="float32",
        help="C: int8 has no floating-point operations; default: float32",
    )  # fmt: skip
    export.add_argument(
        "--calibration", metavar="DATA",
        help="C with --arithmetic int8: samples like those to predict, a file or data set",
    )  # fmt: skip
    export.add_argument(
        "--train", action="store_true", help="C: functions that continue the training by SGD"
    )
    export.add_argument("--uint8", action="store_true", help="ONNX: the input is uint8")
    export.add_argument(
        "--labels", nargs="?", const=True, metavar="NAME,NAME",
        help="ONNX: the class as second output, with or without names; HTML: names of the classes, "
        "labels or targets",
    )  # fmt: skip
    add_page_options(export)
    export.set_defaults(run=run_export)


def add_page_options(export):
    """Add the options of ``export --to html``."""
    group = export.add_argument_group("web pages, --to html")
    group.add_argument(
        "--kind",
        choices=("image", "table"),
        help="default: image if the number of inputs is a square",
    )
    group.add_argument("--shape", metavar="HEIGHT,WIDTH", help="of images; default: square")
    group.add_argument("--center", action=argparse.BooleanOptionalAction, default=None,
                       help="whether to scale and center drawings; default: yes")  # fmt: skip
    group.add_argument("--names", metavar="NAME,NAME", help="of the inputs of a table")
    group.add_argument("--range", metavar="NAME=LOW,HIGH", action="append", default=[],
                       help="of the slider of an input; may be repeated")  # fmt: skip
    group.add_argument("--title", help="default: the name of the file")


def add_info(commands):
    """Add the command ``info``."""
    info = commands.add_parser(
        "info", help="describe MODEL, or version, ISA, BLAS and threads without one",
        description=run_info.__doc__,
    )  # fmt: skip
    add_file(info, "model", metavar="MODEL", nargs="?")
    info.set_defaults(run=run_info)


def add_bench(commands):
    """Add the command ``bench``."""
    bench = commands.add_parser(
        "bench", help="time training steps on this machine", description=run_bench.__doc__
    )
    bench.add_argument("--threads", type=int, default=1, help="of every library; default: 1")
    bench.add_argument("--rounds", type=int, default=3, help="default: 3; the median counts")
    bench.set_defaults(run=run_bench)

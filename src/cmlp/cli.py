"""The command line, ``cmlp train | evaluate | predict | export | info``."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from cmlp import Network, QuantizedNetwork, datasets, errors, formats, losses, optimizers
from cmlp._cli_sizes import REGRESSION_LOSSES, CommandError, check_labels, resolve_sizes
from cmlp._model.state import ModelState
from cmlp._utils.validation import import_optional
from cmlp.config import show_config

DEFAULT_DATA = "mnist if it is found or can be downloaded, else digits"

# Seconds that `cmlp train` without --data waits for the download of MNIST before it uses
# generated digits instead.
DOWNLOAD_SECONDS = 8.0

# Numbers of generated digits for training and for testing.
GENERATED_SAMPLES = 20_000, 4_000

# If the data do not include test data, `train` tests with 1 / TEST_DIVISOR of the samples.
TEST_DIVISOR = 6

# Learning rate of SGD with the quadratic loss, as in the reference program.
REFERENCE_LR = 3.0


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        The exit code: 0; 1 if the reader of standard output has closed it; 2 after an error;
        130 after Ctrl-C.
    """
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Python flushes standard output at exit; redirect it, so that this does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        OSError, ValueError, TypeError, ArithmeticError, MemoryError, ImportError, CommandError,
        errors.RankError,
    ) as error:  # fmt: skip
        print(f"cmlp: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cmlp: interrupted", file=sys.stderr)
        return 130


def build_parser():
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="cmlp", description="Train, evaluate, apply and convert multilayer perceptrons."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands)
    add_evaluate(commands)
    add_predict(commands)
    add_export(commands)
    add_info(commands)
    return top


def add_train(commands):
    """Add the command ``train``."""
    train = commands.add_parser("train", help="train a network", description=run_train.__doc__)
    add_data_options(train)
    train.add_argument(
        "--layers",
        metavar="784,30,10",
        help="layer sizes; default: INPUTS,30,CLASSES, or INPUTS,30,1 for regression",
    )
    train.add_argument("--activation", default="sigmoid", help="of the hidden layers")
    train.add_argument(
        "--loss",
        default="quadratic",
        choices=[*losses.LOSSES],
        help=f"{', '.join(REGRESSION_LOSSES)}: regression, the label is a number to predict; "
        "others: classification, the label is a class, a whole number from 0; default: quadratic",
    )
    train.add_argument("--epochs", type=int, default=10)
    train.add_argument("--batch-size", type=int, default=10)
    train.add_argument("--optimizer", default="sgd", choices=[*optimizers.OPTIMIZERS])
    train.add_argument(
        "--lr",
        type=float,
        help=f"learning rate; default: the optimizer's, {REFERENCE_LR} for sgd with quadratic",
    )
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    train.add_argument("--threads", type=int, help="maximum number of threads")
    train.add_argument(
        "--mpi", action="store_true", help="train on all ranks, started by mpiexec (cmlp[mpi])"
    )
    train.add_argument(
        "--shards", type=int, help="parts of the samples, for the same bits on any number of ranks"
    )
    train.add_argument("--out", metavar="MODEL.npz", help="file to save the network to")
    train.add_argument("--quiet", action="store_true", help="print only the last line")
    train.set_defaults(run=run_train)


def add_evaluate(commands):
    """Add the command ``evaluate``."""
    evaluate = commands.add_parser(
        "evaluate", help="test a network", description=run_evaluate.__doc__
    )
    evaluate.add_argument("model", metavar="MODEL")
    add_data_options(evaluate)
    evaluate.set_defaults(run=run_evaluate)


def add_predict(commands):
    """Add the command ``predict``."""
    predict = commands.add_parser(
        "predict", help="apply a network", description=run_predict.__doc__
    )
    predict.add_argument("model", metavar="MODEL")
    predict.add_argument("file", metavar="FILE", help=".csv, .npz with X, .npy, or IDX")
    predict.add_argument(
        "--proba", action="store_true", help="print all outputs instead of the class"
    )
    predict.set_defaults(run=run_predict)


def add_export(commands):
    """Add the command ``export``."""
    export = commands.add_parser(
        "export", help="write a network in another format", description=run_export.__doc__
    )
    export.add_argument("model", metavar="MODEL")
    export.add_argument(
        "--to", required=True, choices=[each.name for each in formats.list_export_formats()]
    )
    export.add_argument(
        "--out", metavar="FILE", help="default: MODEL with the extension of the format"
    )
    export.add_argument("--name", default="model", help="C: prefix of the functions' names")
    export.add_argument("--int8", action="store_true", help="C: quantize the weights to 8 bits")
    export.add_argument("--own-math", action="store_true", help="C: do not call math.h")
    export.add_argument("--uint8", action="store_true", help="ONNX: the input is uint8")
    export.add_argument("--labels", action="store_true", help="ONNX: the class as second output")
    export.set_defaults(run=run_export)


def add_info(commands):
    """Add the command ``info``."""
    info = commands.add_parser(
        "info", help="describe MODEL, or version, ISA, BLAS and threads without one"
    )
    info.add_argument("model", metavar="MODEL", nargs="?")
    info.set_defaults(run=run_info)


def add_data_options(command):
    """Add the options that select a data set."""
    command.add_argument(
        "--data",
        metavar="mnist|fashion-mnist|digits|DIR|FILE.npz|FILE.csv",
        help=f"default: {DEFAULT_DATA}",
    )
    command.add_argument(
        "--label",
        help="label column of a CSV file: its name, or its index from 0; default: the column "
        "named label, class, target or y, else the last",
    )


def run_train(options):
    """Train a network and print its score on test data.

    A table without test data of its own is split: a random sixth of its rows, always the same, is
    tested with and not trained on.
    """
    if options.out and not (options.out.endswith(".npz") and Path(options.out).parent.is_dir()):
        raise CommandError(f"--out {options.out}: it must be a .npz file in an existing directory")
    train, test = load_data(options)
    (X, y), (X_test, y_test) = split_table(*train) if test is None else (train, test)
    network = Network(
        resolve_sizes(options, X, y, y_test),
        activation=options.activation,
        loss=options.loss,
        dtype=options.dtype,
        seed=options.seed,
    )
    optimizer = create_optimizer(options)
    comm = get_communicator(options)
    is_first = comm is None or comm.Get_rank() == 0  # of all ranks: prints, and writes files
    if not options.quiet and is_first:
        print(f"{network}\n{len(X):,} samples to train on, {len(X_test):,} to test with")
    try:
        network.fit(
            X, y, epochs=options.epochs, batch_size=options.batch_size,
            optimizer=optimizer, validation_data=(X_test, y_test),
            progress=not options.quiet, threads=options.threads, comm=comm, shards=options.shards,
            distribute=comm is not None,
        )  # fmt: skip
    except KeyboardInterrupt:
        if is_first:
            save(network, options.out)
        raise
    except errors.TrainingDiverged as error:
        raise CommandError(f"{error} (--lr {optimizer.lr:g})") from None
    if is_first:
        save(network, options.out)
        print(f"test {network.score_name}: {network.score(X_test, y_test):.4f}")


def get_communicator(options):
    """Return MPI's communicator of all ranks with ``--mpi``, otherwise None."""
    if not options.mpi:
        return None
    return import_optional("mpi4py.MPI", "--mpi", "mpi4py", "mpi").COMM_WORLD


def create_optimizer(options):
    """Return the optimizer that ``--optimizer`` and ``--lr`` select."""
    kind = optimizers.OPTIMIZERS[options.optimizer]
    if options.lr is not None:
        return kind(lr=options.lr)
    if kind is optimizers.SGD and options.loss == "quadratic":
        return kind(lr=REFERENCE_LR)
    return kind()


def save(network, path):
    """Save the network if a path was given."""
    if path:
        network.save(path)
        print(f"saved {path}")


def run_evaluate(options):
    """Print a network's score on test data and, for a classifier, the confusion matrix.

    The test data are the test part of a data set that has one, and otherwise all rows of the file.
    """
    network = load_model(options.model)
    train, test = load_data(options)
    X, y = train if test is None else test
    if network.is_classifier and y.ndim == 1:
        check_labels(y, max(network.size[-1], 2), "the model is a classifier")
    score, predicted = network.score(X, y), network.predict(X)
    if network.task in ("binary", "multiclass"):
        labels = y.argmax(axis=1) if y.ndim == 2 else y.astype(np.intp)
        print_confusion(labels, predicted, max(network.size[-1], 2))
    print(f"test {network.score_name}: {score:.4f}")


def print_confusion(labels, predicted, classes):
    """Print the confusion matrix: rows are true classes, columns are predicted ones.

    Parameters
    ----------
    labels, predicted : ndarray of int, shape (n_samples,)
    classes : int
        Number of classes.
    """
    table = np.zeros((classes, classes), int)
    np.add.at(table, (labels, predicted), 1)
    width = max(len(str(table.max())), len(str(classes - 1))) + 1
    print("rows: true class, columns: predicted class")
    print(" " * width + "".join(f"{c:>{width}}" for c in range(classes)))
    for c, row in enumerate(table):
        print(f"{c:>{width}}" + "".join(f"{count:>{width}}" for count in row))


def run_predict(options):
    """Print a network's prediction for each sample of a file, one per line."""
    network = load_model(options.model)
    out = (network if options.proba else network.predict)(load_samples(options.file))
    if out.dtype.kind == "f" or out.ndim == 2:
        np.savetxt(sys.stdout, out, fmt="%.6g", delimiter=",")
    else:
        print("\n".join(map(str, out)))


def run_export(options):
    """Write a network in another format."""
    network = load_model(options.model)
    target = formats.get_format(options.to)
    out = options.out or str(Path(options.model).with_suffix(target.extension))
    if target.is_native and Path(out).suffix != target.extension:
        raise CommandError(f"--out {out}: it must end in {target.extension}")
    write_options = select_write_options(options)
    if isinstance(network, QuantizedNetwork):
        write_options.pop("weights", None)  # they are 8-bit integers
    target.write(network.state, out, **write_options)
    print(f"wrote {out}")


def select_write_options(options):
    """Return the options of ``export`` that belong to the format, as its `write` takes them."""
    if options.to == "onnx":
        return {
            "input_dtype": "uint8" if options.uint8 else "float32",
            "labels": True if options.labels else None,
        }
    if options.to == "c":
        return {
            "name": options.name,
            "weights": "int8" if options.int8 else "float32",
            "own_math": options.own_math,
        }
    return {}


def run_info(options):
    """Print a network's layers, or the configuration of cmlp on this machine."""
    if options.model:
        network = load_model(options.model)
        print(network)
        network.summary()
    else:
        show_config()


def load_model(path):
    """Return the `Network` or the `QuantizedNetwork` that a file stores."""
    state = formats.get_native_format(path, for_reading=True).read(path)
    if isinstance(state, ModelState):
        state.checkpoint = None  # as in Network.load
        return Network.from_state(state)
    return QuantizedNetwork(state)


def load_samples(path):
    """Return the samples in a file, X, for ``predict``."""
    extension = Path(path).suffix.lower()
    if extension == ".csv":
        return datasets.load_csv(path, label=False)[0]
    if extension == ".npz":
        return datasets.load_npz(path)[0][0]
    if extension == ".npy":
        return np.load(path, allow_pickle=False)
    return datasets.load_idx(path)


def load_data(options):
    """Return the data that ``--data`` and ``--label`` select.

    Returns
    -------
    train : tuple (X, y)
        All rows of a table without test data of its own.
    test : tuple (X, y) or None
    """
    name = options.data
    if name is None:
        return load_mnist_or_digits()
    if name == "mnist":
        return datasets.load_mnist()
    if name == "fashion-mnist":
        return datasets.load_fashion_mnist()
    if name == "digits":
        return generate_digits()
    if Path(name).is_dir():
        return datasets.load_mnist(name, download=False)
    if not Path(name).exists():
        raise CommandError(
            f"--data {name}: no such file; it must be mnist, fashion-mnist, digits, a directory "
            "of IDX files, a .npz file or a .csv file"
        )
    if name.endswith(".npz"):
        train, test = datasets.load_npz(name)
        return check_table(name, train), None if test is None else check_table(name, test)
    if name.endswith(".csv"):
        return datasets.load_csv(name, options.label), None
    raise CommandError(
        f"--data {name}: it must end in .npz or .csv, or be a directory of IDX files"
    )


def check_table(name, table):
    """Return X and y of an archive; y of shape (n_samples, 1) becomes (n_samples,).

    Parameters
    ----------
    name : str
        The archive.
    table : tuple (X, y)
    """
    X, y = table
    if y is None:
        raise CommandError(f"--data {name}: it must have an array y")
    if X.ndim == 0 or y.ndim not in (1, 2) or len(X) != len(y):
        raise CommandError(
            f"--data {name}: y must have shape (n,) or (n, outputs), and n must be the number of "
            f"rows of X; got shapes {X.shape} of X and {y.shape} of y"
        )
    if len(y) == 0:
        raise CommandError(f"--data {name}: X must have at least one row; got 0")
    if y.dtype.kind not in "biuf":
        raise CommandError(f"--data {name}: y must hold real numbers; got {y.dtype}")
    return X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def load_mnist_or_digits():
    """Return MNIST if it is found or can be downloaded quickly, else generated digits."""
    try:
        return datasets.load_mnist(patience=DOWNLOAD_SECONDS)
    except (OSError, ValueError):
        print(
            "MNIST was not found: training on generated digits; to use MNIST, set CMLP_DATA "
            "to a directory with mnist/*.gz, or run 'cmlp train --data mnist' online",
            file=sys.stderr,
        )
        return generate_digits()


def generate_digits():
    """Return generated digits for training and for testing."""
    return tuple(datasets.make_digits(n, seed) for seed, n in enumerate(GENERATED_SAMPLES))


def split_table(X, y):
    """Split samples into training and test data, at random with a fixed seed."""
    if len(X) < 2:
        raise CommandError(f"the data must have at least 2 samples; got {len(X)}")
    order = np.random.default_rng(0).permutation(len(X))
    test = max(1, len(X) // TEST_DIVISOR)
    return (X[order[test:]], y[order[test:]]), (X[order[:test]], y[order[:test]])

"""The command line: ``cmlp train | evaluate | predict | info``."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from cmlp import Network, datasets, errors, losses, optimizers
from cmlp.config import show_config

# A data set may be fetched if that takes no longer than this, in seconds.
PATIENCE = 8.0

GENERATED = 20_000, 4_000


class Refused(Exception):
    """What the user asked for cannot be done; the message is the whole answer."""


def main(arguments=None):
    """Run the command line.

    Returns the exit code: 0, 1 when the reader of the output has gone, 2 after an error,
    130 after Ctrl-C.
    """
    options = parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Whoever read the output has gone; nobody is left to be told, nor at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, TypeError, ArithmeticError, MemoryError, Refused) as error:
        print(f"cmlp: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cmlp: interrupted", file=sys.stderr)
        return 130


def parser():
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="cmlp", description=__doc__.split("\n", 1)[0])
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a network", description=train_command.__doc__)
    add_data(train, "mnist where it is found, else digits")
    train.add_argument("--layers", metavar="784,30,10", help="widths; default INPUTS,30,CLASSES")
    train.add_argument("--activation", default="sigmoid", help="of the hidden layers")
    train.add_argument("--loss", default="quadratic", choices=[*losses.LOSSES])
    train.add_argument("--epochs", type=int, default=10)
    train.add_argument("--batch-size", type=int, default=10)
    train.add_argument("--optimizer", default="sgd", choices=[*optimizers.OPTIMIZERS])
    train.add_argument(
        "--lr", type=float, help="default: the optimizer's; for sgd with quadratic 3.0"
    )
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    train.add_argument("--threads", type=int, help="at most so many")
    train.add_argument("--out", metavar="MODEL.npz", help="where to save the network")
    train.add_argument("--quiet", action="store_true", help="print the last line alone")
    train.set_defaults(run=train_command)
    evaluate = commands.add_parser(
        "evaluate", help="test a network", description=evaluate_command.__doc__
    )
    evaluate.add_argument("model", metavar="MODEL")
    add_data(evaluate, "mnist where it is found, else digits")
    evaluate.set_defaults(run=evaluate_command)
    predict = commands.add_parser(
        "predict", help="apply a network", description=predict_command.__doc__
    )
    predict.add_argument("model", metavar="MODEL")
    predict.add_argument("file", metavar="FILE", help=".csv, .npz with X, .npy, or IDX")
    predict.add_argument("--proba", action="store_true", help="print all outputs, not the answer")
    predict.set_defaults(run=predict_command)
    export = commands.add_parser(
        "export", help="write a network in another format", description=export_command.__doc__
    )
    export.add_argument("model", metavar="MODEL")
    export.add_argument("--to", required=True, choices=["onnx", "c", "safetensors", "npz"])
    export.add_argument("--out", metavar="FILE", help="default: the model's name with the ending")
    export.add_argument("--name", default="model", help="what the functions of C begin with")
    export.add_argument("--int8", action="store_true", help="C: weights of 8 bits")
    export.add_argument("--own-math", action="store_true", help="C: no functions of math.h")
    export.add_argument("--uint8", action="store_true", help="ONNX: bytes as input")
    export.add_argument("--labels", action="store_true", help="ONNX: the class as second output")
    export.set_defaults(run=export_command)
    info = commands.add_parser("info", help="version, ISA, BLAS, threads; or of a MODEL")
    info.add_argument("model", metavar="MODEL", nargs="?")
    info.set_defaults(run=info_command)
    return top


def add_data(command, default):
    """Add the options that choose a data set."""
    command.add_argument(
        "--data",
        metavar="mnist|fashion-mnist|digits|DIR|FILE.npz|FILE.csv",
        help=f"default: {default}",
    )
    command.add_argument(
        "--label", help="the label column of a CSV file: name, or number from 0; default: "
        "one called label, class, target or y, else the last",
    )  # fmt: skip


def train_command(options):
    """Train a network and print its accuracy on test data."""
    if options.out and not (options.out.endswith(".npz") and Path(options.out).parent.is_dir()):
        raise Refused(f"--out {options.out}: it must be a .npz file in a folder that exists")
    (X, y), (X_test, y_test) = load_data(options)
    network = Network(
        widths(options.layers, X, y),
        activation=options.activation,
        loss=options.loss,
        dtype=options.dtype,
        seed=options.seed,
    )
    optimizer = chosen_optimizer(options)
    if not options.quiet:
        print(f"{network}\n{len(X):,} samples to train on, {len(X_test):,} to test with")
    try:
        network.fit(
            X, y, epochs=options.epochs, batch_size=options.batch_size,
            optimizer=optimizer, validation_data=(X_test, y_test),
            progress=not options.quiet, threads=options.threads,
        )  # fmt: skip
    except KeyboardInterrupt:
        save(network, options.out)
        raise
    except errors.TrainingDiverged as error:
        raise Refused(f"{error} (--lr {optimizer.lr:g})") from None
    save(network, options.out)
    print(f"test {network.score_name}: {network.score(X_test, y_test):.4f}")


def chosen_optimizer(options):
    """Return the optimizer by the options `--optimizer` and `--lr`."""
    kind = optimizers.OPTIMIZERS[options.optimizer]
    if options.lr is not None:
        return kind(lr=options.lr)
    return kind(lr=3.0) if kind is optimizers.SGD and options.loss == "quadratic" else kind()


def save(network, path):
    """Save the network if a path was given."""
    if path:
        network.save(path)
        print(f"saved {path}")


def evaluate_command(options):
    """Print a network's accuracy on test data, and which classes it takes for which."""
    network = Network.load(options.model)
    _, (X, y) = load_data(options)
    score = network.score(X, y)
    if network.is_classifier:
        labels = y.argmax(axis=1) if y.ndim == 2 else y.astype(np.intp)
        print_confusion(labels, network.predict(X), max(network.size[-1], 2))
    print(f"test {network.score_name}: {score:.4f}")


def print_confusion(truth, answers, classes):
    """Print how often each class (a row) was answered by each (a column)."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (truth, answers), 1)
    width = max(len(str(table.max())), len(str(classes - 1))) + 1
    print("rows: the class, columns: the answer")
    print(" " * width + "".join(f"{c:>{width}}" for c in range(classes)))
    for c, row in enumerate(table):
        print(f"{c:>{width}}" + "".join(f"{count:>{width}}" for count in row))


def predict_command(options):
    """Print a network's answer for each sample of a file, one a line."""
    network = Network.load(options.model)
    out = (network if options.proba else network.predict)(load_samples(options.file))
    if out.dtype.kind == "f":
        np.savetxt(sys.stdout, out, fmt="%.6g", delimiter=",")
    else:
        print("\n".join(map(str, out)))


def export_command(options):
    """Write a network as an ONNX model, C source, safetensors or npz."""
    network = Network.load(options.model)
    out = options.out or str(Path(options.model).with_suffix(f".{options.to}"))
    if options.to == "onnx":
        network.to_onnx(
            out, input_dtype="uint8" if options.uint8 else "float32",
            labels=True if options.labels else None,
        )  # fmt: skip
    elif options.to == "c":
        network.to_c(out, name=options.name, weights="int8" if options.int8 else "float32",
                     own_math=options.own_math)  # fmt: skip
    elif Path(out).suffix != f".{options.to}":
        raise Refused(f"--out {out}: it must end in .{options.to}")
    else:
        network.save(out)
    print(f"wrote {out}")


def info_command(options):
    """Print what was found on this machine, or a network's layers."""
    if options.model:
        network = Network.load(options.model)
        print(network)
        network.summary()
    else:
        show_config()


def load_samples(path):
    """Return the samples of a file for `predict`."""
    ending = Path(path).suffix.lower()
    if ending == ".csv":
        return datasets.load_csv(path, label=False)[0]
    if ending == ".npz":
        return datasets.load_npz(path)[0][0]
    if ending == ".npy":
        return np.load(path, allow_pickle=False)
    return datasets.load_idx(path)


def load_data(options):
    """Return (X, y) to train on and (X, y) to test with, by the option `--data`."""
    name = options.data
    if name is None:
        return mnist_or_digits()
    if name == "mnist":
        return datasets.load_mnist()
    if name == "fashion-mnist":
        return datasets.load_fashion_mnist()
    if name == "digits":
        return generated()
    if Path(name).is_dir():
        return datasets.load_mnist(name, download=False)
    if not Path(name).exists():
        raise Refused(
            f"--data {name}: no such file; it may be mnist, fashion-mnist, digits, a folder of "
            "IDX files, a .npz or a .csv file"
        )
    if name.endswith(".npz"):
        train, test = datasets.load_npz(name)
        if train[1] is None:
            raise Refused(f"--data {name}: it has no y")
        return (train, test) if test else split(*train)
    if name.endswith(".csv"):
        return split(*datasets.load_csv(name, options.label))
    raise Refused(f"--data {name}: it must end in .npz or .csv, or be a folder of IDX files")


def mnist_or_digits():
    """Return MNIST where it is found or soon had, else generated digits, and say so."""
    try:
        return datasets.load_mnist(patience=PATIENCE)
    except (OSError, ValueError):
        print(
            "MNIST is not here: training on generated digits; to have it, set CMLP_DATA to a "
            "folder with mnist/*.gz, or run 'cmlp train --data mnist' online",
            file=sys.stderr,
        )
        return generated()


def generated():
    """Return generated digits to train on and to test with."""
    return tuple(datasets.make_digits(n, seed) for seed, n in enumerate(GENERATED))


def split(X, y):
    """Keep a random sixth of a table, always the same, to test with."""
    if len(X) < 2:
        raise Refused(f"{len(X)} samples are too few to train on and to test with")
    order = np.random.default_rng(0).permutation(len(X))
    test = max(1, len(X) // 6)
    return (X[order[test:]], y[order[test:]]), (X[order[:test]], y[order[:test]])


def widths(layers, X, y):
    """Return the widths of the layers, as given or as the data suggest."""
    inputs = int(np.prod(np.shape(X)[1:]))
    if layers is None:
        outputs = y.shape[1] if y.ndim == 2 else int(y.max()) + 1
        return [inputs, 30, max(outputs, 2)]
    try:
        found = [int(width) for width in layers.split(",")]
    except ValueError:
        raise Refused(f"--layers {layers}: it must be whole numbers with commas") from None
    if found[0] != inputs:
        raise Refused(f"--layers {layers}: the first must be {inputs}, as the data have columns")
    return found

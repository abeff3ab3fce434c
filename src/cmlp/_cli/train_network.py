"""``cmlp train`` for a plain `Network`."""

from dataclasses import fields
from numbers import Real

import numpy as np

from cmlp import Network, callbacks, errors, losses, optimizers
from cmlp._cli.errors import CommandError
from cmlp._cli.models import STANDARDIZED
from cmlp._cli.scores import score_network
from cmlp._cli.settings import list_parameters, take, to_flag
from cmlp._cli.sizes import resolve_sizes
from cmlp._cli.standardization import (
    Standardization,
    can_fold,
    can_fold_targets,
    fold_standardization,
)
from cmlp._training.arguments import OPTION_NAMES
from cmlp._utils.validation import import_optional, look_up
from cmlp.lbfgs import LBFGS

# Learning rate of SGD with the quadratic loss, as in the reference program.
REFERENCE_LR = 3.0

# Defaults that differ from those of `Network` and `fit`: the reference program's.
NETWORK_DEFAULTS = {"activation": "sigmoid", "loss": "quadratic", "seed": 0}
FIT_DEFAULTS = {"epochs": 10, "batch_size": 10}

# Fraction of the samples that early stopping is decided by, unless --validation-split is given.
EARLY_STOPPING_SPLIT = 0.2


def train_network(settings, train, test, is_table, save):
    """Train a network and print its score on test data.

    Parameters
    ----------
    settings : dict
        See `settings.read_settings`.
    train : tuple (X, y)
    test : tuple (X, y) or None
    is_table : bool
        Whether columns are standardized by default.
    save : callable
        Called with the network, and its `History` if training was not interrupted.
    """
    (X, y), quiet = train, settings.get("quiet", False)
    comm = get_communicator(settings)
    is_first = comm is None or comm.Get_rank() == 0  # of all ranks: prints, and writes files
    network = make_network(settings, X, y, y if test is None else test[1])
    fold, (X, y), scaled_test = standardize(settings, network, (X, y), test, is_table)
    # The record is replaced at the end of training: only checkpoints have this one.
    network.state.training = {STANDARDIZED: True} if X is not train[0] else None
    optimizer = make_optimizer(settings)
    arguments = list_fit_arguments(settings, scaled_test)
    if not quiet and is_first:
        n_test = 0 if test is None else len(test[0])
        line = describe_samples(len(X), n_test, arguments.get("validation_split"))
        print(f"{network}\n{line}")
    history = None
    try:
        history = network.fit(
            X, y, optimizer=optimizer, progress=not quiet, comm=comm,
            distribute=comm is not None, **arguments,
        )  # fmt: skip
    except errors.TrainingDiverged as error:
        rate = f" (--lr {optimizer.lr:g})" if hasattr(optimizer, "lr") else ""
        raise CommandError(describe_divergence(error) + rate) from None
    except KeyboardInterrupt:
        network.state.training = None
        if is_first:
            save(fold(network), None)
        raise
    network = fold(network)
    if is_first:
        save(network, history)
        if test is None:
            print(f"trained on {len(X):,} samples")
        else:
            lines = score_network(network, *test)
            print("\n".join(lines[-1:] if quiet else lines))


def describe_divergence(error):
    """Return the message of a `TrainingDiverged`, with epoch and step counted from 1."""
    place = f"epoch {error.epoch + 1}, step {error.step + 1}"
    return str(error).replace(f"epoch {error.epoch}, step {error.step}", place)


def describe_samples(n_samples, n_test, fraction=None, folds=None):
    """Return a line with the numbers of samples.

    Parameters
    ----------
    n_samples, n_test : int
        To train on and to validate with, and to test with.
    fraction : float, optional
        Of the samples, to validate with.
    folds : int, optional
        Into which the samples are divided instead.
    """
    n_held_out = 0
    if folds is None and isinstance(fraction, Real) and 0 < fraction < 1:
        n_held_out = min(max(1, round(n_samples * fraction)), n_samples - 1)
    divided = "" if folds is None else f" in {folds} folds"
    validated = f", {n_held_out:,} to validate with" if n_held_out else ""
    tested = f", {n_test:,} to test with" if n_test else ""
    return f"{n_samples - n_held_out:,} samples to train on{divided}{validated}{tested}"


def get_communicator(settings):
    """Return MPI's communicator of all ranks with ``--mpi``, otherwise None."""
    if not settings.get("mpi"):
        return None
    return import_optional("mpi4py.MPI", "--mpi", "mpi4py", "mpi").COMM_WORLD


def make_network(settings, X, y, y_test):
    """Return the network that the options describe, or the one of the checkpoint to resume."""
    names = list_parameters(Network.__init__) - {"sizes"}
    given = take(settings, names)
    arguments = NETWORK_DEFAULTS | given
    loss = losses.resolve_loss(arguments["loss"])
    layers = settings.get("layers")
    sizes = resolve_sizes(layers, loss, X, y, y_test)
    network = Network(sizes, **arguments)
    if "resume" not in settings:
        return network
    resumed = Network.resume(settings["resume"])
    is_equal = resumed.state.architecture == network.state.architecture
    if (given or layers is not None or sizes[0] != resumed.size[0]) and not is_equal:
        raise CommandError(
            f"--resume {settings['resume']}: the options must describe the network of the "
            f"checkpoint, {resumed}; got {network}"
        )
    return resumed


def standardize(settings, network, train, test, is_table):
    """Standardize samples and targets.

    Parameters
    ----------
    settings : dict
    network : Network
    train : tuple (X, y)
    test : tuple (X, y) or None
    is_table : bool

    Returns
    -------
    fold : callable
        Returns the network for the given data, of one that was trained on the standardized data.
    train : tuple (X, y)
    test : tuple (X, y) or None
    """
    if not settings.get("standardize", is_table and can_fold(network)):
        return lambda network: network, train, test
    if not can_fold(network):
        raise CommandError(
            "--standardize must not be given with input_layers or with layer normalization of the "
            "first layer"
        )

    def flatten(X):
        X = np.asarray(X).reshape(len(X), -1)
        return X / np.float32(255) if X.dtype == np.uint8 else X  # as `fit` reads bytes

    X, y = flatten(train[0]), np.asarray(train[1])
    columns, targets = Standardization.learn(X), None
    if can_fold_targets(network) and y.ndim == 1:
        targets = Standardization.learn(y)

    def scale(pair):
        X, y = pair
        return columns.apply(flatten(X)), y if targets is None else targets.apply(y)

    def fold(network):
        return fold_standardization(network, columns, targets)

    return fold, scale(train), None if test is None else scale(test)


def make_optimizer(settings):
    """Return the optimizer that the options select; None to resume with the checkpoint's.

    Raises
    ------
    CommandError
        If an option is one of another optimizer.
    """
    kinds = {**optimizers.OPTIMIZERS, "lbfgs": LBFGS}
    name = settings.get("optimizer", "sgd")
    kind = look_up("--optimizer", name, kinds)
    own = {field.name for field in fields(kind)}
    others = {field.name for each in kinds.values() for field in fields(each)} - own
    for other in others & set(settings):
        raise CommandError(f"{to_flag(other)} is not an option of --optimizer {name}")
    arguments = take(settings, own)
    if "resume" in settings and not arguments and "optimizer" not in settings:
        return None
    loss = settings.get("loss", NETWORK_DEFAULTS["loss"])
    if kind is optimizers.SGD and loss == "quadratic":
        arguments.setdefault("lr", REFERENCE_LR)
    return kind(**arguments)


def list_fit_arguments(settings, test):
    """Return the arguments of `fit` beside samples, optimizer and communicator.

    Parameters
    ----------
    settings : dict
    test : tuple (X, y) or None
        Validates if no part of the samples is held out.
    """
    arguments = FIT_DEFAULTS | take(settings, set(OPTION_NAMES) - {"optimizer", "comm"})
    if arguments.get("early_stopping"):
        arguments.setdefault("validation_split", EARLY_STOPPING_SPLIT)
    if "validation_split" not in arguments:
        arguments["validation_data"] = test
    checkpoint = settings.get("checkpoint", settings.get("resume"))
    if checkpoint is not None:
        every = settings.get("checkpoint_every", 1)
        arguments["callbacks"] = callbacks.Checkpoint(checkpoint, every=every)
    elif "checkpoint_every" in settings:
        raise CommandError("--checkpoint-every must be given with --checkpoint")
    return arguments

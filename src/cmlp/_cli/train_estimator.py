"""``cmlp train`` for the estimators for tables."""

from cmlp import errors, losses
from cmlp._cli.errors import CommandError
from cmlp._cli.scores import score_estimator
from cmlp._cli.settings import ALIASES, list_estimator_names, list_parameters, take, to_flag
from cmlp._cli.targets import CLASSIFICATION
from cmlp._cli.train_network import describe_divergence, describe_samples


def make_estimator(settings, target):
    """Return the estimator that the options describe.

    Parameters
    ----------
    settings : dict
        See `settings.read_settings`.
    target : Target

    Raises
    ------
    CommandError
        If an option is one of the other task.
    """
    from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

    kind = RealMLPClassifier if target.task == CLASSIFICATION else RealMLPRegressor
    own = {ALIASES.get(name, name): name for name in list_parameters(kind.__init__)}
    arguments = take(settings, list_estimator_names())
    if target.task == CLASSIFICATION:
        arguments.pop("loss", None)  # cross_entropy; see `settings.choose_model`
    elif isinstance(arguments.get("loss"), list):
        arguments["loss"] = losses.resolve_loss(tuple(arguments["loss"]))
    for name in arguments:
        if name not in own:
            raise CommandError(f"{to_flag(name)} is not an option for {target.task}")
    if isinstance(arguments.get("class_weight"), dict):
        labels = {str(label): label for label in target.values.tolist()}
        arguments["class_weight"] = {
            labels.get(str(key), key): weight for key, weight in arguments["class_weight"].items()
        }
    arguments = {"seed": 0} | arguments
    return kind(**{own[name]: value for name, value in arguments.items()})


def rename_argument(error):
    """Return the error of an argument of an estimator with the name of its option."""
    name, _, rest = str(error).partition(" ")
    return CommandError(f"{to_flag(ALIASES[name])} {rest}") if name in ALIASES else error


def train_estimator(settings, inputs, target, test, save):
    """Train an estimator and print its scores on test data.

    Parameters
    ----------
    settings : dict
    inputs : Table
        To train on.
    target : Target
    test : tuple (dict of columns, y) or None
    save : callable
        Called with the estimator and the `History` of its first network.
    """
    quiet = settings.get("quiet", False)
    model = make_estimator(settings, target)
    if not quiet:
        n_test = 0 if test is None else len(test[1])
        line = describe_samples(len(inputs), n_test, model.validation_fraction, model.cv)
        print(f"{model}\n{line}")
    model.verbose = int(not quiet)
    try:
        model.fit(inputs.columns, target.values)
    except errors.TrainingDiverged as error:
        raise CommandError(f"{describe_divergence(error)} (--lr)") from None
    except (TypeError, ValueError) as error:
        raise rename_argument(error) from None
    model.verbose, model.target_name_ = 0, target.name
    save(model, model.histories_[0])
    if test is None:
        print(f"trained on {len(inputs):,} samples")
    else:
        lines = score_estimator(model, *test)
        print("\n".join(lines[-1:] if quiet else lines))

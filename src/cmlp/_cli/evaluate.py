"""``cmlp evaluate``: scores of a model on test data."""

from cmlp._cli.arrays import check_file, has_file, load_data
from cmlp._cli.errors import CommandError, count_nouns
from cmlp._cli.models import (
    choose_inputs,
    choose_kinds,
    choose_target,
    is_estimator,
    load_model,
    make_inputs,
)
from cmlp._cli.scores import convert_target, score_estimator, score_network
from cmlp._cli.tables import CATEGORY, NUMBER, is_table, read_table


def run_evaluate(options):
    """Print a model's scores on test data and, for a classifier, the confusion matrix.

    The test data are the test part of a data set that has one, and otherwise all rows of the file.
    """
    model = load_model(options.model)
    if has_file(options.data) and is_table(options.data):
        X, y = read_labeled(model, options)
    elif is_estimator(model):
        if options.data is not None:
            check_file(options.data)
        raise CommandError(f"{options.model} is a model for tables: give a .csv or .parquet file")
    else:
        train, test = load_data(options.data)
        X, y = train if test is None else test
    score = score_estimator if is_estimator(model) else score_network
    print("\n".join(score(model, X, y, shows_matrix=True)))


def read_labeled(model, options):
    """Return the inputs and the targets of the table that the options select."""
    path, chosen = options.data, {}
    classes = getattr(model, "classes_", None) if is_estimator(model) else None

    def choose(names, has_names):
        chosen["target"] = choose_target(model, path, names, has_names, options.target)
        chosen["inputs"] = choose_inputs(model, path, names, has_names, chosen["target"])
        kind = NUMBER if classes is None else CATEGORY
        return choose_kinds(model, chosen["inputs"]) | {chosen["target"]: kind}

    table = read_table(path, options, choose)
    table, y, n_dropped = convert_target(table, chosen["target"], classes)
    if n_dropped:
        print(f"left out: {count_nouns(n_dropped, 'row')} without a target")
    return make_inputs(model, table, chosen["inputs"]), y

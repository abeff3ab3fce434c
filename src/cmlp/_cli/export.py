"""``cmlp export`` and ``cmlp info``: other formats, and descriptions of models."""

import io
import warnings
from argparse import Namespace
from pathlib import Path

from cmlp import QuantizedNetwork, formats
from cmlp._cli.arrays import check_file, load_data
from cmlp._cli.errors import CommandError, count_nouns, list_names
from cmlp._cli.models import choose_inputs, is_estimator, list_inputs, load_model, make_inputs
from cmlp._cli.predict import load_samples
from cmlp._cli.tables import NUMBER, is_table, read_table
from cmlp._utils.validation import import_optional
from cmlp.config import show_config
from cmlp.formats.atomic import replace_file

# Samples of a data set that calibrate a network.
CALIBRATION_SAMPLES = 10_000

# How a table with samples for the calibration is read: as `cmlp predict` reads one without options.
TABLE_OPTIONS = {"separator": None, "header": None, "encoding": None, "missing": None}

# Options of web pages only.
PAGE_OPTIONS = ("kind", "shape", "center", "names", "range", "title")

# Of programs that `torch.export` saves.
TORCH_EXTENSION = ".pt2"


def run_export(options):
    """Write a model in another format; that of a model for tables includes its preprocessing."""
    model = load_model(options.model)
    target = formats.get_format(options.to)
    out = options.out or str(Path(options.model).with_suffix(target.extension or TORCH_EXTENSION))
    check_c_options(model, options)
    check_page_options(options)
    if target.name == "torch":
        export_torch(model, out)
        print(f"wrote {out}")
        return
    if target.is_native and Path(out).suffix != target.extension:
        raise CommandError(f"--out {out}: it must end in {target.extension}")
    if is_estimator(model):
        export_estimator(model, options, out)
    else:
        write_options = select_write_options(options)
        if options.arithmetic == "int8" and not isinstance(model, QuantizedNetwork):
            model = calibrate(model, options.calibration)
        if isinstance(model, QuantizedNetwork):
            write_options.pop("weights", None)  # they are 8-bit integers
        target.write(model.state, out, **write_options)
    print(f"wrote {out}")


def check_c_options(model, options):
    """Raise `CommandError` if an option of C does not suit the model or the format."""
    is_integer = options.arithmetic == "int8"
    if (is_integer or options.train) and (options.to != "c" or is_estimator(model)):
        raise CommandError("--arithmetic int8 and --train are options of networks for --to c")
    if is_integer and options.train:
        raise CommandError("--train must not be given with --arithmetic int8")
    if isinstance(model, QuantizedNetwork) and options.train:
        raise CommandError("--train must not be given for a quantized network")
    needs_data = is_integer and not isinstance(model, QuantizedNetwork)
    if needs_data and options.calibration is None:
        raise CommandError(
            "--arithmetic int8 needs --calibration DATA, samples like those to predict"
        )
    if options.calibration is not None and not needs_data:
        raise CommandError(
            "--calibration must only be given with --arithmetic int8 for a network that is not "
            "quantized"
        )


def check_page_options(options):
    """Raise `CommandError` if an option of web pages is given for another format."""
    given = {name: getattr(options, name) for name in PAGE_OPTIONS}
    found = [f"--{name}" for name, value in given.items() if value not in (None, [])]
    if found and options.to != "html":
        raise CommandError(f"{found[0]} is an option of --to html")


def calibrate(model, name):
    """Return the quantized network for the samples of a file or a data set."""
    X = load_calibration(model, name)
    try:
        return model.quantize(X)
    except (TypeError, ValueError) as error:
        raise CommandError(f"--calibration {name}: {error}") from error


def load_calibration(model, name):
    """Return samples of a file or a data set: at most `CALIBRATION_SAMPLES` of the first rows."""
    if name in ("mnist", "fashion-mnist", "digits") or Path(name).is_dir():
        X = load_data(name)[0][0]
    elif is_table(name):
        check_file(name)
        chosen = []

        def choose(names, has_names):
            chosen[:] = choose_inputs(model, name, names, has_names)
            return dict.fromkeys(chosen, NUMBER)

        X = make_inputs(model, read_table(name, Namespace(**TABLE_OPTIONS), choose), chosen)
    else:
        check_file(name)
        X = load_samples(name)
    return X[:CALIBRATION_SAMPLES]


def export_estimator(model, options, out):
    """Write an estimator for tables in the format that the options select."""
    if options.uint8 or (options.labels and options.to != "html"):
        raise CommandError("--uint8 and --labels are options of networks")
    if options.to == "html":
        export_estimator_page(model, options, out)
    elif options.to == "onnx":
        model.to_onnx(out)
    elif options.to == "c":
        model.to_c(out, **select_write_options(options))
    else:
        model.save(out)


def export_estimator_page(model, options, out):
    """Write an estimator for tables as a web page."""
    write_options = select_write_options(options)
    for name in ("shape", "center", "names"):
        if write_options.pop(name) is not None:
            raise CommandError(f"--{name} is an option of networks")
    if write_options.pop("kind") == "image":
        raise CommandError("--kind image is for networks; the model is one for tables")
    model.to_html(out, **write_options)


def export_torch(model, out):
    """Write a model as a program of `torch.export`, which needs PyTorch only.

    It reads rows of numbers of the model's dtype; for an estimator, those that `encode` returns.

    Parameters
    ----------
    model : Network or estimator
    out : str
    """
    if isinstance(model, QuantizedNetwork):
        raise CommandError("--to torch must not be given for a quantized network")
    network = model.networks_[0] if is_estimator(model) else model
    torch = import_optional("torch", "--to torch", "PyTorch", "torch")
    rows = torch.zeros(2, network.size[0], dtype=getattr(torch, network.dtype.name))
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself
        shapes = ({0: torch.export.Dim("rows")},)
        program = torch.export.export(model.to_torch(), (rows,), dynamic_shapes=shapes)
        torch.export.save(program, stream)
    with replace_file(out) as file:
        file.write(stream.getvalue())


def select_write_options(options):
    """Return the options of ``export`` that belong to the format, as its `write` takes them."""
    if options.to == "onnx":
        return {
            "input_dtype": "uint8" if options.uint8 else "float32",
            "labels": options.labels and split_names(options.labels),
        }
    if options.to == "c":
        found = {
            "name": options.name,
            "weights": "int8" if options.int8 else "float32",
            "own_math": options.own_math,
        }
        if options.arithmetic != "float32":
            found["arithmetic"] = options.arithmetic
        if options.train:
            found["train"] = True
        return found
    if options.to == "html":
        if options.labels is True:
            raise CommandError("--labels must have names for --to html: --labels NAME,NAME")
        return {
            "kind": options.kind,
            "shape": options.shape and parse_shape(options.shape),
            "labels": options.labels and split_names(options.labels),
            "names": options.names and split_names(options.names),
            "ranges": parse_ranges(options.range),
            "title": options.title,
            "weights": "int8" if options.int8 else "float32",
            "center": options.center,
        }
    return {}


def split_names(text):
    """Return names that commas separate, a list of str; True remains."""
    return text if text is True else [name.strip() for name in text.split(",")]


def parse_shape(text):
    """Return the two integers of ``--shape``, a tuple.

    Raises
    ------
    CommandError
        If it is something else.
    """
    sides = text.lower().replace("x", ",").split(",")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise CommandError(f"--shape {text}: it must be HEIGHT,WIDTH, two whole numbers")
    return tuple(map(int, sides))


def parse_ranges(texts):
    """Return the ranges of columns, a dict of (low, high), or None without any.

    Parameters
    ----------
    texts : list of str
        ``NAME=LOW,HIGH`` each.

    Raises
    ------
    CommandError
        If one is something else.
    """
    found = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            low, high = map(float, numbers.split(","))
        except ValueError:
            raise CommandError(f"--range {text}: it must be NAME=LOW,HIGH") from None
        found[name] = low, high
    return found or None


def run_info(options):
    """Print a model's layers, or the configuration of cmlp on this machine."""
    if not options.model:
        show_config()
        return
    model = load_model(options.model, to_predict=False)
    print(model)
    if is_estimator(model):
        describe_estimator(model)
    else:
        model.summary()


def describe_estimator(model):
    """Print columns, classes and networks of an estimator for tables."""
    encoder, names = model.encoder_, list_inputs(model)
    if not isinstance(names, list):
        names = [f"x{i}" for i in range(names)]
    print(f"numbers: {list_names(names[i] for i in encoder.numeric_columns_) or 'none'}")
    print("categories:" + " none" * (not len(encoder.categorical_columns_)))
    for i, categories in zip(encoder.categorical_columns_, encoder.categories_, strict=True):
        print(f"  {names[i]}: {list_names(map(str, categories))}")
    if model.target_name_ is not None:
        print(f"target: {model.target_name_}")
    if hasattr(model, "classes_"):
        print(f"classes: {list_names(map(str, model.classes_))}")
    epochs = ", ".join(str(epoch + 1) for epoch in model.best_epochs_)  # counted from 1
    print(f"{count_nouns(len(model.networks_), 'network')}, best epoch {epochs}")
    model.networks_[0].summary()

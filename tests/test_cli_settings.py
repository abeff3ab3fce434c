"""Options of `cmlp train` from flags, --set and a configuration file; checkpoints, plots."""

import inspect
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from test_cli import program, run, table  # noqa: F401 - a fixture

from cmlp import LBFGS, SGD, Network, optimizers
from cmlp._cli import settings
from cmlp._cli.parser import build_parser
from cmlp.callbacks import EarlyStopping
from cmlp.schedules import Step


def read(tmp_path, text="", assignments=(), **flags):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return settings.read_settings(flags, str(path), assignments)


def test_flags_override_set_which_overrides_the_file(tmp_path):
    found = read(
        tmp_path, "epochs = 1\nlr = 1.0\nseed = 1\nbatch-size = 7", ["lr=2.0", "seed=2"], seed=3,
        target=None,
    )  # fmt: skip
    assert found == {"epochs": 1, "lr": 2.0, "seed": 3, "batch_size": 7}


def test_names_of_the_estimators_mean_the_same(tmp_path):
    found = read(tmp_path, "max_epochs = 5\nlearning_rate = 0.1", ["random_state=4"])
    assert found == {"epochs": 5, "lr": 0.1, "seed": 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-3", 1e-3), ("true", True), ("relu", "relu"), ("relu,tanh", ["relu", "tanh"]),
        ("[1, 2]", [1, 2]), ("0.1,0.2", [0.1, 0.2]), ("'a,b'", "a,b"),
        ('{name = "step", every = 2}', {"name": "step", "every": 2}),
    ],
)  # fmt: skip
def test_values(text, value):
    assert settings.parse_value(text) == value


@pytest.mark.parametrize(
    ("text", "assignments", "message"),
    [
        ("epoch = 1", (), r"'epoch' is not an option \(did you mean 'epochs'\?\)"),
        ("", ["drop_out=1"], r"--set: 'drop_out' is not an option \(did you mean 'dropout'\?\)"),
        ("", ["dropout"], "--set must be NAME=VALUE; got 'dropout'"),
        ("epochs = 1\nmax_epochs = 2", (), "'epochs' and 'max_epochs' are the same option"),
        ("[fit]\nepochs = 1", (), r"\[fit\] must not be a section; names are flat"),
        ("epochs 1", (), "not a TOML file"),
        ("callbacks = 1", (), "'callbacks' is not an option"),
    ],
)
def test_wrong_names_are_refused(tmp_path, text, assignments, message):
    with pytest.raises(settings.CommandError, match=message):
        read(tmp_path, text, assignments)


def test_tables_are_objects():
    build = settings.build_value
    assert build("schedule", {"name": "step", "every": 3}) == Step(every=3)
    assert build("early_stopping", {"patience": 2}) == EarlyStopping(patience=2)
    assert build("class_weight", {"0": 2.0}) == {0: 2.0}
    assert build("betas", [0.9, 0.99]) == (0.9, 0.99)
    [layer] = build("input_layers", [{"name": "scale"}])
    assert type(layer).__name__ == "Scale"
    for name, value, message in (
        ("schedule", {"name": "stepp"}, "did you mean 'step'"),
        ("schedule", {"name": "step", "evry": 3}, "no argument 'evry'.*did you mean 'every'"),
        ("early_stopping", {"patients": 3}, "did you mean 'patience'"),
    ):
        with pytest.raises((ValueError, settings.CommandError), match=message):
            build(name, value)


def test_every_option_of_python_is_known():
    pytest.importorskip("sklearn")
    from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

    networks, estimators = settings.list_network_names(), settings.list_estimator_names()
    for function in (Network.__init__, Network.fit, SGD, LBFGS, *optimizers.OPTIMIZERS.values()):
        names = set(inspect.signature(function).parameters)
        assert names - networks <= settings.PYTHON_ONLY | {"self", "X", "y", "sizes"}
    for kind in (RealMLPClassifier, RealMLPRegressor):
        names = {settings.ALIASES.get(n, n) for n in inspect.signature(kind.__init__).parameters}
        assert names - estimators <= settings.PYTHON_ONLY | {"self"}
    # Options of both, but for those that select a network.
    assert networks & estimators - {"activation", "loss"} == settings.SHARED_NAMES
    assert not settings.COMMAND_NAMES & (networks | estimators)


def test_every_flag_is_an_option():
    options = vars(build_parser().parse_args(["train"]))
    known = settings.list_network_names() | settings.COMMAND_NAMES
    extra = {
        "preset",
        "variant",
        "cv",
        "time_limit",
        "file",
        "config",
        "set",
        "run",
        "print_completion",
    }
    assert set(options) <= known | extra
    assert all(options[name] is None for name in known & set(options))


def test_a_network_from_a_file(capsys, tmp_path, table):  # noqa: F811
    config, model = tmp_path / "run.toml", tmp_path / "model.npz"
    config.write_text(f"""
        data = '{table}'
        target = "label"
        layers = [3, 8, 4, 2]
        activation = ["relu", "tanh"]
        loss = ["cross_entropy", 0.1]
        optimizer = "adamw"
        weight_decay = 0.1
        schedule = {{ name = "step", every = 2 }}
        early_stopping = {{ patience = 3 }}
        class_weight = {{ 0 = 2.0 }}
        normalization = "layer"
        epochs = 4
        out = '{model}'
    """)
    code, out, err = run(capsys, "train", "--config", config, "--set", "dropout=0.1")
    assert (code, err) == (0, "")
    assert "val_loss" in out
    net = Network.load(model)
    assert (net.size, net.activation, net.loss) == ([3, 8, 4, 2], ("relu", "tanh"), "cross_entropy")
    assert net.state.training["optimizer"].startswith("AdamW(")
    code, _, err = run(capsys, "train", table, "--optimizer", "adam", "--set", "momentum=0.9")
    assert (code, err) == (2, "cmlp: --momentum is not an option of --optimizer adam\n")
    code, _, err = run(capsys, "train", "digits", "--preset", "fast")
    assert (code, err) == (2, "cmlp: --preset is not an option of --model network\n")
    code, _, err = run(capsys, "train", "digits", "--target", "a")
    assert (code, err) == (2, "cmlp: --target needs a table: a .csv, .tsv or .parquet file\n")
    code, _, err = run(capsys, "train", "digits", "--model", "realmlp")
    assert (code, "needs a table" in err) == (2, True)


def test_an_estimator_from_options(capsys, tmp_path, table):  # noqa: F811
    pytest.importorskip("sklearn")
    from cmlp.tabular import RealMLPClassifier

    model = tmp_path / "model.npz"
    sets = ("hidden_layer_sizes=[8,8]", "calibrate=temperature", "batch_size=64")
    arguments = [argument for each in sets for argument in ("--set", each)]
    code, _, err = run(capsys, "train", table, "--epochs", 3, "--lr", 0.02, "--dropout", 0.2,
                         "--class-weight", "{0 = 2.0}", *arguments, "--out", model)  # fmt: skip
    assert (code, err) == (0, "")
    found = RealMLPClassifier.load(model)
    assert (found.max_epochs, found.learning_rate, found.dropout) == (3, 0.02, 0.2)
    assert (found.hidden_layer_sizes, found.calibrate) == ([8, 8], "temperature")
    assert found.class_weight == {0: 2.0}
    assert found.networks_[0].size[1:-1] == [8, 8]
    code, _, err = run(capsys, "train", table, "--set", "quantiles=[0.1]")
    assert (code, err) == (2, "cmlp: --quantiles is not an option for classification\n")


def test_interrupted_training_resumes(capsys, tmp_path, table, ctrl_c):  # noqa: F811
    checkpoint, model, whole = (tmp_path / name for name in ("run.npz", "a.npz", "b.npz"))
    options = ("train", table, "--layers", "3,8,2", "--quiet", "--epochs")
    process = program(
        "train", table, "--layers", "3,8,2", "--epochs", 400_000, "--checkpoint", checkpoint
    )
    for line in process.stdout:
        if line.startswith("epoch 3/"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    done = Network.load(checkpoint).state.epoch
    epochs = done + 5
    code, _, err = run(capsys, *options, epochs, "--resume", checkpoint, "--out", model)
    assert (code, err) == (0, "")
    run(capsys, *options, epochs, "--out", whole)
    for a, b in zip(Network.load(model).weight, Network.load(whole).weight, strict=True):
        np.testing.assert_array_equal(a, b)
    code, _, err = run(capsys, "train", table, "--layers", "3,9,2", "--resume", checkpoint)
    assert code == 2
    assert "the options must describe the network of the checkpoint" in err
    code, _, err = run(capsys, "train", table, "--resume", model)
    assert (code, "without a checkpoint" in err) == (2, True)


def test_a_plot(capsys, tmp_path, table):  # noqa: F811
    pytest.importorskip("matplotlib")
    for name, start in (("curve.png", b"\x89PNG"), ("curve.svg", b"<?xml")):
        code, out, err = run(capsys, "train", table, "--layers", "3,2", "--plot", tmp_path / name)
        assert (code, err) == (0, "")
        assert f"saved {tmp_path / name}" in out
        assert (tmp_path / name).read_bytes().startswith(start)
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion(capsys, shell):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as caught:
        run(capsys, "--print-completion", shell)
    assert caught.value.code in (0, None)
    assert "batch-size" in capsys.readouterr().out


def test_completion_needs_shtab(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as caught:
        run(capsys, "--print-completion", "bash")
    assert caught.value.code == 2
    assert "pip install 'cmlp[cli]'" in capsys.readouterr().err


def test_the_version_and_help_import_nothing_optional(capsys):
    with pytest.raises(SystemExit):
        run(capsys, "--version")
    assert re.fullmatch(r"cmlp \d+\.\d+\.\S+\n", capsys.readouterr().out)
    code = (
        "import sys; from cmlp._cli.parser import build_parser; build_parser().format_help();"
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'polars', 'pyarrow', 'matplotlib',"
        "'shtab', 'cmlp._bench', 'cmlp.tabular') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_data_as_an_argument_and_as_an_option(capsys):
    with pytest.raises(SystemExit) as caught:
        run(capsys, "train", "a.csv", "--data", "b.csv")
    assert caught.value.code == 2


def test_bench(capsys, monkeypatch):
    from cmlp._bench import jobs, peers

    monkeypatch.setattr(jobs, "QUICK_JOBS", {"row": jobs.JOBS["row"]})
    monkeypatch.setattr(
        peers, "PEERS", {name: peers.PEERS[name] for name in ("cmlp", "NumPy reference")}
    )
    code, out, err = run(capsys, "bench", "--rounds", 2)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "NumPy reference" in lines[3]
    ours, numpy = (float(n.replace(",", "")) for n in lines[4].split()[-2:])
    assert 0 < ours < numpy
    assert run(capsys, "bench", "--rounds", 0)[0] == 2


def test_a_number_of_epochs_needs_a_checkpoint(capsys, table):  # noqa: F811
    code, _, err = run(capsys, "train", table, "--checkpoint-every", 2)
    assert (code, err) == (2, "cmlp: --checkpoint-every must be given with --checkpoint\n")


def test_checkpoints_of_another_scale_are_not_models(capsys, tmp_path, table):  # noqa: F811
    run_file, model = tmp_path / "run.npz", tmp_path / "model.npz"
    options = ("--layers", "3,4,2", "--epochs", 2, "--checkpoint", run_file, "--out", model)
    assert run(capsys, "train", table, *options, "--quiet")[0] == 0
    for command in (
        ("predict", run_file, table), ("evaluate", run_file, table),
        ("export", run_file, "--to", "c"),
    ):  # fmt: skip
        code, out, err = run(capsys, *command)
        assert (code, out) == (2, "")
        assert "is a checkpoint of training on standardized columns" in err
    assert run(capsys, "info", run_file)[0] == 0
    assert run(capsys, "evaluate", model, table)[0] == 0
    assert "standardized" not in Network.load(model).state.training
    assert run(capsys, "train", table, *options[:-4], "--resume", run_file, "--quiet")[0] == 0
    assert run(capsys, "train", table, *options, "--no-standardize", "--quiet")[0] == 0
    assert run(capsys, "evaluate", run_file, table)[0] == 0


@pytest.mark.parametrize("text", ["[64,", "[relu, tanh]", "{a=1", '"relu'])
def test_broken_toml_is_an_error(capsys, text):
    code, out, err = run(capsys, "train", "digits", "--set", f"activation={text}")
    assert (code, out) == (2, "")
    assert f"--set activation: {text} is not a value in TOML, where text has quotes" in err
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "train", "digits", "--activation", text)
    assert f"argument --activation: {text} is not a value in TOML" in capsys.readouterr().err

"""The command line, in this process and as a program."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import PRINT_PEAK_MEMORY, measures_memory

from cmlp import Adam, Network, cli, datasets, losses
from cmlp._cli import arrays
from cmlp._cli.sizes import REGRESSION_LOSSES


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def table(tmp_path, rng):
    X = rng.normal(size=(400, 3))
    path = tmp_path / "table.csv"
    rows = np.column_stack([X, X[:, 0] > 0])
    np.savetxt(path, rows, delimiter=",", header="a,b,c,label", comments="", fmt="%.6g")
    return path


def test_train_evaluate_predict_info(capsys, tmp_path, table):
    model = tmp_path / "model.npz"
    options = ("--data", table, "--model", "network", "--epochs", 20, "--batch-size", 8)
    code, out, err = run(capsys, "train", *options, "--seed", 1, "--out", model)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("target 'label': classification (2 classes, 0, 1)")
    assert lines[2].startswith("Network([3, 30, 2]")
    assert len([line for line in lines if line.startswith("epoch ")]) == 20
    accuracy = float(re.fullmatch(r"test accuracy: (0\.\d{4}|1\.0000)", lines[-1])[1])
    assert accuracy > 0.95
    assert Network.load(model).size == [3, 30, 2]

    code, out, _ = run(capsys, "evaluate", model, "--data", table)
    assert code == 0
    counts = np.array([line.split()[1:] for line in out.splitlines()[2:4]], int)
    assert counts.sum() == 400  # all rows of the file
    assert out.splitlines()[-1] == f"test accuracy: {np.trace(counts) / 400:.4f}"
    assert np.trace(counts) > 380

    samples = tmp_path / "samples.csv"
    samples.write_text("3,0,0\n-3,0,0\n")
    assert run(capsys, "predict", model, samples, "--raw")[1] == "1\n0\n"
    assert run(capsys, "predict", model, samples)[1] == ("x0,x1,x2,prediction\n3,0,0,1\n-3,0,0,0\n")
    proba = run(capsys, "predict", model, samples, "--raw", "--proba")[1].splitlines()
    assert [len(line.split(",")) for line in proba] == [2, 2]
    np.save(tmp_path / "samples.npy", np.array([[3.0, 0, 0]]))
    assert run(capsys, "predict", model, tmp_path / "samples.npy")[1] == "1\n"
    assert "loss quadratic" in run(capsys, "info", model)[1]

    code, out, _ = run(capsys, "train", *options, "--seed", 1, "--quiet")
    assert out == lines[-1] + "\n"


def test_train_on_digits(capsys, monkeypatch):
    monkeypatch.setattr(arrays, "GENERATED_SAMPLES", (2000, 500))
    code, out, _ = run(capsys, "train", "--data", "digits", "--epochs", 3, "--layers", "784,16,10")
    assert code == 0
    assert "2,000 samples to train on, 500 to test with" in out


def test_a_note_says_that_mnist_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(arrays, "GENERATED_SAMPLES", (500, 100))

    def absent(**_):
        raise FileNotFoundError("nowhere")

    monkeypatch.setattr(datasets, "load_mnist", absent)
    code, _, err = run(capsys, "train", "--epochs", 1)
    assert code == 0
    assert len(err.splitlines()) == 1
    assert err.startswith(
        "MNIST was not found: training on generated digits; to use MNIST, set CMLP_DATA"
    )


def test_npz_with_its_own_test_data(capsys, tmp_path, rng):
    path = tmp_path / "data.npz"
    X = rng.integers(0, 255, (60, 4, 4)).astype(np.uint8)
    y = np.arange(60) % 3
    np.savez(path, x_train=X, y_train=y, x_test=X[:7], y_test=y[:7])
    code, out, _ = run(capsys, "train", "--data", path, "--epochs", 1, "--loss", "cross_entropy")
    assert code == 0
    assert "[16, 30, 3]" in out
    assert "60 samples to train on, 7 to test with" in out
    Network([16, 3], loss="cross_entropy", seed=0).save(tmp_path / "model.npz")
    out = run(capsys, "evaluate", tmp_path / "model.npz", "--data", path)[1]
    assert count_in_confusion(out) == 7


def test_images_may_be_standardized(capsys, tmp_path, rng):
    path, model = tmp_path / "data.npz", tmp_path / "model.npz"
    y = np.arange(300) % 2
    X = np.clip(rng.normal(100 + 60 * y[:, None, None], 30, (300, 4, 4)), 0, 255).astype(np.uint8)
    np.savez(path, X=X, y=y)
    out = run(capsys, "train", path, "--standardize", "--quiet", "--out", model)[1]
    assert float(out.split()[-1]) > 0.9
    assert float(run(capsys, "evaluate", model, path)[1].split()[-1]) > 0.9
    assert Network.load(model).score(X / 255, y) > 0.9


def test_info(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "cmlp",
        "numpy",
        "isa",
        "bfloat16",
        "blas",
        "threads",
    ]


def test_export(capsys, tmp_path, rng):
    model = tmp_path / "model.npz"
    net = Network([3, 4, 2], loss="cross_entropy", seed=0)
    net.fit(rng.normal(size=(20, 3)), rng.integers(0, 2, 20), epochs=2)
    net.save(model)
    for kind, ending in (("onnx", "onnx"), ("c", "c"), ("safetensors", "safetensors")):
        code, out, err = run(capsys, "export", model, "--to", kind)
        assert (code, out, err) == (0, f"wrote {tmp_path / f'model.{ending}'}\n", "")
        assert (tmp_path / f"model.{ending}").stat().st_size > 200
    assert repr(Network.load(tmp_path / "model.safetensors")) == repr(net)
    assert run(capsys, "export", tmp_path / "model.safetensors", "--to", "npz", "--out",
               tmp_path / "copy.npz")[0] == 0  # fmt: skip
    assert repr(Network.load(tmp_path / "copy.npz")) == repr(net)
    out = tmp_path / "small.c"
    assert run(capsys, "export", model, "--to", "c", "--int8", "--own-math", "--name", "digits",
               "--out", out)[0] == 0  # fmt: skip
    assert "int digits_classify(const float *x)" in out.read_text()
    assert "int8_t" in out.read_text()
    assert run(capsys, "export", model, "--to", "onnx", "--uint8", "--labels")[0] == 0
    assert run(capsys, "export", model, "--to", "onnx", "--labels", "no,yes")[0] == 0
    assert b"yes" in model.with_suffix(".onnx").read_bytes()
    shown = run(capsys, "info", model)[1]
    for text in ("3 -> 4", "26 parameters", "optimizer Adam(", "epochs 2", "samples 20", "loss 0."):
        assert text in shown


def test_export_to_c_with_integers_and_with_training(capsys, tmp_path, table):
    X = np.loadtxt(table, delimiter=",", skiprows=1)
    net = Network([3, 8, 2], activation="relu", loss="cross_entropy", seed=0)
    net.fit(X[:, :3], X[:, 3].astype(int), epochs=2)
    model, out = tmp_path / "model.npz", tmp_path / "model.c"
    net.save(model)
    net.quantize(X[:, :3]).save(tmp_path / "small.npz")
    np.save(tmp_path / "X.npy", X[:, :3])
    np.save(tmp_path / "y.npy", X)
    written = []
    for source, *options in ((model, "--calibration", table), (tmp_path / "small.npz",),
                             (model, "--int8", "--calibration", tmp_path / "X.npy")):  # fmt: skip
        code, _, err = run(capsys, "export", source, "--to", "c", "--arithmetic", "int8", "--out",
                           out, *options)  # fmt: skip
        assert (code, err) == (0, "")
        assert "float" not in out.read_text()
        written.append(out.read_text())
    assert written[1] == written[2]
    assert run(capsys, "export", model, "--to", "c", "--train")[0] == 0
    assert "float model_train_step(" in out.read_text()
    for options, message in (
        (("--arithmetic", "int8"), "--arithmetic int8 needs --calibration DATA"),
        (("--calibration", table), "--calibration must only be given with --arithmetic int8"),
        (("--arithmetic", "int8", "--train"), "--train must not be given with --arithmetic int8"),
        (("--arithmetic", "int8", "--calibration", "nowhere.npy"), "nowhere.npy"),
        (("--arithmetic", "int8", "--calibration", "nowhere.csv"), "nowhere.csv"),
        (("--arithmetic", "int8", "--calibration", tmp_path / "y.npy"), "y.npy: X must have"),
    ):
        code, _, err = run(capsys, "export", model, "--to", "c", *options)
        assert code != 0
        assert message in err
    for kind in ("onnx", "torch"):
        code, _, err = run(capsys, "export", model, "--to", kind, "--train")
        assert code != 0
        assert "--train are options of networks for --to c" in err


def test_a_quantized_network(capsys, tmp_path, table):
    X = np.loadtxt(table, delimiter=",", skiprows=1)
    net = Network([3, 8, 2], activation="relu", loss="cross_entropy", seed=0)
    net.fit(X[:, :3], X[:, 3].astype(int), epochs=20, optimizer=Adam(0.02))
    model = tmp_path / "small.npz"
    net.quantize(X[:, :3]).save(model)
    assert "8-bit integers" in run(capsys, "info", model)[1]
    code, out, _ = run(capsys, "evaluate", model, "--data", table)
    assert code == 0
    assert float(out.split()[-1]) > 0.9
    np.save(tmp_path / "samples.npy", X[:5, :3])
    assert len(run(capsys, "predict", model, tmp_path / "samples.npy")[1].split()) == 5
    for target, name in (("c", "small.c"), ("onnx", "small.onnx")):
        code, out, err = run(capsys, "export", model, "--to", target)
        assert (code, err) == (0, "")
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "nowhere.npz", "--to", "c"), "nowhere.npz"),
        (("train", "--data", "nowhere.csv"), "--data nowhere.csv: no such file"),
        (("train", "--data", "{table}", "--layers", "3,x"), "--layers 3,x: it must be whole"),
        (("train", "--data", "{table}", "--layers", "4,2"), "--layers 4,2: the first must be 3"),
        (("train", "--data", "{table}", "--activation", "rellu"), "did you mean 'relu'"),
        (("train", "--data", "{table}", "--lr", "-1"), "lr must be positive and finite"),
        (
            ("train", "--data", "{table}", "--label", "z"),
            "column .z. does not exist; the columns are a, b, c, label",
        ),
        (("train", "--data", "{table}", "--out", "/nowhere/m.npz"), "--out /nowhere/m.npz"),
        (("train", "--data", "{table}", "--out", "m.txt"), "it must be a .npz file"),
        (("train", "--data", "{table}", "--threads", "0"), "--threads must not be 0"),
        (("evaluate", "{table}"), "is not a network file"),
        (("predict", "nowhere.npz", "{table}"), "nowhere.npz"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(capsys, table, arguments, message):
    arguments = [a.format(table=table) for a in arguments]
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert err.startswith("cmlp: ")
    assert re.search(message, err)
    assert "accuracy" not in out


REGRESSION = ("mse", "mae", "huber", "log_cosh", "poisson", "poisson_deviance", "pinball",
              "gaussian_nll")  # fmt: skip


def test_a_missing_package_is_an_error_with_its_installation(capsys, tmp_path, monkeypatch):
    model = tmp_path / "model.npz"
    Network([3, 2], seed=0).save(model)
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run(capsys, "export", model, "--to", "onnx")
    assert code == 2
    assert err.startswith("cmlp: ")
    assert "pip install 'cmlp[onnx]'" in err
    assert err.count("\n") == 1


@pytest.fixture
def houses(tmp_path, rng):
    """A table whose label column, after three others, has whole numbers that are not classes."""
    X = rng.normal(size=(600, 3))
    prices = np.round(np.exp(X[:, 0] / 4 + 1) * 100)
    path = tmp_path / "houses.csv"
    np.savetxt(path, np.column_stack([X, prices]), delimiter=",", header="a,b,c,price",
               comments="", fmt="%.6g")  # fmt: skip
    return path


@pytest.mark.parametrize("loss", REGRESSION)
def test_a_regression_loss_predicts_the_label_column(capsys, tmp_path, houses, loss):
    model = tmp_path / "model.npz"
    data = ("--data", houses, "--label", "price")
    options = ("--loss", loss, "--optimizer", "adam", "--lr", 0.03, "--epochs", 30)
    code, out, err = run(capsys, "train", *data, *options, "--out", model)
    assert (code, err) == (0, "")
    assert f"\nNetwork([3, 30, {2 if loss == 'gaussian_nll' else 1}]" in out
    assert "accuracy" not in out
    assert re.fullmatch(r"test r2: -?\d+\.\d{4}", out.splitlines()[-1])
    code, out, err = run(capsys, "evaluate", model, *data)
    assert (code, err) == (0, "")
    X, y = datasets.load_csv(houses)
    network = Network.load(model)
    rmse = np.sqrt(np.mean((network.predict(X).reshape(len(y)).astype(float) - y) ** 2))
    assert out == f"test rmse: {rmse:.6g}\ntest r2: {network.score(X, y):.4f}\n"
    if loss.startswith("poisson"):
        assert Network.load(model).score(X, y) > 0.8
        assert float(run(capsys, "predict", model, write_row(tmp_path), "--raw")[1]) > 100


def write_row(path):
    (path / "row.csv").write_text("0.1,0.2,0.3\n")
    return path / "row.csv"


def test_every_loss_is_of_classification_or_of_regression():
    classification = {
        "quadratic", "cross_entropy", "binary_cross_entropy", "hinge", "squared_hinge"
    }  # fmt: skip
    assert {*REGRESSION, *classification} == set(losses.LOSSES)
    assert {*REGRESSION} == {*REGRESSION_LOSSES}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "classification"), r"labels must be whole numbers from 0 to 99; got 5\d\d; to "
         "predict a number, use --loss mse; for more classes, give --layers"),
        (("--layers", "3,4,2", "--loss", "quadratic"), r"from 0 to 1; got 5\d\d; to predict a "
         "number, use --loss mse"),
        (("--layers", "3,4,1", "--loss", "quadratic", "--activation", "relu"), "from 0 to 1; got"),
        (("--layers", "3,4,2"), "--layers 3,4,2: the last must be 1 for --loss mse, which"),
        (("--loss", "mae", "--layers", "3,4,2"), "the last must be 1 for --loss mae, which"),
    ],
)  # fmt: skip
def test_numbers_are_no_classes(capsys, houses, arguments, message):
    code, out, err = run(capsys, "train", "--data", houses, "--model", "network", *arguments)
    assert code == 2
    assert "epoch" not in out
    assert len(err.splitlines()) == 1
    assert re.search(message, err)


def test_a_table_may_have_many_classes(capsys, tmp_path, rng):
    path = tmp_path / "many.npz"
    np.savez(path, X=rng.normal(size=(4000, 3)), y=np.arange(4000) % 300)
    options = ("--loss", "cross_entropy", "--epochs", 1)
    assert "[3, 30, 300]" in run(capsys, "train", "--data", path, *options)[1]
    np.savez(path, X=rng.normal(size=(2000, 3)), y=np.arange(2000) % 300)
    assert "from 0 to 199; got 299" in run(capsys, "train", "--data", path, *options)[2]
    assert run(capsys, "train", "--data", path, *options, "--layers", "3,300")[0] == 0


def test_evaluate_refuses_labels_that_are_no_classes(capsys, tmp_path, table, houses):
    for sizes in ([3, 1], [3, 2]):
        for activation in ("relu", "tanh"):
            model = tmp_path / "model.npz"
            Network([sizes[0], 4, *sizes[1:]], activation=activation, seed=0).save(model)
            code, out, err = run(capsys, "evaluate", model, "--data", houses, "--target", "price")
            assert (code, out) == (2, "")
            assert re.search(r"labels must be whole numbers from 0 to 1; got 5\d\d", err)
            code, out, err = run(capsys, "evaluate", model, "--data", table)
            assert (code, err) == (0, "")
            assert count_in_confusion(out) == 400


def count_in_confusion(out):
    return sum(int(n) for line in out.splitlines()[2:-1] for n in line.split()[1:])


def test_targets_in_several_shapes(capsys, tmp_path, rng):
    X, path, model = rng.normal(size=(300, 3)), tmp_path / "data.npz", tmp_path / "model.npz"
    labels = X[:, 0] > 0
    train = ("train", "--data", path, "--out", model, "--epochs", 30, "--quiet")
    # One column, booleans, one output or two, one-hot rows: always the same task.
    for y, layers in ((labels[:, None], "3,2"), (labels, "3,1"), (labels[:, None] * 1.0, "3,1"),
                      (np.eye(2)[labels * 1], "3,2")):  # fmt: skip
        np.savez(path, X=X, y=y)
        assert run(capsys, *train, "--layers", layers)[0] == 0
        code, out, err = run(capsys, "evaluate", model, "--data", path)
        assert (code, err) == (0, "")
        assert count_in_confusion(out) == 300
        assert float(out.split()[-1]) > 0.9
    np.savez(path, X=X, y=np.stack([X[:, 0], X[:, 1] + 7], axis=1))
    assert run(capsys, *train, "--loss", "mse")[1].splitlines()[-1].startswith("test r2: ")
    assert Network.load(model).size == [3, 30, 2]
    assert len(run(capsys, "predict", model, path)[1].splitlines()[0].split(",")) == 2


def test_multilabel_and_real_targets(capsys, tmp_path, rng):
    X, path, model = rng.normal(size=(300, 3)), tmp_path / "data.npz", tmp_path / "model.npz"
    np.savez(path, X=X, y=np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1))
    options = ("--loss", "binary_cross_entropy", "--lr", 1, "--epochs", 20, "--quiet")
    out = run(capsys, "train", "--data", path, *options, "--out", model)[1]
    assert re.fullmatch(r"test accuracy: \d\.\d{4}", out.splitlines()[-1])
    out = run(capsys, "evaluate", model, "--data", path)[1]
    assert re.fullmatch(r"test accuracy: (0\.9\d*|1\.0*)\n", out)  # no confusion matrix
    assert set(run(capsys, "predict", model, path)[1].split()) == {"0,0", "0,1", "1,0", "1,1"}
    y = 1 / (1 + np.exp(-X[:, 0]))  # a network in Python may learn numbers with a sigmoid
    net = Network([3, 1], loss="quadratic", seed=0)
    net.fit(X, y, epochs=100)
    net.save(model)
    np.savez(path, X=X, y=y)
    code, out, err = run(capsys, "evaluate", model, "--data", path)
    assert (code, err) == (0, "")
    assert out.endswith(f"\ntest r2: {net.score(X, y):.4f}\n")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((6, 3))}, "it must have an array y"),
        ({"X": np.zeros((6, 3)), "y": np.zeros(5)}, r"got shapes \(6, 3\) of X and \(5,\) of y"),
        ({"X": np.zeros((6, 3)), "y": 1.0}, r"got shapes \(6, 3\) of X and \(\) of y"),
        ({"X": np.zeros((6, 3)), "y": np.zeros((6, 2, 2))}, "y must have shape"),
        ({"X": np.zeros((0, 3)), "y": np.zeros(0)}, "X must have at least one row; got 0"),
        ({"X": np.zeros((6, 3)), "y": np.array(list("abcdef"))}, "y must hold real numbers"),
        ({"X": np.zeros((6, 3)), "y": np.full(6, np.nan)}, "whole numbers from 0 to .; got nan"),
        ({"x_train": np.zeros((6, 3)), "y_train": np.zeros(6), "x_test": np.zeros((2, 3)),
          "y_test": np.zeros(3)}, r"got shapes \(2, 3\) of X and \(3,\) of y"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_arrays_that_are_no_data_set(capsys, tmp_path, arrays, message, command):
    np.savez(tmp_path / "data.npz", **arrays)
    Network([3, 2], seed=0).save(tmp_path / "model.npz")
    model = [tmp_path / "model.npz"] if command == "evaluate" else ["--layers", "3,2"]
    code, out, err = run(capsys, command, *model, "--data", tmp_path / "data.npz")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(message, err)


def test_one_output_learns_labels_of_two_classes(capsys, table):
    options = ("--data", table, "--layers", "3,1", "--epochs", 30, "--seed", 1)
    code, out, err = run(capsys, "train", *options)
    assert (code, err) == (0, "")
    assert "\nNetwork([3, 1]" in out
    accuracy = float(re.fullmatch(r"test accuracy: (\d\.\d{4})", out.splitlines()[-1])[1])
    assert accuracy > 0.95


def test_wrong_options_end_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "--epoch", "x"])
    assert caught.value.code == 2
    assert "invalid int value: 'x'" in capsys.readouterr().err


def program(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "cmlp", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_ctrl_c_saves_and_exits_with_130(tmp_path, table, ctrl_c):
    model = tmp_path / "model.npz"
    process = program(
        "train", "--data", table, "--model", "network", "--epochs", 10_000_000, "--out", model
    )
    for line in process.stdout:
        if line.startswith("epoch 3/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "cmlp: interrupted\n"
    assert Network.load(model).size == [3, 30, 2]


def test_a_closed_pipe_prints_no_traceback(tmp_path, table):
    process = program("train", "--data", table, "--model", "network", "--epochs", 10_000_000)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


@measures_memory
def test_images_stay_bytes(tmp_path):
    # 50,000 images of MNIST's size take 39 MB as bytes; as float32 they would take 157 MB.
    X = np.zeros((50_000, 784), np.uint8)
    X[np.arange(50_000), np.arange(50_000) % 10] = 255
    np.savez(tmp_path / "data.npz", X=X, y=np.arange(50_000) % 10)
    code = "import sys; from cmlp import cli; cli.main(sys.argv[1:])" + PRINT_PEAK_MEMORY
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", tmp_path / "data.npz", "--epochs", "1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout.splitlines()[-1]) < 238  # MiB: 250 MB


def run_in_terminal(code, columns):
    """Run Python code on a terminal; return standard output and the lines on standard error."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux: at the end of the process
        while part := os.read(ours, 4096):
            shown += part
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    return out, [line for line in re.split(r"[\r\n]+", shown.decode()) if line.strip()]


ON_COMMAND_LINE = """
from cmlp import cli
cli.main(["train", {path!r}, "--model", "network", "--epochs", "50"])
"""

IN_FIT = """
from cmlp import Adam, Network, datasets
X, y = datasets.load_csv({path!r})
net = Network([3, 8, 2], loss="cross_entropy", seed=0)
net.fit(X, y, epochs=50, verbose=1, validation_data=(X, y), metrics=["accuracy", "f1", "top_1"])
"""

IN_ESTIMATOR = """
from cmlp import datasets
from cmlp.sklearn import MLPClassifier
X, y = datasets.load_csv({path!r})
options = {{"early_stopping": True, "n_iter_no_change": 50, "random_state": 0}}
MLPClassifier(8, verbose=2, max_iter=50, **options).fit(X, y)
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
@pytest.mark.parametrize("code", [ON_COMMAND_LINE, IN_FIT, IN_ESTIMATOR],
                         ids=["command line", "fit", "estimator"])  # fmt: skip
@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_a_bar(table, code, columns):
    out, lines = run_in_terminal("import warnings; warnings.simplefilter('ignore')"
                                 + f"\n{code.format(path=str(table))}", columns)  # fmt: skip
    assert "epoch" not in out
    assert "loss =" not in out
    last = next(line for line in reversed(lines) if "100%" in line)
    assert re.search(r"loss \d\.\d{4}  .*val_accuracy \d\.\d{4}", last)
    assert ("samples/s" in last) == (columns == 200)
    assert all(len(line.strip()) <= columns for line in lines)
    bars = [len(re.search(r"\|(.*)\|", line)[1]) for line in lines]
    assert min(bars) >= 10


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_line_without_a_bar_fits_the_terminal(table):
    code = IN_FIT.replace("net.fit(X, y, epochs=50", "net.fit(lambda: [(X, y)] * 50, epochs=2")
    _, lines = run_in_terminal(code.format(path=str(table)), 80)
    assert all(len(line.strip()) <= 80 for line in lines)
    assert re.search(r"loss \d\.\d{4}  val_accuracy \d\.\d{4}\]$", lines[-1])


def test_export_to_torch(capsys, tmp_path, rng):
    torch = pytest.importorskip("torch")
    model, out = tmp_path / "model.npz", tmp_path / "model.pt2"
    net = Network([3, 4, 2], loss="cross_entropy", dtype="float64", seed=0)
    net.save(model)
    code, shown, _ = run(capsys, "export", model, "--to", "torch")
    assert (code, shown) == (0, f"wrote {out}\n")
    X = rng.normal(size=(7, 3))
    loaded = torch.export.load(out).module()
    np.testing.assert_allclose(loaded(torch.from_numpy(X)).detach(), net(X), rtol=1e-6)


def test_export_to_torch_needs_it(capsys, tmp_path, monkeypatch):
    model = tmp_path / "model.npz"
    Network([3, 2], seed=0).save(model)
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = run(capsys, "export", model, "--to", "torch")
    assert code == 2
    assert "--to torch requires PyTorch; install it with: pip install 'cmlp[torch]'" in err

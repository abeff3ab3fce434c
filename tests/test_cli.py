"""The command line, in this process and as a program."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import PRINT_PEAK_MEMORY

from cmlp import Network, cli, datasets


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
    options = ("--data", table, "--epochs", 20, "--batch-size", 8, "--seed", 1)
    code, out, err = run(capsys, "train", *options, "--out", model)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("Network([3, 30, 2]")
    assert len([line for line in lines if line.startswith("epoch ")]) == 20
    accuracy = float(re.fullmatch(r"test accuracy: (0\.\d{4}|1\.0000)", lines[-1])[1])
    assert accuracy > 0.95
    assert Network.load(model).size == [3, 30, 2]

    code, out, _ = run(capsys, "evaluate", model, "--data", table)
    assert code == 0
    assert out.splitlines()[-1] == lines[-1]
    counts = [int(n) for line in out.splitlines()[2:4] for n in line.split()[1:]]
    assert sum(counts) == 66

    samples = tmp_path / "samples.csv"
    samples.write_text("3,0,0\n-3,0,0\n")
    assert run(capsys, "predict", model, samples)[1] == "1\n0\n"
    proba = run(capsys, "predict", model, samples, "--proba")[1].splitlines()
    assert [len(line.split(",")) for line in proba] == [2, 2]
    np.save(tmp_path / "samples.npy", np.array([[3.0, 0, 0]]))
    assert run(capsys, "predict", model, tmp_path / "samples.npy")[1] == "1\n"
    assert "loss quadratic" in run(capsys, "info", model)[1]

    code, out, _ = run(capsys, "train", *options, "--quiet")
    assert out == lines[-1] + "\n"


def test_train_on_digits(capsys, monkeypatch):
    monkeypatch.setattr(cli, "GENERATED_SAMPLES", (2000, 500))
    code, out, _ = run(capsys, "train", "--data", "digits", "--epochs", 3, "--layers", "784,16,10")
    assert code == 0
    assert "2,000 samples to train on, 500 to test with" in out


def test_a_note_says_that_mnist_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(cli, "GENERATED_SAMPLES", (500, 100))

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


def test_info(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "cmlp",
        "numpy",
        "isa",
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
    shown = run(capsys, "info", model)[1]
    for text in ("3 -> 4", "26 parameters", "optimizer SGD(", "epochs 2", "samples 20", "loss 0."):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "nowhere.npz", "--to", "c"), "nowhere.npz"),
        (("train", "--data", "nowhere.csv"), "--data nowhere.csv: no such file"),
        (("train", "--data", "{table}", "--layers", "3,x"), "--layers 3,x: it must be whole"),
        (("train", "--data", "{table}", "--layers", "4,2"), "--layers 4,2: the first must be 3"),
        (("train", "--data", "{table}", "--activation", "rellu"), "did you mean 'relu'"),
        (("train", "--data", "{table}", "--lr", "-1"), "lr must be positive and finite"),
        (("train", "--data", "{table}", "--label", "z"), "column 'z' does not exist"),
        (("train", "--data", "{table}", "--out", "/nowhere/m.npz"), "--out /nowhere/m.npz"),
        (("train", "--data", "{table}", "--out", "m.txt"), "it must be a .npz file"),
        (("train", "--data", "{table}", "--threads", "0"), "threads must be at least 1"),
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


def test_one_output_learns_labels_of_two_classes(capsys, table):
    options = ("--data", table, "--layers", "3,1", "--epochs", 30, "--seed", 1)
    code, out, err = run(capsys, "train", *options)
    assert (code, err) == (0, "")
    assert out.startswith("Network([3, 1]")
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
    process = program("train", "--data", table, "--epochs", 10_000_000, "--out", model)
    for line in process.stdout:
        if line.startswith("epoch 3/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "cmlp: interrupted\n"
    assert Network.load(model).size == [3, 30, 2]


def test_a_closed_pipe_prints_no_traceback(tmp_path, table):
    process = program("train", "--data", table, "--epochs", 10_000_000)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


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


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_terminal_shows_a_bar(table):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 200))
    process = subprocess.Popen(
        [sys.executable, "-m", "cmlp", "train", "--data", str(table), "--epochs", "50"],
        stdout=subprocess.PIPE, stderr=theirs, text=True,
    )  # fmt: skip
    os.close(theirs)
    out, _ = process.communicate(timeout=60)
    shown = b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.returncode == 0
    assert "epoch" not in out
    assert b"100%" in shown
    assert b"val_accuracy" in shown

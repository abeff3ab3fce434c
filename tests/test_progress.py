"""Displays of training: bars, lines, what they show and what they leave out."""

import sys

import numpy as np
import pytest
import tqdm

from cmlp import Network
from cmlp._training import progress
from cmlp._training.progress import Bars, FewLines, Lines, choose_progress, fit_quantities

RECORD = {
    "loss": 0.12345, "accuracy": 0.5, "lr": 0.1, "seconds": 1.0, "samples_per_second": 1e6,
    "val_loss": 0.25, "val_accuracy": 0.75, "val_f1": 0.7,
}  # fmt: skip


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def drawn(monkeypatch):
    """The lines that bars draw, on a terminal of 80 columns."""
    lines = []

    class Terminal(tqdm.tqdm):
        def __init__(self, **options):
            super().__init__(**options | {"dynamic_ncols": False, "ncols": 80})

        def display(self, msg=None, pos=None):
            lines.append(str(self) if msg is None else msg)

    monkeypatch.setattr(progress, "choose_tqdm", lambda: Terminal)
    return lines


def run(display, clock, epochs, seconds, record=RECORD):
    with display:
        for epoch in range(epochs):
            for part in (0.5, 1.0):
                clock.now += seconds / 2
                if display.update is not None:
                    display.update(part * display.samples if display.samples else 50, 0.5)
            display.finish_epoch(epoch, record)


def test_a_bar_for_each_long_epoch(clock, drawn):
    run(Bars(30, 100), clock, 3, 2.0)
    assert all(len(line) <= 80 for line in drawn)
    half = next(line for line in drawn if "loss 0.5000" in line)
    assert half.startswith("epoch  1/30  50%|")
    assert half.endswith("| [0:59 left, loss 0.5000]")
    final = [line for line in drawn if "100%" in line and "[2.00 s, " in line]
    assert len({line[:11] for line in final}) == 3
    assert "loss 0.1235" in final[0]
    assert "val_accuracy 0.7500" in final[0]
    assert "samples/s" not in final[0]


def test_one_bar_over_many_short_epochs(clock, drawn):
    display = Bars(2000, 100)
    run(display, clock, 2000, 0.01)
    assert display.update is None  # the engine trains the epochs one after the other
    assert len(drawn) < 20 / 0.1 + 10
    assert all(len(line) <= 80 for line in drawn)
    assert drawn[-1].startswith("epoch 2000/2000 100%|")
    assert "| [20 s, loss 0.1235  " in drawn[-1]
    assert any("| [0:10 left, loss 0.1235  " in line for line in drawn)


def test_few_short_epochs_have_bars(clock, drawn):
    run(Bars(5, 100), clock, 5, 0.01)
    assert {line[:9] for line in drawn if "[10 ms, " in line} == {
        f"epoch {i}/5" for i in range(1, 6)
    }


def interrupt(display, clock):
    with display:
        clock.now = 1.0
        display.update(50, 0.25)
        raise KeyboardInterrupt


def test_an_interrupted_epoch_is_left(clock, drawn):
    with pytest.raises(KeyboardInterrupt):
        interrupt(Bars(3, 100), clock)
    assert drawn[-1].startswith("epoch 1/3  50%|")
    assert "loss 0.2500" in drawn[-1]


def test_an_unknown_number_of_samples(clock, drawn):
    run(Bars(2, None), clock, 2, 1.0)
    assert drawn[-1].startswith("epoch 2/2 50 samples [1.00 s, loss 0.1235  ")


def test_a_resumed_run_counts_from_its_first_epoch(clock, drawn):
    display = Bars(100, 100)
    display.epoch = 50
    with display:
        clock.now = 1.0
        display.finish_epoch(50, RECORD)
        clock.now = 1.5
        display.update(50, 0.1)
    assert drawn[-1].startswith("epoch  52/100  50%|")
    assert drawn[-1].endswith("[0:48 left, loss 0.1000]")  # 48.5 epochs of a second each


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (200, "0:01 left, loss 1  accuracy 2  val_loss 3  val_r2 4  samples/s 5"),
        (44, "0:01 left, loss 1  val_loss 3  val_r2 4"),
        (30, "0:01 left, loss 1  val_r2 4"),
        (20, "0:01 left, loss 1"),
        (3, "0:01 left"),
    ],
)
def test_the_least_important_quantities_are_left_out_first(columns, shown):
    quantities = {"loss": "loss 1", "accuracy": "accuracy 2", "val_loss": "val_loss 3",
                  "val_r2": "val_r2 4", "samples/s": "samples/s 5"}  # fmt: skip
    assert fit_quantities(quantities, "0:01 left", columns) == shown


def test_lines_of_many_epochs_are_few(clock, capsys):
    for kind, epochs, lines in ((FewLines, 1000, 15), (FewLines, 100, 100), (Lines, 1000, 1000)):
        run(kind(epochs, 100), clock, epochs, 0.01)
        found = capsys.readouterr().out.splitlines()
        assert abs(len(found) - lines) <= 1
        assert found[4].startswith(f"epoch 5/{epochs}")
        assert found[-1].startswith(f"epoch {epochs}/{epochs}  loss 0.1235  accuracy 0.5000")


def test_the_last_of_few_lines_is_shown_if_training_stops(clock, capsys):
    run(FewLines(1000, 100), clock, 7, 0.01)
    assert capsys.readouterr().out.splitlines()[-1].startswith("epoch 7/1000")


def test_numbers_have_digits():
    assert [progress.format_number(x) for x in (0.0, 0.5, 2e-5, -123.4, 1e6)] == [
        "0.0000", "0.5000", "2.000e-05", "-123.4000", "1.000e+06"
    ]  # fmt: skip


def test_choice_of_the_display(monkeypatch):
    def choose(*arguments):
        return type(choose_progress(*arguments, 3, 10)).__name__

    assert choose(True, None) == "FewLines"
    assert [choose(None, verbose) for verbose in (0, 1, 2)] == ["Progress", "Bars", "Lines"]
    assert choose(None, None) == choose(False, None) == "Progress"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert choose(True, None) == "Bars"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", sys)
    assert choose(True, None) == "Bars"
    assert issubclass(progress.choose_tqdm(), tqdm.tqdm)


@pytest.mark.parametrize("options", [{}, {"shards": 2}, {"validation_split": 0.2}])
def test_training_shows_bars_with_the_same_bits(rng, capsys, options):
    X, y = rng.normal(size=(64, 4)), rng.integers(0, 2, 64)
    nets = [Network([4, 6, 2], loss="cross_entropy", seed=1) for _ in range(2)]
    nets[0].fit(X, y, epochs=40, **options)
    assert capsys.readouterr().err == ""
    nets[1].fit(X, y, epochs=40, verbose=1, **options)
    shown = capsys.readouterr()
    assert "epoch 40/40" in shown.err
    assert shown.out == ""
    assert all((a == b).all() for a, b in zip(nets[0].weight, nets[1].weight, strict=True))


def test_braces_in_names(clock, drawn):
    run(Bars(2, 10), clock, 2, 1.0, {"loss": 1.0, "val_{x}": np.float64(2.0)})
    assert "val_{x} 2.0000" in drawn[-1]

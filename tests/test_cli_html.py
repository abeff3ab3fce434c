"""`cmlp export --to html`."""

import numpy as np
import pytest
from test_cli import run
from web_pages import read_page

from cmlp import Network


def export(capsys, model, *options):
    """Export a model as a page; return its description."""
    code, out, err = run(capsys, "export", model, "--to", "html", *options)
    path = model.with_suffix(".html")
    assert (code, out, err) == (0, f"wrote {path}\n", "")
    return read_page(path)[0]


def test_a_network_for_images(capsys, tmp_path):
    model = tmp_path / "model.npz"
    code = run(capsys, "train", "digits", "--epochs", 1, "--layers", "784,8,10", "--out", model)[0]
    assert code == 0
    page = export(capsys, model)
    assert (page["kind"], page["title"]) == ("image", "model")
    assert page["image"] == {"height": 28, "width": 28, "center": True, "background": 0, "ink": 1}
    size = model.with_suffix(".html").stat().st_size
    page = export(capsys, model, "--shape", "14,56", "--no-center", "--int8", "--title", "Digits",
                  "--labels", "a,b, c,d,e,f,g,h,i,j")  # fmt: skip
    assert (page["image"]["height"], page["image"]["width"]) == (14, 56)
    assert page["image"]["center"] is False
    assert page["labels"] == list("abcdefghij")
    assert page["title"] == "Digits"
    assert model.with_suffix(".html").stat().st_size < size - 20_000
    assert export(capsys, model, "--kind", "table")["kind"] == "table"
    small = tmp_path / "small.npz"
    Network.load(model).quantize(np.random.default_rng(0).random((20, 784))).save(small)
    assert export(capsys, small, "--shape", "28x28")["networks"][0][0]["kind"] == "quantized"


@pytest.fixture
def prices(tmp_path, rng):
    path = tmp_path / "prices.csv"
    area, year = rng.integers(30, 200, 300), rng.integers(1900, 2025, 300)
    kind = rng.choice(["flat", "house"], 300)
    rows = [f"{a},{y},{k},{3 * a + y}" for a, y, k in zip(area, year, kind, strict=True)]
    path.write_text("\n".join(["area,year,kind,price", *rows]))
    return path


def test_a_network_for_tables(capsys, tmp_path, prices):
    model = tmp_path / "model.npz"
    code = run(capsys, "train", prices, "--target", "price", "--model", "network", "--drop", "kind",
               "--epochs", 2, "--out", model)[0]  # fmt: skip
    assert code == 0
    page = export(capsys, model, "--range", "area=20,250")
    area, year = page["inputs"]
    assert page["labels"] == ["price"]
    assert (area["name"], area["low"], area["high"]) == ("area", 20, 250)
    assert (year["name"], year["low"], year["high"]) == ("year", 1900, 2024)
    assert year["value"] == pytest.approx(1962, abs=10)
    assert export(capsys, model, "--names", "a,b")["inputs"][1]["name"] == "b"
    out = run(capsys, "info", model)[1]
    assert "columns_minimum 3" in out


def test_an_estimator_for_tables(capsys, tmp_path, prices):
    pytest.importorskip("sklearn")
    model = tmp_path / "model.npz"
    code = run(capsys, "train", prices, "--target", "price", "--epochs", 2, "--out", model)[0]
    assert code == 0
    page = export(capsys, model, "--range", "area=20,250", "--int8", "--title", "Prices")
    area, year, kind = page["inputs"]
    assert (area["low"], area["high"]) == (20, 250)
    assert year["low"] < 1962 < year["high"]
    assert kind["options"] == ["flat", "house"]
    assert page["labels"] == ["price"]
    for options, message in (
        (("--shape", "2,2"), "--shape is an option of networks"),
        (("--names", "a,b,c"), "--names is an option of networks"),
        (("--no-center",), "--center is an option of networks"),
        (("--kind", "image"), "--kind image is for networks; the model is one for tables"),
    ):
        code, _, err = run(capsys, "export", model, "--to", "html", *options)
        assert (code, err) == (2, f"cmlp: {message}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shape", "2,3,4"), "--shape 2,3,4: it must be HEIGHT,WIDTH, two whole numbers"),
        (("--shape", "7,7"), "shape must multiply to 6, the number of inputs"),
        (("--range", "x0"), "--range x0: it must be NAME=LOW,HIGH"),
        (("--range", "x9=0,1"), "ranges must have names of inputs as keys; got 'x9'"),
        (("--labels",), "--labels must have names for --to html: --labels NAME,NAME"),
        (("--labels", "a"), "labels must have 3 items, one for each class; got 1"),
        (("--kind", "image"), "shape must be given"),
    ],
)
def test_bad_options(capsys, tmp_path, options, message):
    model = tmp_path / "model.npz"
    Network([6, 3], loss="cross_entropy", seed=0).save(model)
    code, _, err = run(capsys, "export", model, "--to", "html", *options)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not model.with_suffix(".html").exists()


@pytest.mark.parametrize(
    "options",
    [("--kind", "image"), ("--shape", "2,3"), ("--no-center",), ("--names", "a"),
     ("--range", "x0=0,1"), ("--title", "a")],
)  # fmt: skip
def test_options_of_pages_for_other_formats(capsys, tmp_path, options):
    model = tmp_path / "model.npz"
    Network([6, 3], loss="cross_entropy", seed=0).save(model)
    code, _, err = run(capsys, "export", model, "--to", "c", *options)
    name = options[0].replace("no-", "")
    assert (code, err) == (2, f"cmlp: {name} is an option of --to html\n")
    assert not model.with_suffix(".c").exists()

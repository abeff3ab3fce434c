"""`cmlp predict`: the rows of a table with predictions."""

import csv
import gzip
import io

import numpy as np
import pytest
from test_cli import run

from cmlp import Network, losses
from cmlp._cli.models import load_model

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A classifier of text labels and a regressor for the same columns."""
    from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

    rng = np.random.default_rng(0)
    size = rng.normal(size=150)
    color = rng.choice(["red", "blue"], 150).astype(object)
    columns = {"size": size, "color": color}
    folder = tmp_path_factory.mktemp("models")
    options = {"preset": "fast", "max_epochs": 8, "random_state": 0}
    labels = np.where(size > 0, "big", "small")
    RealMLPClassifier(**options).fit(columns, labels).save(folder / "classes.npz")
    RealMLPRegressor(**options).fit(columns, 1e6 + size).save(folder / "numbers.npz")
    RealMLPRegressor(**options, loss="gaussian_nll").fit(columns, size).save(folder / "normal.npz")
    RealMLPRegressor(**options, loss="pinball", quantiles=(0.1, 0.9)).fit(columns, size).save(
        folder / "quantiles.npz"
    )
    return folder


def read(text, separator=","):
    return list(csv.reader(io.StringIO(text), delimiter=separator))


def predict(capsys, *arguments):
    code, out, err = run(capsys, "predict", *arguments)
    assert (code, err) == (0, "")
    return out


DATA = "id,color,note,size\n1, red,a,1.5\n2,green,,-1\n3,,x,NA\n\n4,blue,y,3\n"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(DATA)
    return path


def test_rows_are_written_with_predictions(capsys, tmp_path, models, data):
    rows = read(predict(capsys, models / "classes.npz", data, "--proba"))
    assert rows[0] == ["id", "color", "note", "size", "prediction", "proba_big", "proba_small"]
    assert [row[:4] for row in rows[1:]] == [
        ["1", "red", "a", "1.5"], ["2", "green", "", "-1"], ["3", "", "x", "NA"],
        ["4", "blue", "y", "3"],
    ]  # fmt: skip
    model = load_model(models / "classes.npz")
    columns = {"size": [1.5, -1, None, 3], "color": ["red", "green", None, "blue"]}
    assert [row[4] for row in rows[1:]] == model.predict(columns).tolist()
    found = np.array([row[5:] for row in rows[1:]], float)
    np.testing.assert_allclose(found, model.predict_proba(columns), atol=1e-5)

    out = tmp_path / "out.csv"
    assert predict(capsys, models / "numbers.npz", data, "--out", out, "--column", "price") == ""
    rows = read(out.read_text())
    assert rows[0][-1] == "price"
    expected = load_model(models / "numbers.npz").predict(columns)
    np.testing.assert_allclose([float(row[-1]) for row in rows[1:]], expected, rtol=1e-9)


def test_raw_predictions_are_lines(capsys, tmp_path, models, data):
    lines = predict(capsys, models / "classes.npz", data, "--raw").split()
    assert len(lines) == 4
    assert set(lines) <= {"big", "small"}
    out = tmp_path / "raw.txt"
    predict(capsys, models / "classes.npz", data, "--raw", "--proba", "--out", out)
    assert np.loadtxt(out, delimiter=",").shape == (4, 2)


def test_a_name_of_gzip_compresses(capsys, tmp_path, models, data):
    expected = predict(capsys, models / "classes.npz", data)
    predict(capsys, models / "classes.npz", data, "--out", tmp_path / "out.csv.gz")
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode() == expected
    assert predict(capsys, models / "classes.npz", tmp_path / "out.csv.gz", "--column", "p")
    expected = predict(capsys, models / "classes.npz", data, "--raw")
    predict(capsys, models / "classes.npz", data, "--raw", "--out", tmp_path / "raw.gz")
    assert gzip.decompress((tmp_path / "raw.gz").read_bytes()).decode() == expected


def test_numbers_are_read_back_exactly(capsys, tmp_path, models, data, rng):
    columns = {"size": [1.5, -1, None, 3], "color": ["red", "green", None, "blue"]}
    expected = load_model(models / "numbers.npz").predict(columns)
    raw = predict(capsys, models / "numbers.npz", data, "--raw").split()
    assert np.array(raw, expected.dtype).tolist() == expected.tolist()
    assert [row[-1] for row in read(predict(capsys, models / "numbers.npz", data))[1:]] == raw
    X = rng.normal(size=(5, 3)).astype(np.float32)
    net = Network([3, 4, 2], loss="mse", seed=0)
    net.save(tmp_path / "net.npz")
    np.save(tmp_path / "X.npy", X)
    lines = predict(capsys, tmp_path / "net.npz", tmp_path / "X.npy").split()
    assert np.array([line.split(",") for line in lines], np.float32).tolist() == net(X).tolist()


def test_several_outputs(capsys, models, data):
    rows = read(predict(capsys, models / "normal.npz", data))
    assert rows[0][4:] == ["prediction", "prediction_std"]
    assert all(float(row[5]) > 0 for row in rows[1:])
    rows = read(predict(capsys, models / "quantiles.npz", data))
    assert rows[0][4:] == ["prediction_0.1", "prediction_0.9"]
    assert all(float(row[4]) <= float(row[5]) for row in rows[1:])


@pytest.mark.parametrize("is_quantized", [False, True])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("non_crossing", [False, True])
def test_the_columns_of_a_network_have_the_names_of_its_quantiles(
    capsys, tmp_path, rng, is_quantized, targets, non_crossing
):
    path, X = tmp_path / "data.csv", rng.normal(size=(20, 2)).astype(np.float32)
    np.savetxt(path, X, delimiter=",", header="a,b", comments="", fmt="%.9g")
    loss = losses.pinball((0.1, 0.9), non_crossing)
    model = Network([2, 3, 2 * targets], loss=loss, seed=0)
    if is_quantized:
        model = model.quantize(X)
    model.save(tmp_path / "model.npz")
    rows = read(predict(capsys, tmp_path / "model.npz", path))
    names = ["0.1", "0.9"] if targets == 1 else ["0_0.1", "1_0.1", "0_0.9", "1_0.9"]
    assert rows[0] == ["a", "b", *(f"prediction_{name}" for name in names)]
    np.testing.assert_allclose(np.array(rows[1:], float)[:, 2:], model.predict(X), rtol=1e-4,
                               atol=1e-5)  # fmt: skip


def test_one_quantile_is_the_prediction(capsys, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    for targets, names in ((1, ["prediction"]), (2, ["prediction_0", "prediction_1"])):
        net = Network([2, targets], loss=losses.pinball(0.9), seed=0)
        net.save(tmp_path / "model.npz")
        assert read(predict(capsys, tmp_path / "model.npz", path))[0][2:] == names


def test_the_separator_and_decimal_commas_of_the_input(capsys, tmp_path, models):
    path = tmp_path / "data.csv"
    path.write_text("color;size\nred;1,5\nblue;-2\n")
    rows = read(predict(capsys, models / "numbers.npz", path), ";")
    assert rows[0] == ["color", "size", "prediction"]
    assert all("," in row[2] and row[2].startswith(("10000", "99999")) for row in rows[1:])


def test_parquet_in_and_out(capsys, tmp_path, models, data):
    polars = pytest.importorskip("polars")
    path, out = tmp_path / "data.parquet", tmp_path / "out.parquet"
    frame = polars.DataFrame(
        {"size": [1, None], "color": ["red", None], "day": [None, "2021-03-04"], "ok": [True, None]}
    ).with_columns(polars.col("day").str.to_date())
    frame.write_parquet(path)
    predict(capsys, models / "classes.npz", path, "--proba", "--out", out)
    found = polars.read_parquet(out)
    assert found.columns == [*frame.columns, "prediction", "proba_big", "proba_small"]
    assert found.select(frame.columns).equals(frame)
    rows = read(predict(capsys, models / "classes.npz", path))
    assert rows[1][:4] == ["1", "red", "", "True"]
    assert rows[2][:4] == ["", "", "2021-03-04", ""]
    predict(capsys, models / "classes.npz", data, "--out", out)
    found = polars.read_parquet(out)
    assert found["size"].to_list() == [1.5, -1, None, 3]
    assert found["note"].to_list() == ["a", None, "x", "y"]


def test_a_file_without_a_header_has_the_columns_in_their_order(capsys, tmp_path, models):
    path, other = tmp_path / "data.csv", tmp_path / "other.csv"
    path.write_text("1.5,red\n-2,red\n")
    other.write_text("color,size\nred,1.5\nred,-2\n")
    rows = read(predict(capsys, models / "numbers.npz", path))
    assert rows[0] == ["x0", "x1", "prediction"]
    assert [row[2] for row in rows[1:]] == [
        row[2] for row in read(predict(capsys, models / "numbers.npz", other))[1:]
    ]
    path.write_text("1.5,red,9\n-2,red,9\n7,blue,9\n")
    code, out, err = run(capsys, "evaluate", models / "numbers.npz", path)
    assert (code, out) == (2, "")
    assert "--target must be given" in err
    code, out, err = run(capsys, "evaluate", models / "numbers.npz", path, "--target", "2")
    assert (code, err) == (0, "")
    assert out.startswith("test rmse: ")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("size\n1\n", (), "the model needs the column color; the file has size"),
        ("sise,color\n1,red\n", (), r"the column size \(did you mean 'sise'\?\)"),
        ("a,b\n1,red\n", (), "the columns size, color; the file has a, b"),
        ("size,color\nbig,red\n", (), "row 2, column 'size' must hold a number.*got 'big'"),
        ("size,color,prediction\n1,red,1\n", (), "has a column 'prediction'.*--column"),
        ("size,color\n1\n", (), "row 2 has 1 columns instead of 2"),
        ("size,color\n1,red\n", ("--out", "nowhere/out.csv"), "--out nowhere/out.csv"),
        ("size,color\n1,red\n", ("--out", "a.parquet", "--raw"), "needs a table, and no --raw"),
        ("size,id\n1,4\n", (), "the model needs the column color; the file has size, id"),
        ("size,colo\n1,4\n", (), "did you mean 'colo'"),
        ("size,color\n1,red\n", ("--out", "predictions"), "--out predictions: it must end in .csv"),
        ("size,color\n1,red\n", ("--out", "a.parquet.gz"), "it must end in .csv"),
        ("size,color\n1,red\n", ("--model-is-regressor", "--proba"), "needs a classifier"),
    ],
)
def test_an_error_writes_nothing(capsys, tmp_path, models, text, arguments, message):
    import re

    path, name = tmp_path / "data.csv", "classes.npz"
    path.write_text(text)
    if "--model-is-regressor" in arguments:
        name, arguments = "numbers.npz", arguments[1:]
    code, out, err = run(capsys, "predict", models / name, path, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(message, err)


def test_a_failing_prediction_leaves_an_old_file(capsys, tmp_path, models):
    path, out = tmp_path / "data.csv", tmp_path / "out.csv"
    path.write_text("size,color,prediction\n1,red,1\n")
    out.write_text("old")
    assert run(capsys, "predict", models / "classes.npz", path, "--out", out)[0] == 2
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.csv", "out.csv"]


def test_a_network_finds_its_columns_by_their_names(capsys, tmp_path, rng):
    model, path, other = tmp_path / "net.npz", tmp_path / "data.csv", tmp_path / "other.csv"
    X = rng.normal(size=(60, 2)).round(3)
    rows = [f"{3 * a + b:.4f},{a},{i},{b}" for i, (a, b) in enumerate(X.tolist())]
    path.write_text("\n".join(["price,area,id,rooms", *rows]))
    options = ("--target", "price", "--drop", "id", "--model", "network", "--quiet")
    code, out, err = run(capsys, "train", path, *options, "--out", model)
    assert (code, err) == (0, "")
    code, out, err = run(capsys, "evaluate", model, path)
    assert (code, err) == (0, "")
    assert float(out.split()[-1]) > 0.9
    other.write_text("\n".join(["rooms,note,area", *(f"{b},x,{a}" for a, b in X.tolist())]))
    by_name = [row[-1] for row in read(predict(capsys, model, path))]
    assert [row[-1] for row in read(predict(capsys, model, other))] == by_name
    other.write_text("rooms,price,size\n1,2,3\n")
    code, out, err = run(capsys, "predict", model, other)
    assert (code, out) == (2, "")
    assert "the model needs the column area; the file has rooms, price, size" in err
    other.write_text("rooms,area,cost\n1,2,3\n2,3,4\n")
    code, out, err = run(capsys, "evaluate", model, other)
    assert (code, out) == (2, "")
    assert "must have the column 'price'" in err
    assert run(capsys, "evaluate", model, other, "--target", "cost")[0] == 0
    out = run(capsys, "info", model)[1]
    assert "\ncolumns area, rooms\ntarget price\n" in out
    # Files of other programs have no names.
    other.write_text("\n".join(f"{a},{b}" for a, b in X.tolist()))
    assert [row[-1] for row in read(predict(capsys, model, other))] == by_name


def test_networks_from_python_have_no_names_of_columns(capsys, tmp_path):
    model, path = tmp_path / "net.npz", tmp_path / "data.csv"
    Network([2, 3, 1], loss="binary_cross_entropy", seed=0).save(model)
    path.write_text("a,label,b\n1,0,2\n3,1,4\n")
    rows = read(predict(capsys, model, path, "--proba"))
    assert rows[0] == ["a", "label", "b", "prediction", "proba_0", "proba_1"]
    outputs = Network.load(model)(np.array([[1, 2], [3, 4]], np.float32))[:, 0]
    np.testing.assert_allclose([float(row[5]) for row in rows[1:]], outputs, atol=1e-5)
    rows = read(predict(capsys, model, path, "--target", "a"))  # the other column is left out
    assert [row[0] for row in rows] == ["a", "1", "3"]
    path.write_text("a,b,c\n1,2,3\n")
    for command in "predict", "evaluate":
        code, out, err = run(capsys, command, model, path)
        assert (code, out) == (2, "")
        assert "--target must be given" in err
    path.write_text("a\n1\n")
    code, _, err = run(capsys, "predict", model, path)
    assert code == 2
    assert "needs 2 in the order of its training data; got 1" in err
    code, _, err = run(capsys, "predict", tmp_path / "data.csv", path)
    assert (code, "is not a network file" in err) == (2, True)


def test_categories_of_other_types_than_text(capsys, tmp_path):
    from cmlp.tabular import RealMLPClassifier

    columns = {"n": [1, 2, 3, 1] * 10, "b": [True, False, True, True] * 10, "x": [0.5] * 40}
    model = RealMLPClassifier("fast", max_epochs=3, categorical_features=["n", "b"],
                              random_state=0)  # fmt: skip
    model.fit(columns, [1, 2, 3, 1] * 10).save(tmp_path / "model.npz")
    path = tmp_path / "data.csv"
    path.write_text("b,n,x\nTrue,1,1\nFalse,2.0,2\n1,3,3\n")
    rows = read(predict(capsys, tmp_path / "model.npz", path, "--proba"))
    expected = model.predict_proba({"n": [1, 2, 3], "b": [True, False, True], "x": [1, 2, 3]})
    assert rows[0][3:] == ["prediction", "proba_1", "proba_2", "proba_3"]
    np.testing.assert_allclose(np.array([r[4:] for r in rows[1:]], float), expected, atol=1e-5)


def test_columns_without_names_are_read_in_their_order(capsys, tmp_path, rng):
    from cmlp.tabular import RealMLPRegressor

    X = rng.normal(size=(60, 2))
    model = RealMLPRegressor("fast", max_epochs=3, random_state=0).fit(X, X[:, 0])
    model.save(tmp_path / "model.npz")
    path = tmp_path / "data.csv"
    path.write_text("1,2\n3,4\n")
    rows = read(predict(capsys, tmp_path / "model.npz", path))
    np.testing.assert_allclose(
        [float(row[2]) for row in rows[1:]], model.predict([[1.0, 2], [3, 4]]), rtol=1e-6
    )


def test_inputs_that_are_not_files(capsys, tmp_path, models):
    model = models / "classes.npz"
    for command in ("predict", model), ("evaluate", model), ("train",):
        code, out, err = run(capsys, *command, "-")
        assert (code, out) == (2, "")
        assert "standard input is not supported" in err
    for name in "folder", "folder.csv":
        (tmp_path / name).mkdir()
        code, out, err = run(capsys, "predict", model, tmp_path / name)
        assert (code, out) == (2, "")
        assert f"{name}: it is a directory" in err
    assert "it is a directory" in run(capsys, "evaluate", model, tmp_path / "folder")[2]

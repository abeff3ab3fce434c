"""`cmlp train` and `cmlp evaluate` on tables with categories, missing values and text labels."""

import re
import sys
import warnings

import numpy as np
import pytest
from test_cli import run

from cmlp import SGD, Network, datasets, losses
from cmlp._cli.models import load_model
from cmlp._cli.standardization import (
    STANDARDIZED_LOSSES,
    Standardization,
    can_fold,
    can_fold_targets,
    fold_standardization,
)

pytest.importorskip("sklearn")

FAST = ("--preset", "fast", "--epochs", 30)


def make_houses(rng, n=240, end="\n"):
    """Return rows of houses with categories, missing values and prices of the order of 1e6."""
    area = rng.uniform(40, 200, n)
    kind = rng.choice(["flat", "house", "villa"], n)
    garden = rng.choice(["yes", "no", ""], n)
    price = 5e4 + 8e3 * area + 3e5 * (kind == "villa") + 1e5 * (garden == "yes")
    lines = ["id,area,kind,garden,zip,price"]
    for i in range(n):
        shown = ["", "NA", "?"][i % 3] if i % 17 == 0 else f"{area[i]:.1f}"
        lines.append(f"h{i:04d},{shown},{kind[i]},{garden[i]},0{1000 + i % 4},{price[i]:.0f}")
    return end.join(lines) + end


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    path = tmp_path_factory.mktemp("houses") / "houses.csv"
    path.write_text(make_houses(np.random.default_rng(0)))
    return path


@pytest.fixture(scope="module")
def house_model(houses):
    """The path of a model that the command line has trained, and what it printed."""
    import contextlib
    import io

    from cmlp import cli

    out, path = io.StringIO(), houses.with_name("house.npz")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = cli.main(["train", str(houses), *map(str, FAST), "--out", str(path)])
    assert code == 0
    return path, out.getvalue()


def test_train_on_houses(house_model):
    path, out = house_model
    lines = out.splitlines()
    assert lines[0].startswith("target 'price': regression (")
    assert lines[0].endswith("different numbers")
    assert lines[1] == "1 column of numbers, 3 of categories: kind, garden, zip"
    assert "160 samples to train on, 40 to validate with, 40 to test with" in lines
    assert float(re.fullmatch(r"test r2: (\d\.\d{4})", lines[-1])[1]) > 0.6
    assert float(re.fullmatch(r"test rmse: (\d+)", lines[-2])[1]) < 2.5e5
    model = load_model(path)
    assert list(model.feature_names_in_) == ["area", "kind", "garden", "zip"]
    assert model.encoder_.categories_[2].tolist() == ["01000", "01001", "01002", "01003"]
    assert model.verbose == 0


def test_evaluate_info_and_export(capsys, tmp_path, houses, house_model):
    path = house_model[0]
    code, out, err = run(capsys, "evaluate", path, houses, "--target", "price")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"test rmse: \d+(\.\d+)?\ntest r2: 0\.\d{4}\n", out)
    assert run(capsys, "evaluate", path, houses) == (0, out, "")  # the target of the training
    out = run(capsys, "info", path)[1]
    for text in (
        "RealMLPRegressor",
        "numbers: area",
        "target: price",
        "kind: flat, house, villa",
        f"1 network, best epoch {load_model(path).best_epochs_[0] + 1}\n",
        "\nlast epoch: val_loss ",
    ):
        assert text in out
    assert run(capsys, "export", path, "--to", "c", "--out", tmp_path / "house.c")[0] == 0
    assert "model_predict" in (tmp_path / "house.c").read_text()
    pytest.importorskip("onnx")
    assert run(capsys, "export", path, "--to", "onnx", "--out", tmp_path / "h.onnx")[0] == 0
    code, _, err = run(capsys, "export", path, "--to", "onnx", "--uint8")
    assert (code, err) == (2, "cmlp: --uint8 and --labels are options of networks\n")
    code, _, err = run(capsys, "evaluate", path, "--data", "digits")
    assert code == 2
    assert "is a model for tables" in err


def test_numbers_of_samples(capsys, houses, flowers):
    options = ("--preset", "fast", "--epochs", 1)
    out = run(capsys, "train", houses, *options, "--cv", 2)[1]
    assert "\n200 samples to train on in 2 folds, 40 to test with\n" in out
    out = run(capsys, "train", houses, *options, "--validation-split", 0.1)[1]
    assert "\n180 samples to train on, 20 to validate with, 40 to test with\n" in out
    options = ("--model", "network", "--target", "0", "--epochs", 1, "--drop", "kind of iris")
    out = run(capsys, "train", flowers, *options, "--early-stopping", 3)[1]
    assert "\n101 samples to train on, 25 to validate with, 25 to test with\n" in out


def test_epochs_are_counted_from_one(capsys, flowers):
    options = ("--model", "network", "--target", "0", "--drop", "kind of iris", "--lr", 1e30)
    err = run(capsys, "train", flowers, *options)[2]
    assert re.search(r"in epoch 1, step [1-9]\d*; a smaller learning rate may help \(--lr", err)


@pytest.mark.parametrize("loss", ["gaussian_nll", "mae", '["huber",0.5]'])
def test_a_loss_of_realmlp_trains_it(capsys, tmp_path, houses, loss):
    model = tmp_path / "model.npz"
    options = (*FAST[:2], "--epochs", 2, "--set", f"loss={loss}", "--quiet", "--out", model)
    assert run(capsys, "train", houses, *options)[0] == 0
    model = load_model(model)
    assert type(model).__name__ == "RealMLPRegressor"
    assert loss == model.loss or model.networks_[0].loss == "huber"


def test_losses_decide_between_the_models(capsys, tmp_path, houses):
    from cmlp._cli.settings import ESTIMATOR_LOSSES, REGRESSOR_LOSSES, choose_model
    from cmlp.tabular.estimators import REAL_LOSSES

    assert {*REGRESSOR_LOSSES} == {*REAL_LOSSES, "pinball", "gaussian_nll"}
    for loss in losses.LOSSES:
        expected = "realmlp" if loss in ESTIMATOR_LOSSES else "network"
        assert choose_model({"loss": loss}, True) == expected
        assert choose_model({"loss": loss, "layers": "3,1"}, True) == "network"
        assert choose_model({"loss": loss}, False) == "network"
    model = tmp_path / "model.npz"
    options = ("--target", "kind", "--loss", "cross_entropy", "--epochs", 2, "--out", model)
    assert run(capsys, "train", houses, *options, "--quiet")[0] == 0
    assert type(load_model(model)).__name__ == "RealMLPClassifier"


def test_warnings_are_notes(capsys, tmp_path, houses, house_model):
    path, lines = tmp_path / "one.csv", houses.read_text().splitlines()
    path.write_text("\n".join(lines[:2]))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = run(capsys, "evaluate", house_model[0], path)
    assert code == 0
    assert err.splitlines() == [
        "cmlp: note: R^2 score is not well-defined with less than two samples."
    ]


def test_evaluate_needs_a_class_of_the_model(capsys, tmp_path, flowers):
    model = tmp_path / "model.npz"
    assert run(capsys, "train", flowers, *FAST, "--quiet", "--out", model)[0] == 0
    code, out, err = run(capsys, "evaluate", model, flowers, "--target", "kind of iris")
    assert (code, err) == (0, "")
    path, lines = tmp_path / "other.csv", flowers.read_text().splitlines()[:-1]
    rows = [f"{line.rpartition(';')[0]};{i % 9}" for i, line in enumerate(lines[1:])]
    path.write_text("\n".join([lines[0], *rows]))
    code, out, err = run(capsys, "evaluate", model, path)
    assert (code, out) == (2, "")
    assert "classes of the model, setosa, versicolor, virginica; got 0, 1, 2, 3, 4 and 4" in err
    path.write_text("\n".join([*lines, *rows]))
    out = run(capsys, "evaluate", model, path)[1]
    assert "the model has no class 0, 1, 2, 3, 4 and 4 others: no log loss" in out


def test_the_file_of_a_model_names_the_target(capsys, tmp_path, houses, house_model):
    lines = houses.read_text().splitlines()
    path = tmp_path / "other_order.csv"
    cells = [line.split(",") for line in lines]
    path.write_text("\n".join(",".join([row[-1], *row[:-1]]) for row in cells))
    expected = run(capsys, "evaluate", house_model[0], houses)
    assert run(capsys, "evaluate", house_model[0], path) == expected
    path.write_text("\n".join(line.rpartition(",")[0] + ",1" for line in lines).replace(
        "zip,1", "zip,cost"))  # fmt: skip
    code, out, err = run(capsys, "evaluate", house_model[0], path)
    assert (code, out) == (2, "")
    assert "must have the column 'price', the target of the training, or --target" in err
    assert run(capsys, "evaluate", house_model[0], path, "--target", "cost")[0] == 0
    assert run(capsys, "predict", house_model[0], path)[0] == 0


def test_a_model_without_the_name_of_its_target_needs_an_option(capsys, tmp_path, rng):
    from cmlp.tabular import RealMLPRegressor

    X = rng.normal(size=(60, 2))
    columns = {"a": X[:, 0], "b": X[:, 1]}
    model = RealMLPRegressor("fast", max_epochs=2, random_state=0).fit(columns, X[:, 0])
    model.save(tmp_path / "model.npz")
    path = tmp_path / "data.csv"
    path.write_text("id,a,price,b,tax\n1,2,3,4,5\n2,3,4,5,6\n")
    code, out, err = run(capsys, "evaluate", tmp_path / "model.npz", path)
    assert (code, out) == (2, "")
    assert "--target must be given" in err
    path.write_text("a,price,b\n1,2,3\n2,3,4\n")
    assert run(capsys, "evaluate", tmp_path / "model.npz", path)[0] == 0


@pytest.fixture
def flowers(tmp_path):
    """A table with `;`, decimal commas and text labels, of which one row has none."""
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    rows = [f"{';'.join(map(str, x))};{['setosa', 'versicolor', 'virginica'][c]}".replace(".", ",")
            for x, c in zip(X, y, strict=True)]  # fmt: skip
    path = tmp_path / "iris.csv"
    path.write_text("sl;sw;pl;pw;kind of iris\n" + "\n".join(rows) + "\n5,1;3,5;1,4;0,2;\n")
    return path


def test_text_labels_and_decimal_commas(capsys, tmp_path, flowers):
    model = tmp_path / "model.npz"
    code, out, err = run(capsys, "train", flowers, *FAST, "--out", model)
    assert (code, err) == (0, "")
    assert "target 'kind of iris': classification (3 classes, setosa, versicolor, virginica)" in out
    assert "left out: 1 row without a target" in out
    assert float(out.split()[-1]) >= 0.9
    code, out, _ = run(capsys, "evaluate", model, flowers)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "left out: 1 row without a target"
    assert lines[2].split() == ["setosa", "versicolor", "virginica"]
    counts = np.array([line.split()[1:] for line in lines[3:6]], int)
    assert counts.sum(axis=1).tolist() == [50, 50, 50]
    assert lines[-1] == f"test accuracy: {np.trace(counts) / 150:.4f}"
    assert lines[-2].startswith("test log_loss: 0.")


def test_breast_cancer_with_the_defaults(capsys, tmp_path):
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    path = tmp_path / "cancer.csv"
    names = ",".join(f"c{i}" for i in range(30)) + ",target"
    np.savetxt(path, np.column_stack([X, y]), delimiter=",", header=names, comments="", fmt="%.8g")
    accuracy = float(run(capsys, "train", path, "--quiet")[1].split()[-1])
    assert accuracy >= 0.94
    # The reference's defaults need columns of the same scale.
    standardized = run(capsys, "train", path, "--quiet", "--model", "network")[1]
    assert float(standardized.split()[-1]) >= 0.94
    plain = run(capsys, "train", path, "--quiet", "--no-standardize")[1]
    assert float(plain.split()[-1]) < 0.8


def test_a_binary_target_of_text_and_a_test_file(capsys, tmp_path, rng):
    x = rng.normal(size=120)
    rows = [f"{a:.3f},{'yes' if a > 0 else 'no'}\n" for a in x]
    train, test, model = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "model.npz"
    train.write_text("x,answer\n" + "".join(rows))
    test.write_text("answer,x,other\nno,-1,a\nyes,1,b\nyes,2,\nmaybe,-2,\n")
    code, out, err = run(capsys, "train", train, "--test", test, *FAST, "--out", model)
    assert (code, err) == (0, "")
    assert "96 samples to train on, 24 to validate with, 4 to test with" in out
    assert out.endswith("the model has no class maybe: no log loss\ntest accuracy: 0.7500\n")
    out = run(capsys, "evaluate", model, test, "--target", "answer")[1]
    assert "maybe" in out
    assert run(capsys, "train", train, "--test-split", 0, *FAST)[1].endswith(
        "trained on 120 samples\n"
    )


def test_numbers_as_classes_or_quantities(capsys, tmp_path, rng):
    path = tmp_path / "a.csv"
    x = rng.normal(size=100)
    path.write_text("x,stars\n" + "".join(f"{a:.3f},{1 + (a > 0) + (a > 1)}\n" for a in x))
    out = run(capsys, "train", path, *FAST)[1]
    assert "classification (3 classes, 1, 2, 3), as it has only 3 different whole numbers" in out
    assert out.splitlines()[-1].startswith("test accuracy: ")
    out = run(capsys, "train", path, "--task", "regression", *FAST)[1]
    assert "target 'stars': regression (1 to 3)\n" in out
    assert out.splitlines()[-1].startswith("test r2: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "prise"), r"column 'prise' does not exist \(did you mean 'price'\?\); the "
         "columns are id, area, kind, garden, zip, price"),
        (("--target", "9"), "column 9 does not exist; the file has 6 columns"),
        (("--drop", "colour"), "column 'colour' does not exist"),
        (("--target", "price", "--drop", "price"), "column 'price' does not exist"),
        (("--drop", "id,area,kind,garden,zip"), "a column beside the target 'price'"),
        (("--target", "kind", "--task", "regression"), "'kind' must hold numbers for --task "
         "regression; got '\\w+' in row 2"),
        (("--target", "price", "--task", "classification"), "'price' must have at most 120 classes "
         "for --task classification, half of its rows; got 2"),
        (("--model", "network"), "column '\\w+' must hold numbers for a network"),
        (("--layers", "5,8,1", "--drop", "id,kind,garden,zip"), "'area' must hold numbers for a "
         "network, none of them missing; got no value in row 2"),
        (("--model", "network", "--target", "kind"), "'kind' must hold whole numbers from 0"),
        (("--layers", "5,8,1", "--preset", "fast"), "--preset is not an option of --model "
         "network, which the option layers selects; leave layers out for --model realmlp"),
        (("--set", "activation=relu", "--cv", "3"), "--cv is not an option of --model network, "
         "which the option activation selects; give --model realmlp"),
        (("--loss", "quadratic", "--cv", "3"), "--cv is not an option of --model network, which "
         "the option loss selects"),
        (("--model", "realmlp", "--loss", "hinge"), "--loss must be mse, .*; got hinge"),
        (("--loss", "mae", "--task", "classification"), "--loss mae is one of regression"),
        (("--model", "realmlp", "--optimizer", "adam"), "--optimizer is not an option of --model "
         "realmlp"),
        (("--test", "nothing.csv"), "nothing.csv"),
        (("--test", "nothing.npz"), "--test nothing.npz: it must be a .csv"),
        (("--test-split", "1"), "--test-split must be at least 0 and below 1; got 1.0"),
        (("--test", "a.csv", "--test-split", "0.1"), "must not be given together"),
        (("--separator", "ab"), "--separator must be one character"),
        (("--out", "nowhere/model.npz"), "--out nowhere/model.npz: it must be"),
        (("--plot", "curve.txt"), "--plot curve.txt: it must end in .png"),
        (("--target", "id"), "the target 'id' must have the same text in several rows; all 240"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_before_training(capsys, houses, arguments, message):
    code, out, err = run(capsys, "train", houses, *arguments)
    assert code == 2
    assert "epoch" not in out
    assert "saved" not in out
    assert re.search(message, err.splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no rows"),
        ("a,b\n", "the file has no rows below the header"),
        ("a,b\n1,2\n", "at least 2 rows must have a target; got 1 of 1"),
        ("a,b\n1,2\n2,2\n3,2\n", "'b' must have at least two different values; all 3 are 2"),
        ("a,b\n1,\n2,NA\n", "at least 2 rows must have a target; got 0 of 2"),
        (
            "a,b\n1,x\n2,y\n3,z\n",
            "the target 'b' must have the same text in several rows; all 3 differ, such as 'x'",
        ),
        ("a\n1\n2\n", "a column beside the target 'a'"),
    ],
)
def test_tables_without_anything_to_learn(capsys, tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    code, out, err = run(capsys, "train", path)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert re.search(message, err)
    assert out == ""


def test_a_directory_is_no_table(capsys, tmp_path):
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    for command in (("train",), ("train", "--test", folder, folder.with_name("a.csv"))):
        folder.with_name("a.csv").write_text("a,b\n1,2\n2,3\n4,4\n")
        code, out, err = (
            run(capsys, *command, folder) if len(command) == 1 else run(capsys, *command)
        )
        assert code == 2
        assert "epoch" not in out
        assert len(err.splitlines()) == 1


def test_a_table_of_two_rows_is_too_small(capsys, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    code, _, err = run(capsys, "train", path, "--task", "regression", "--target", "a")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "at least 2 samples, one to validate with" in err


def test_without_scikit_learn_a_network_can_be_trained(capsys, tmp_path, monkeypatch, rng):
    path = tmp_path / "table.csv"
    x = rng.normal(size=100)
    path.write_text("a;b\n" + "".join(f"{a:.3f};{int(a > 0)}\n".replace(".", ",") for a in x))
    for name in [name for name in sys.modules if name.startswith("cmlp.tabular")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, _, err = run(capsys, "train", path)
    assert code == 2
    assert "cmlp.tabular requires scikit-learn; install it with: pip install 'cmlp[tabular]'" in err
    assert err.endswith(", or train a network with --model network\n")
    code, out, _ = run(capsys, "train", path, "--model", "network")
    assert code == 0
    assert float(out.split()[-1]) > 0.9


@pytest.mark.parametrize("loss", STANDARDIZED_LOSSES)
def test_a_network_reads_the_columns_as_they_are(capsys, tmp_path, rng, loss):
    path, model = tmp_path / "table.csv", tmp_path / "model.npz"
    X = rng.normal(size=(300, 2)) * [1e3, 1e-3] + [5e4, 1]
    y = 1e6 + 50 * (X[:, 0] - 5e4) + 1e7 * (X[:, 1] - 1)
    np.savetxt(
        path, np.column_stack([X, y]), delimiter=",", header="a,b,y", comments="", fmt="%.9g"
    )
    options = ("--loss", loss, "--optimizer", "adam", "--lr", 0.01, "--epochs", 40)
    out = run(capsys, "train", path, *options, "--quiet", "--out", model)[1]
    score = float(out.split()[-1])
    assert score > 0.9
    X, y = datasets.load_csv(path)
    assert Network.load(model).score(X[:100], y[:100]) > 0.9


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll"])
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_folded_standardization_has_the_same_outputs(rng, normalization, loss):
    X, y = rng.normal(size=(200, 3)) * [1, 10, 1e3] + [0, 5, -2e3], rng.normal(size=200) * 50 + 7
    columns, targets = Standardization.learn(X), Standardization.learn(y)
    net = Network(
        [3, 5, 1 + (loss == "gaussian_nll")],
        activation="tanh",
        loss=loss,
        normalization=normalization,
        dtype="float64",
    )
    net.fit(columns.apply(X), targets.apply(y), epochs=2)
    scaled = columns.apply(X).astype(float)
    expected = net.predict(scaled) * y.std() + y.mean()
    std = net.predict(scaled, return_std=True)[1] * y.std() if loss == "gaussian_nll" else None
    assert can_fold(net)
    net = fold_standardization(net, columns, targets)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-4, atol=1e-4)
    if std is not None:
        np.testing.assert_allclose(net.predict(X, return_std=True)[1], std, rtol=1e-4)
    constant = Standardization.learn(np.full((5, 2), 0.1, np.float32))
    assert constant.deviation.tolist() == [1, 1]
    assert not can_fold(Network([3, 5, 1], normalization="layer"))
    assert can_fold_targets(Network([3, 2], loss=losses.pinball((0.1, 0.9))))
    assert not can_fold_targets(Network([3, 2], loss=losses.pinball((0.1, 0.9), True)))
    assert not can_fold_targets(Network([3, 1], loss="poisson"))
    assert not can_fold_targets(Network([3, 1], loss="mse", output="sigmoid"))


def test_one_step_after_training_on_standardized_columns_keeps_the_network(capsys, tmp_path, rng):
    path, model = tmp_path / "table.csv", tmp_path / "model.npz"
    X = rng.normal(size=(200, 2)) * [1e-3, 1e-2] + [5, 1]  # so that the saved weights are large
    y = 1e6 + 1e7 * (X[:, 0] - 5) + 1e5 * (X[:, 1] - 1)
    np.savetxt(path, np.c_[X, y], delimiter=",", header="a,b,y", comments="", fmt="%.9g")
    limits = ("--set", "max_norm=1", "--set", "input_noise=0.1", "--set", "input_dropout=0.1")
    options = ("--layers", "2,8,5,1", "--activation", "tanh", "--loss", "mse", *limits)
    optimizer = ("--optimizer", "adam", "--lr", 0.01, "--epochs", 40, "--quiet")
    assert run(capsys, "train", path, *options, *optimizer, "--out", model)[0] == 0
    net = Network.load(model)
    assert [layer.specification.max_norm for layer in net.layers] == [None, 1, None]
    assert net.input_layers == []
    assert net.state.training["epochs"] == 40
    X, y = datasets.load_csv(path)
    before = net.score(X, y)
    assert before > 0.5
    net.partial_fit(X, y, optimizer=SGD(1e-30))
    assert net.score(X, y) == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("unit", [1e-5, 1e5])
def test_the_parameter_of_a_loss_is_saved_in_the_units_of_the_targets(rng, unit):
    X = rng.normal(size=(200, 3))
    y = unit * (X[:, 0] + 0.1 * rng.normal(size=200))
    columns, targets = Standardization.learn(X), Standardization.learn(y)
    scaled, deviation = columns.apply(X).astype(float), y.std()
    net = Network([3, 2], loss=losses.gaussian_nll(1e-2), dtype="float64", seed=0)
    net.fit(scaled, targets.apply(y), epochs=2)
    expected = net.predict(scaled, return_std=True)[1] * deviation
    folded = fold_standardization(net, columns, targets)
    np.testing.assert_allclose(folded.predict(X, return_std=True)[1], expected, rtol=1e-5)
    net = Network([3, 1], loss=losses.huber(0.5), seed=0)
    folded = fold_standardization(net, columns, targets)
    assert folded.state.architecture.loss.parameter == pytest.approx(0.5 * deviation)

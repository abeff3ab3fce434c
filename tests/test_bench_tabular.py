"""The comparison of estimators on data sets: statistics, splits, resuming, missing peers."""

import dataclasses
import json
import math

import numpy as np
import pytest

from bench import tabular
from bench.tables import fits, peers, report, runs, scores, sources
from bench.tables.catalog import TABLES

pd = pytest.importorskip("pandas")
stats = pytest.importorskip("scipy.stats")
pytest.importorskip("sklearn")


class Constant:
    """Predict the frequencies of the classes, or the mean."""

    def __init__(self, task):
        self.task = task

    def fit(self, X, y):
        is_classification = self.task == sources.CLASSIFICATION
        self.answer = np.bincount(y) / len(y) if is_classification else y.mean()

    def predict(self, X):
        return np.repeat([self.answer], len(X), 0)


def make_frame():
    """Return raw data with a bool, a string and a coded column, NaN, and a one-hot column."""
    rng = np.random.default_rng(0)
    n = 60
    color = rng.integers(0, 3, n)
    frame = pd.DataFrame({
        "id": np.arange(n),
        "size (cm)": np.where(np.arange(n) % 7, rng.normal(size=n), np.nan),
        "code": rng.integers(1, 4, n),
        "flag": rng.random(n) < 0.5,
        "word": np.where(np.arange(n) % 5, "a", None),
        "color_red": (color == 0) * 1.0,
        "color_dark-red": (color == 1) * 1.0,
        "color_blue": (color == 2) * 1.0,
        "price": np.exp(rng.normal(size=n)),
    })  # fmt: skip
    frame.loc[3, "price"] = np.nan
    return frame


PRICE = sources.Table(
    "price", "dmba", "none.csv", "price", sources.Shape(59, 1, 4, 2, 0),
    categorical=("code",), one_hot=("color",), drop={"identifies the row": ("id",)}, is_log=True,
)  # fmt: skip
FLAG = dataclasses.replace(
    PRICE, name="flag", target="flag", shape=sources.Shape(60, 2, 3, 3, 2), is_log=False
)


@pytest.fixture
def table(monkeypatch):
    """The entry `PRICE`, with generated data and a dummy peer."""
    monkeypatch.setattr(sources, "read_frame", lambda package, path: make_frame())
    dummy = peers.Peer("Dummy", "numpy", lambda task, seed, threads: Constant(task))
    monkeypatch.setitem(peers.PEERS, "dummy", dummy)
    return PRICE


def test_columns_are_converted(table):
    X, y, task = sources.load_table(table)
    assert task == "regression"
    assert [*X.columns] == ["size_cm_", "code", "flag", "word", "color"]
    assert [str(dtype) for dtype in X.dtypes] == ["float64"] + 4 * ["category"]
    raw = make_frame().drop(index=3).reset_index()
    np.testing.assert_allclose(y, np.log(raw["price"]))
    np.testing.assert_array_equal(X["size_cm_"], raw["size (cm)"])
    assert [*X["code"].cat.categories] == ["1", "2", "3"]
    assert [*X["color"].cat.categories] == ["blue", "dark-red", "red"]
    np.testing.assert_array_equal(X["color"] == "dark-red", raw["color_dark-red"] == 1)
    np.testing.assert_array_equal(X["word"].isna(), raw["word"].isna())
    X, y, task = sources.load_table(FLAG)
    assert task == "classification"
    np.testing.assert_array_equal(y, make_frame()["flag"])


def test_the_shape_of_the_data_is_checked(table):
    wrong = dataclasses.replace(table, shape=sources.Shape(59, 1, 4, 3, 0))
    with pytest.raises(sources.ShapeError, match=r"price must have .*missing=3.*got .*missing=2"):
        sources.load_table(wrong)
    frame = pd.DataFrame({"a_x": [1, 1], "a_y": [0, 1]})
    with pytest.raises(sources.ShapeError, match="a single 1 in each row"):
        sources.merge_one_hot(frame, "a")


def test_entries_are_varied():
    shapes = {name: table.shape for name, table in TABLES.items()}
    assert len(shapes) >= 24
    assert all(500 <= shape.rows <= 50_000 for shape in shapes.values())
    assert sum(shape.categorical > 0 for shape in shapes.values()) >= 6
    assert sum(shape.missing > 0 for shape in shapes.values()) >= 4
    classes = [shape.classes for shape in shapes.values()]
    assert min(classes.count(0), classes.count(2), sum(n > 2 for n in classes)) >= 8


@pytest.mark.parametrize("name", ["breast_cancer", "german_credit", "concrete"])
def test_real_data_have_the_recorded_shape(name):
    table = TABLES[name]
    pytest.importorskip(sources.MODULES[table.package])
    sources.load_table(table)


def test_splits_are_deterministic_and_stratified():
    y = np.repeat([0, 1, 2], [100, 60, 40])
    found = [sources.split_rows(y, "classification", seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(np.concatenate(found[0]), np.concatenate(found[1]))
    assert set(found[0][1]) != set(found[2][1])
    for train, test in found:
        assert sorted([*train, *test]) == [*range(200)]
        np.testing.assert_array_equal(np.bincount(y[test]), [20, 12, 8])
    first = sources.split_rows(np.arange(50.0), "regression", 0)[1]
    assert [*first] == [28, 11, 10, 41, 2, 27, 38, 31, 22, 4], "results of files would not match"


def test_measures(rng):
    y, probabilities = np.array([0, 1, 2, 2]), rng.dirichlet(np.ones(3), 4)
    found = fits.measure_classes(y, probabilities)
    assert found["error"] == np.mean(probabilities.argmax(1) != y)
    assert found["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(4), y]).mean())
    assert fits.measure_classes(y[:2], np.array([[0.9, 0.1], [0.2, 0.8]]))["auc"] == 1
    y = rng.normal(size=50)
    found = fits.measure_values(y, (y + 0.5)[:, None])
    assert found["rmse"] == found["mae"] == pytest.approx(0.5)
    assert found["nrmse"] == pytest.approx(0.5 / y.std())
    assert found["r2"] == pytest.approx(1 - found["nrmse"] ** 2)
    assert fits.measure_values(y, np.full(50, y.mean()))["nrmse"] == pytest.approx(1)


def test_a_fit_is_measured(table):
    answer = fits.fit_once(table, peers.PEERS["dummy"], 1, 1)
    assert (answer["n_train"], answer["n_test"], answer["n_columns"]) == (47, 12, 5)
    assert answer["version"] == np.__version__
    assert answer["nrmse"] >= 1
    assert min(answer["fit_seconds"], answer["predict_seconds"]) > 0
    classes = fits.fit_once(FLAG, peers.PEERS["dummy"], 0, 1)
    assert classes["auc"] == 0.5
    json.dumps([answer, classes])


def test_what_is_missing_is_named(table, monkeypatch):
    def make(task, seed, threads):
        import no_such_package  # noqa: F401

    absent = peers.Peer("Absent", "no-such-package", make)
    assert fits.fit_once(table, absent, 0, 1) == {"missing": "No module named 'no_such_package'"}
    monkeypatch.undo()
    monkeypatch.setitem(sources.MODULES, "dmba", "no_such_package")
    answer = fits.fit_once(PRICE, absent, 0, 1)
    assert answer["no_data"].endswith("install them with: pip install dmba")


class Starts:
    """Answer fits as a process does, and record them.

    Parameters
    ----------
    missing, failing : str, optional
        The peer that is missing or fails.
    """

    def __init__(self, table, missing=None, failing=None):
        self.table, self.missing, self.failing = table, missing, failing
        self.keys = []

    def __call__(self, table, peer, split, cores):
        self.keys.append((table, peer, split, cores))
        if peer == self.missing:
            return {"missing": "No module named 'it'"}
        if peer == self.failing:
            return {"failed": "ValueError: why"}
        return fits.fit_once(self.table, peers.PEERS["dummy"], split, cores)


def test_an_interrupted_run_is_resumed(table, tmp_path):
    path = tmp_path / "results.jsonl"
    grid = ["price"], ["dummy", "xgboost"], 3, 1
    keys = runs.list_fits(*grid, runs.read_results(path))
    assert keys == [("price", p, s, 1) for s in range(3) for p in ("dummy", "xgboost")]
    runs.run_fits(keys[:2], path, Starts(table), show=lambda line: None)
    with open(path, "a") as file:
        file.write('{"table": "price", "peer"')  # the run ends while it writes
    assert len(runs.read_results(path)) == 2
    keys = runs.list_fits(*grid, runs.read_results(path))
    start = Starts(table, failing="xgboost")
    runs.run_fits(keys, path, start, show=lambda line: None)
    assert start.keys == [("price", p, s, 1) for s in (1, 2) for p in ("dummy", "xgboost")]
    assert [runs.get_key(r)[1:3] for r in runs.read_results(path)] == [
        ("dummy", 0), ("xgboost", 0), ("dummy", 1), ("xgboost", 1), ("dummy", 2), ("xgboost", 2),
    ]  # fmt: skip
    failed = [("price", "xgboost", split, 1) for split in (1, 2)]
    assert runs.list_fits(*grid, runs.read_results(path)) == failed, "failed fits are tried again"
    runs.run_fits(failed, path, Starts(table), show=lambda line: None)
    assert runs.list_fits(*grid, runs.read_results(path)) == []
    assert len(runs.list_fits(["price"], ["dummy"], 3, 2, runs.read_results(path))) == 3


def test_a_missing_peer_is_asked_once_and_reported(table, tmp_path):
    path, lines = tmp_path / "results.jsonl", []
    keys = runs.list_fits(["price"], ["cmlp-td", "lightgbm", "xgboost"], 2, 1, [])
    start = Starts(table, missing="cmlp-td", failing="xgboost")
    missing, no_data = runs.run_fits(keys, path, start, lines.append)
    assert (missing, no_data) == ({"cmlp-td": "No module named 'it'"}, {})
    assert [key[1] for key in start.keys].count("cmlp-td") == 1
    assert "cmlp-td is missing: No module named 'it'" in lines
    shown = report.format_report(runs.read_results(path), has_details=True)
    assert "- cmlp RealMLP-TD: missing: No module named 'it'" in shown
    assert "- XGBoost-TD on price, split 1: failed: ValueError: why" in shown
    assert "| LightGBM-TD |" in shown


def test_command_line(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs.run_fits, "__defaults__", (Starts(table), print))
    path = str(tmp_path / "results.jsonl")
    chosen = ["--peers", "lightgbm", "xgboost", "--datasets", "concrete", "corolla", "letter"]
    tabular.main([*chosen, "--splits", "2", "--results", path, "--most-rows", "5000"])
    assert {(r["table"], r["peer"]) for r in runs.read_results(path)} == {
        (t, p) for t in ("concrete", "corolla") for p in ("lightgbm", "xgboost")
    }
    shown = capsys.readouterr().out
    tabular.main([*chosen, "--report", path])
    assert capsys.readouterr().out == shown[shown.index("# one core") :]
    plot = tmp_path / "plot.png"
    tabular.main([*chosen, "--report", path, "--plot", str(plot), "--reference", "lightgbm"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        tabular.main([])
    assert "--results FILE or --report FILE is required" in capsys.readouterr().err


def test_aggregates_and_ranks(rng):
    means = rng.random((3, 8))
    means[1, 2] = means[0, 2]
    np.testing.assert_allclose(
        scores.compute_shifted_mean(means), stats.gmean(means + scores.SHIFT, axis=1)
    )
    ranks = np.column_stack([stats.rankdata(column) for column in means.T])
    np.testing.assert_allclose(scores.compute_mean_ranks(means), ranks.mean(1))
    np.testing.assert_allclose(scores.compute_mean_ranks(means).sum(), 6)


def test_p_values_against_scipy(rng):
    a, b = rng.random((2, 12))
    logs = np.log(a + scores.SHIFT), np.log(b + scores.SHIFT)
    assert scores.compute_p_over_tables(a, b) == pytest.approx(stats.wilcoxon(*logs).pvalue)
    assert scores.compute_p_over_tables(a, a) == 1
    # Without an overlap of training sets it is the paired t test.
    paired = stats.ttest_rel(a, b)
    assert scores.compute_p_on_table(a, b, 0.0) == pytest.approx(paired.pvalue)
    factor = math.sqrt((1 / 12) / (1 / 12 + 0.25))
    corrected = 2 * stats.t.sf(abs(paired.statistic) * factor, 11)
    assert scores.compute_p_on_table(a, b, 0.25) == pytest.approx(corrected)
    assert scores.compute_p_on_table(a[:1], b[:1], 0.25) == 1
    assert scores.compute_p_on_table(a, a, 0.25) == 1


def test_adjusted_p_values():
    # The example of Holm's method: 0.01 * 4, 0.02 * 3, max(0.06, 0.03 * 2), max(0.06, 0.04).
    np.testing.assert_allclose(
        scores.adjust_p_values([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06]
    )
    np.testing.assert_allclose(scores.adjust_p_values([0.6, 0.9]), [1, 1])
    assert len(scores.adjust_p_values([])) == 0


def test_bootstrap_against_scipy(rng):
    a, b = rng.random((2, 20))
    low, high = scores.bootstrap_ratio(a, b)
    log_ratios = np.log(a + scores.SHIFT) - np.log(b + scores.SHIFT)
    expected = stats.bootstrap(
        (log_ratios,), np.mean, method="percentile", n_resamples=10_000, random_state=1
    ).confidence_interval
    np.testing.assert_allclose(np.log([low, high]), expected, atol=0.04)
    assert scores.bootstrap_ratio(a, b) == (low, high)


def make_results(errors):
    """Return results of errors of shape (n_peers, n_tables, n_splits)."""
    names = [*peers.PEERS][: len(errors)]
    return [
        {"table": f"t{t}", "peer": names[p], "split": s, "cores": 1, "task": "regression",
         "nrmse": error, "rmse": error, "mae": error, "r2": 1 - error**2, "fit_seconds": 1.0 + p,
         "fit_cpu_seconds": 2.0, "predict_seconds": 0.25, "predict_cpu_seconds": 0.25,
         "n_train": 80, "n_test": 20, "n_columns": 3, "version": "1"}
        for (p, t, s), error in np.ndenumerate(errors)
    ]  # fmt: skip


def test_peers_are_compared_on_common_splits(rng):
    errors = rng.uniform(0.1, 0.9, (3, 6, 5))
    errors[1] = errors[0] * 1.5
    results = make_results(errors)
    names = [*peers.PEERS][:3]
    kept = [
        r for r in results
        if (r["table"], r["split"], r["peer"]) != ("t2", 1, names[0]) and
        (r["table"], r["peer"]) != ("t4", names[2])
    ]  # fmt: skip
    found = scores.collect_errors(kept, names, lambda r: r["nrmse"])
    assert [*found.by_table] == ["t0", "t1", "t2", "t3", "t5"]
    np.testing.assert_array_equal(found.by_table["t2"], np.delete(errors[:, 2], 1, axis=1))
    assert "Omitted, as not all peers have results: t4" in report.format_report(kept)
    found = scores.collect_errors(results, names, lambda r: r["nrmse"])
    comparison = scores.compare(found, names[1], names[0])
    assert (comparison.better, comparison.worse) == (0, 6)
    assert comparison.p_value == stats.wilcoxon(np.arange(1, 7)).pvalue
    assert 1.4 < comparison.interval[0] < comparison.ratio < comparison.interval[1] < 1.5


def test_a_report_has_all_parts():
    errors = np.array([[[0.2] * 5] * 6, [[0.4] * 5] * 6])
    errors[1] += 0.01 * np.arange(5)
    shown = report.format_report(make_results(errors), has_details=True)
    ratio = (0.42 + 0.01) / (0.2 + 0.01)
    assert "**Regression, nRMSE**, data sets: 6, splits: 5" in shown
    assert f"| pytabkit RealMLP-TD | 0.42 | {ratio:.3f}" not in shown
    assert f"| cmlp RealMLP-TD-S | 0.4300 | {ratio:.3f} | {ratio:.3f} to {ratio:.3f} |" in shown
    assert "| 0.031 | 2.00 | 0 (0) | 6 (6) | 2.00 | 60 | 60 | 250.0 |" in shown
    assert "| t5 | 100 | 3 | **0.2000** | 0.4200- |" in shown
    assert "| t5 | cmlp RealMLP-TD-S | 5 | 0.42 |" in shown
    reference = report.format_report(make_results(errors), reference="cmlp-td-s")
    assert "ratio to cmlp RealMLP-TD-S" in reference
    assert "0.2000**+" in reference

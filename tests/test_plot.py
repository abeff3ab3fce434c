"""cmlp.plot: the data of the artists against NumPy, models of all kinds, arguments; HTML."""

import io
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix as count_confusions
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmlp import History, Network, layers, losses, plot
from cmlp.metrics import MINIMIZED
from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 12)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
NAMES = np.array(["ant", "bee", "cow"])
NOISY = np.where(RNG.random(120) < 0.2, (Y + 1) % 3, Y)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def network(outputs=3, **options):
    return Network([12, 8, outputs], **{"activation": "relu", "loss": "cross_entropy", "seed": 0,
                                        **options})  # fmt: skip


@pytest.fixture(scope="module")
def net():
    trained = network()
    trained.fit(X, Y, epochs=20, validation_data=(X[:40], NOISY[:40]), metrics="accuracy")
    return trained


@pytest.fixture(scope="module")
def classifier():
    return make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=20, random_state=0)).fit(
        X, NAMES[Y]
    )


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame(X[:, :4]).add_prefix("x").assign(c=NAMES[Y])


@pytest.fixture(scope="module")
def tabular(table):
    return RealMLPClassifier(hidden_layer_sizes=(8, 8), max_epochs=4, cv=2, random_state=0).fit(
        table, NAMES[NOISY]
    )


def make_history(**quantities):
    history = History()
    history.epochs += [
        dict(zip(quantities, values, strict=True))
        for values in zip(*quantities.values(), strict=True)
    ]
    return history


HISTORY = make_history(
    loss=[3.0, 2.0, 1.0], accuracy=[0.2, 0.3, 0.4], lr=[1.0, 1.0, 1.0],
    val_loss=[3.0, 1.5, 2.5], val_accuracy=[0.1, 0.2, 0.5],
)  # fmt: skip


def read_lines(ax):
    return {line.get_label(): line.get_ydata().tolist() for line in ax.get_lines()}


def get_twin(ax):
    return next(other for other in ax.figure.axes if other is not ax)


# Learning curves.


def test_learning_curve_draws_losses_and_metrics_and_marks_the_best_epoch():
    ax = plot.learning_curve(HISTORY)
    assert read_lines(ax) == {name: HISTORY[name] for name in ("loss", "val_loss")}
    assert read_lines(get_twin(ax)) == {n: HISTORY[n] for n in ("accuracy", "val_accuracy")}
    assert [line.get_linestyle() for line in ax.get_lines()] == ["-", "--"]
    assert ax.get_lines()[0].get_xdata().tolist() == [1, 2, 3]
    (marked,) = ax.collections
    assert marked.get_offsets().tolist() == [[2, 1.5]]
    other = plot.learning_curve(HISTORY, ax=pyplot.figure().subplots())
    for legend in (ax.figure.legends[0], get_twin(other).get_legend()):
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts == ["loss", "val_loss (best: 1.5, epoch 2)", "accuracy", "val_accuracy"]
    assert (ax.get_ylabel(), get_twin(ax).get_ylabel()) == ("loss", "accuracy")


@pytest.mark.parametrize(
    ("best", "marks"), [(True, [[3, 0.5]]), ("accuracy", [[3, 0.4]]), (False, [])]
)
def test_keys_and_best_choose_quantities(best, marks):
    ax = plot.learning_curve(HISTORY, "accuracy", best=best)
    assert [*read_lines(ax)] == ["accuracy", "val_accuracy"]
    assert [point.tolist() for c in ax.collections for point in c.get_offsets()] == marks
    assert [*read_lines(plot.learning_curve(HISTORY, ["lr"]))] == ["lr"]


@pytest.mark.parametrize("name", [*MINIMIZED, "mean_absolute_error", "my_mae"])
@pytest.mark.parametrize("prefix", ["", "val_"])
def test_the_smallest_error_is_the_best(prefix, name):
    ax = plot.learning_curve(make_history(**{prefix + name: [3.0, 1.0, 2.0]}), best=prefix + name)
    (marked,) = ax.collections
    assert marked.get_offsets().tolist() == [[2, 1.0]]


def test_errors_are_minimized_and_missing_values_are_gaps():
    history = make_history(mae=[3.0, np.nan, 2.0, 4.0], val_mae=[np.nan, 7.0, 5.0, 6.0])
    (marked,) = plot.learning_curve(history).collections
    assert marked.get_offsets().tolist() == [[3, 5]]
    history = make_history(loss=[1.0], val_loss=[np.nan])
    assert not plot.learning_curve(history).collections


def test_several_histories_are_compared_by_their_losses():
    other = make_history(loss=[5.0, 4.0], val_loss=[6.0, 7.0])
    ax = plot.learning_curve([HISTORY, other], labels=["a", "b"], log=True)
    lines = read_lines(ax)
    assert [*lines] == ["a, loss", "a, val_loss", "b, loss", "b, val_loss"]
    assert lines["b, val_loss"] == [6, 7]
    colors = [line.get_color() for line in ax.get_lines()]
    assert colors[0] == colors[1] != colors[2] == colors[3]
    assert ax.get_yscale() == "log"
    assert len(ax.figure.axes) == 1
    both = plot.learning_curve([HISTORY, HISTORY], ["loss", "accuracy"])
    assert len({line.get_color() for each in both.figure.axes for line in each.get_lines()}) == 4


def test_models_that_have_a_history(net, classifier, tabular):
    history = net.state.history
    expected = {"loss": history["loss"], "val_loss": history["val_loss"]}
    for source in (net, history, history.to_dict(), net.copy()):
        assert read_lines(plot.learning_curve(source, [*expected])) == expected
    search = GridSearchCV(classifier, {"mlpclassifier__alpha": [0.1]}, cv=2).fit(X, NAMES[Y])
    for source, estimator in ((classifier, classifier), (search, search.best_estimator_)):
        losses = estimator[-1].history_["loss"]
        assert read_lines(plot.learning_curve(source)) == {"loss": losses}
        assert losses == pytest.approx(estimator[-1].loss_curve_)
    ax = plot.learning_curve(tabular)
    assert [*read_lines(ax)][::2] == ["network 0, loss", "network 1, loss"]
    marked = [collection.get_offsets()[0, 0] - 1 for collection in ax.collections]
    assert marked == tabular.best_epochs_


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.learning_curve(network()), TypeError, "history must be a History"),
        (lambda: plot.learning_curve([HISTORY, 3]), TypeError, r"history\[1\] must be a History"),
        (lambda: plot.learning_curve([]), ValueError, "history must have at least one item"),
        (lambda: plot.learning_curve(History()), ValueError, "must have at least one epoch"),
        (lambda: plot.learning_curve({"a": [1], "b": []}), ValueError, "of the same length"),
        (lambda: plot.learning_curve({"loss": ["a"]}), ValueError, "history must hold numbers"),
        (lambda: plot.learning_curve(HISTORY, "f1"), ValueError, "keys must be in the history"),
        (lambda: plot.learning_curve(HISTORY, []), ValueError, "keys must be at least one"),
        (lambda: plot.learning_curve(HISTORY, best="lr"), ValueError, "best must be one of loss"),
        (lambda: plot.learning_curve(HISTORY, best=2), TypeError, "best must be True, False or"),
        (lambda: plot.learning_curve(HISTORY, log=1), TypeError, "log must be True or False"),
        (lambda: plot.learning_curve(HISTORY, labels=["a", "b"]), ValueError, "labels must be 1"),
        (lambda: plot.learning_curve(HISTORY, ax=[1]), TypeError, "ax must be a matplotlib"),
        (
            lambda: plot.learning_curve({"loss": [1.0, -1.0]}, log=True), ValueError,
            "log must be False unless all values of loss are positive; got -1",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_of_learning_curve_leave_no_figure(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not pyplot.get_fignums()


# Predictions of classes.


def list_classifiers(net, classifier, tabular, table):
    yield net, X, Y
    yield net.quantize(X), X, Y.tolist()
    yield net, sparse.csr_matrix(X), np.eye(3)[Y]
    yield classifier, X, NAMES[Y]
    yield tabular, table, pd.Series(NAMES[NOISY])
    yield LogisticRegression().fit(X, Y * 10), X, Y[:, None] * 10


def compute_luminance(color):
    """WCAG 2.2, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_confusion_matrix(net, classifier, tabular, table, normalize):
    for model, samples, y in list_classifiers(net, classifier, tabular, table):
        ax = plot.confusion_matrix(model, samples, y, normalize=normalize)
        labels = np.asarray(y)
        labels = labels.argmax(1) if labels.ndim == 2 and labels.shape[1] == 3 else labels.ravel()
        expected = count_confusions(labels, model.predict(samples), normalize=normalize)
        found = ax.images[0].get_array()
        np.testing.assert_allclose(found, expected)
        texts = [text.get_text() for text in ax.texts]
        form = "d" if normalize is None else ".2f"
        assert texts == [format(value, form) for value in expected.ravel()]
        names = [str(each) for each in getattr(model, "classes_", range(3))]
        assert [tick.get_text() for tick in ax.get_yticklabels()] == names
        for text, value in zip(ax.texts, found.ravel(), strict=True):
            background = compute_luminance(ax.images[0].cmap(ax.images[0].norm(value)))
            contrasts = {"white": 1.05 / (background + 0.05), "black": (background + 0.05) / 0.05}
            assert contrasts[text.get_color()] == max(contrasts.values())


def test_the_confusion_matrix_of_two_classes_and_of_many():
    y = (X[:, 0] > 0).astype(np.uint8)
    net = network(1, loss="binary_cross_entropy")
    found = plot.confusion_matrix(net, X, y, labels=["no", "yes"], colorbar=False)
    np.testing.assert_array_equal(found.images[0].get_array(), count_confusions(y, net.predict(X)))
    assert [tick.get_text() for tick in found.get_xticklabels()] == ["no", "yes"]
    assert len(found.figure.axes) == 1
    many = Network([12, 100], loss="cross_entropy", seed=0)
    y = np.arange(120) % 100
    _, ax = pyplot.subplots()
    assert plot.confusion_matrix(many, X, y, ax=ax) is ax
    assert not ax.texts
    assert ax.images[0].get_array().sum() == 120
    # Hinge losses have scores instead of probabilities.
    hinge = network(loss="hinge")
    assert plot.confusion_matrix(hinge, X, Y).images[0].get_array().sum() == 120


def compute_calibration(confidence, is_right, n_bins):
    """Guo et al., arXiv:1706.04599, section 2, by loops."""
    points, error = [], 0.0
    for m in range(n_bins):
        low, high = m / n_bins, (m + 1) / n_bins
        members = [i for i, c in enumerate(confidence) if low < c <= high or (c == 0 and m == 0)]
        if members:
            points.append((np.mean(confidence[members]), np.mean(is_right[members])))
            error += len(members) / len(confidence) * abs(points[-1][0] - points[-1][1])
    return np.array(points), error


@pytest.mark.parametrize("n_bins", [5, 10])
def test_calibration_of_the_top_class(net, classifier, tabular, table, n_bins):
    for model, samples, y in list_classifiers(net, classifier, tabular, table):
        ax = plot.calibration_curve(model, samples, y, n_bins, label="it")
        probabilities = np.asarray(model.predict_proba(samples), np.float64)
        labels = np.asarray(y)
        labels = labels.argmax(1) if labels.ndim == 2 and labels.shape[1] == 3 else labels.ravel()
        is_right = model.predict(samples) == labels
        points, error = compute_calibration(probabilities.max(1), is_right, n_bins)
        _, line = ax.get_lines()
        np.testing.assert_allclose(line.get_xydata(), points)
        assert line.get_label() == f"it (ECE {error:.4f})"
        bars = get_twin(ax).patches
        assert len(bars) == n_bins
        assert sum(bar.get_height() for bar in bars) == pytest.approx(1)


def test_calibration_of_one_class():
    y = (X[:, 0] > 0).astype(int)
    binary = network(1, loss="binary_cross_entropy")
    binary.fit(X, y, epochs=5)
    positive = binary.predict_proba(X)[:, 0].astype(np.float64)
    ax = plot.calibration_curve(binary, X, y, histogram=False)
    points, error = compute_calibration(positive, y, 10)
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata(), points)
    assert ax.get_lines()[1].get_label() == f"Network (ECE {error:.4f})"
    assert (ax.get_xlabel(), len(ax.figure.axes)) == ("probability of class 1", 1)
    # The other class, in the same axes.
    assert plot.calibration_curve(binary, X, y, pos_label=0, histogram=False, ax=ax) is ax
    points, _ = compute_calibration(1 - positive, 1 - y, 10)
    np.testing.assert_allclose(ax.get_lines()[2].get_xydata(), points)
    assert len({line.get_color() for line in ax.get_lines()}) == 3
    # One class of several.
    net = network()
    ax = plot.calibration_curve(net, X, Y, pos_label=2)
    points, _ = compute_calibration(net.predict_proba(X)[:, 2].astype(float), Y == 2, 10)
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata(), points)


def test_quantiles_have_the_same_number_of_samples(net):
    ax = plot.calibration_curve(net, X, Y, 4, strategy="quantile")
    heights = [bar.get_height() for bar in get_twin(ax).patches]
    np.testing.assert_allclose(heights, 0.25, atol=0.02)
    # All confidences are equal.
    constant = network()
    constant.weight[-1] = np.zeros((3, 8))
    constant.bias[-1] = np.zeros((3, 1))
    ax = plot.calibration_curve(constant, X, Y, 4, strategy="quantile")
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata(), [[1 / 3, np.mean(Y == 0)]])


def test_confident_mistakes(net, classifier):
    for model, samples, y in (
        (net, X, NOISY), (net.quantize(X), sparse.csr_matrix(X), NOISY),
        (classifier, X, NAMES[NOISY]),
    ):  # fmt: skip
        probabilities, codes = model.predict_proba(samples), np.asarray(NOISY)
        predicted = probabilities.argmax(1)
        wrong = [i for i in range(120) if predicted[i] != codes[i]]
        wrong.sort(key=lambda i: -probabilities[i].max())
        axes = plot.confident_mistakes(model, samples, y, (3, 4), 7, labels=NAMES)
        assert axes.shape == (3, 3)
        for ax, i in zip(axes.flat, wrong[:7], strict=False):
            np.testing.assert_array_equal(ax.images[0].get_array(), X[i].reshape(3, 4))
            share = f"{probabilities[i].max():.1%}"
            predicted_name = NAMES[predicted[i]]
            assert ax.get_title() == f"true {NAMES[codes[i]]}\npredicted {predicted_name}, {share}"
        assert not any(ax.images for ax in axes.flat[7:])
        title = axes[0, 0].figure.get_suptitle()
        assert title == f"7 most confident of {len(wrong)} mistakes in 120 samples"


def test_images_with_colors_in_data_frames_and_none_at_all(classifier):
    frame = pd.DataFrame(X)
    axes = plot.confident_mistakes(classifier, frame.to_numpy(), NAMES[NOISY], (2, 2, 3), 1)
    image = axes[0, 0].images[0].get_array()
    assert (image.shape, image.min(), image.max()) == ((2, 2, 3), 0, 1)
    logistic = LogisticRegression().fit(frame, Y)
    _, given = pyplot.subplots(2, 5)
    axes = plot.confident_mistakes(logistic, frame, (Y + 1) % 3, (3, 4), 6, axes=given)
    assert axes.shape == (2, 5)
    assert pyplot.get_fignums() == [1, 2]
    assert not given[0, 0].figure.get_suptitle()
    assert sum(len(ax.images) for ax in axes.flat) == 6
    axes = plot.confident_mistakes(logistic, frame, logistic.predict(frame), (3, 4))
    assert axes[0, 0].get_title() == "no mistakes in 120 samples"
    assert not axes[0, 0].images


NAN = np.full((120, 12), np.nan, np.float32)
MULTILABEL = Network([12, 8, 3], loss="binary_cross_entropy", seed=0)
MULTILABEL.task = "multilabel"

BAD_PREDICTIONS = {
    "regressor": (network(loss="mse"), X, Y, TypeError, "whose task is 'regression'"),
    "multilabel": (MULTILABEL, X, Y, TypeError, "whose task is 'multilabel'"),
    "columns": (network(), X[:, 1:], Y, ValueError, "X must have 12 columns"),
    "NaN": (network(), NAN, Y, ValueError, "X must be finite"),
    "length": (network(), X, Y[1:], ValueError, "y must have 120 samples, like X"),
    "label": (network(), X, Y + 1, ValueError, "y must hold labels from 0 to 2"),
    "NaN label": (network(), X, np.full(120, np.nan), ValueError, "y"),
    "soft": (network(), X, np.full((120, 3), 1 / 3), ValueError, "labels or one-hot rows"),
    "none": (network(), X[:0], Y[:0], ValueError, "X must have at least one sample"),
    "masked": (network(), X, np.ma.masked_less(Y, 1), ValueError, "masked elements"),
    "unfitted": (MLPClassifier(), X, Y, TypeError, "a fitted classifier; got MLPClassifier"),
    "kind": (MLPRegressor(), X, Y, TypeError, "a fitted classifier; got MLPRegressor"),
    "module": (np, X, Y, TypeError, "a fitted classifier; got module"),
    "estimator's length": (LogisticRegression().fit(X, Y), X, Y[1:], ValueError,
                           "y must have 120 labels, like X; got shape"),
    "estimator's label": (LogisticRegression().fit(X, Y), X, NAMES[Y], ValueError,
                          "y must hold classes of the model, 0, 1, 2; got '"),
    "several": (MultiOutputClassifier(LogisticRegression()).fit(X, np.c_[Y, Y]), X, Y, TypeError,
                "a single label for each sample"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PREDICTIONS)
def test_wrong_models_and_samples_leave_no_figure(case):
    model, samples, y, error, message = BAD_PREDICTIONS[case]
    for function in (plot.confusion_matrix, plot.calibration_curve, plot.confident_mistakes):
        with pytest.raises(error, match=message):
            function(model, samples, y)
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (plot.confusion_matrix, {"normalize": "row"}, "normalize must be one of true, pred, all"),
        (plot.confusion_matrix, {"labels": ["a"]}, "labels must be 3 names, one for each class"),
        (plot.confusion_matrix, {"labels": "abc"}, "labels must be a sequence of names"),
        (plot.confusion_matrix, {"cmap": "x"}, "cmap must be the name of a colormap"),
        (plot.confusion_matrix, {"ax": 3}, "ax must be a matplotlib.axes.Axes; got int"),
        (plot.calibration_curve, {"n_bins": 0}, "n_bins must be at least 1"),
        (plot.calibration_curve, {"strategy": "x"}, "strategy must be one of uniform, quantile"),
        (plot.calibration_curve, {"pos_label": 3}, "pos_label must be one of 0, 1, 2; got 3"),
        (plot.confident_mistakes, {"shape": (3, 5)}, "shape must have 12 elements"),
        (plot.confident_mistakes, {"shape": (12,)}, r"\(height, width, 3 or 4\) for colors"),
        (plot.confident_mistakes, {"shape": (3, 4), "n": 0}, "n must be at least 1"),
        (plot.confident_mistakes, {"shape": (3, 4), "axes": [1, 2]}, "axes must be a matplotlib"),
    ],
)
def test_wrong_arguments_of_classifier_plots_leave_no_figure(function, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        function(network(), X, Y, **options)
    assert not pyplot.get_fignums()


def test_scores_are_not_probabilities():
    hinge = network(loss="hinge")
    for function in (plot.calibration_curve, plot.confident_mistakes):
        with pytest.raises(TypeError, match="output must be 'softmax' or 'sigmoid'"):
            function(hinge, X, Y)


# Weights.


def test_first_layer_weights_have_colors_around_zero(net):
    axes = plot.first_layer_weights(net, (3, 4))
    assert axes.shape == (3, 3)
    limit = np.quantile(np.abs(net.weight[0]), 0.995)
    for ax, row in zip(axes.flat, net.weight[0], strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), row.reshape(3, 4))
        assert ax.images[0].get_clim() == pytest.approx((-limit, limit))
    quantized = net.quantize(X)
    first = quantized.layers[0]
    axes = plot.first_layer_weights(quantized, (4, 3), units=[5, 0], limit=0.5, colorbar=False)
    for ax, unit in zip(axes.flat, (5, 0), strict=True):
        expected = first.weight[unit] * first.weight_scale[unit]
        np.testing.assert_array_equal(ax.images[0].get_array(), expected.reshape(4, 3))
        assert ax.images[0].get_clim() == (-0.5, 0.5)


def test_of_many_units_those_with_the_greatest_norm_are_drawn(classifier):
    wide = Network([4, 70, 2], seed=0)
    wide.weight[0] = np.arange(70.0, 0, -1)[:, None] * np.ones(4)
    wide.weight[0][3] = 0
    axes = plot.first_layer_weights(wide, (2, 2))
    drawn = [ax.images[0].get_array()[0, 0] for ax in axes.flat]
    assert drawn == [70 - unit for unit in range(65) if unit != 3]
    assert axes[0, 0].figure.get_suptitle() == "weights of 64 of 70 units"
    axes = plot.first_layer_weights(classifier, (3, 4))
    np.testing.assert_array_equal(
        axes[0, 1].images[0].get_array().ravel(), classifier[-1].coefs_[0][:, 1]
    )


BROKEN = network()
BROKEN.weight[0][1, 2] = np.nan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "shape must have 12 elements, one for each input of the model; got .28, 28"),
        ({"shape": (2, 2, 3)}, r"shape must be \(height, width\); got"),
        ({"shape": 12}, "shape must be a sequence of integers"),
        ({"shape": (3, 4), "units": [8]}, "units must be at most 7; got 8"),
        ({"shape": (3, 4), "units": []}, "units must have at least one index"),
        ({"shape": (3, 4), "limit": 0}, "limit must be positive"),
        ({"model": BROKEN, "shape": (3, 4)}, "model must have finite weights; got NaN"),
        ({"model": LogisticRegression()}, "a fitted estimator of cmlp; got LogisticRegression"),
        ({"model": MLPClassifier()}, "a fitted estimator of cmlp; got MLPClassifier"),
        ({"model": Network([2, 3], input_layers=[layers.Scale()])}, "must have no input layers"),
    ],
)
def test_wrong_arguments_of_first_layer_weights_leave_no_figure(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot.first_layer_weights(**{"model": network(), **options})
    assert not pyplot.get_fignums()


# The diagram.


def count_circles(ax):
    return [
        len(collection.get_offsets())
        for collection in ax.collections
        if type(collection).__name__ == "EllipseCollection"
    ]


def test_the_diagram_has_circles_and_connections():
    net = Network([784, 5, 10, 3], activation=["relu", "prelu"], normalization=["batch", None],
                  dropout=[0, 0.5], input_dropout=0.1, loss="cross_entropy")  # fmt: skip
    ax = plot.architecture(net, max_units=8)
    assert count_circles(ax) == [6, 5, 6, 3]
    lines = [c for c in ax.collections if type(c).__name__ == "LineCollection"]
    assert [len(each.get_segments()) for each in lines] == [30, 30, 18]
    texts = [text.get_text() for text in ax.texts]
    assert texts == [
        "inputs", "784\ndropout 0.1", "hidden 0", "5\nrelu\nbatch norm\n3,930 params", "hidden 1",
        "10\nprelu\ndropout 0.5\n70 params", "outputs", "3\nsoftmax\n33 params",
    ]  # fmt: skip
    assert ax.get_title() == "Network, 4,033 parameters, loss cross_entropy"
    assert sum(map(np.size, net.state.parameters.views.values())) == 4033


def test_diagrams_of_other_models(net, classifier, tabular):
    assert count_circles(plot.architecture(classifier)) == [8, 8, 3]
    assert count_circles(plot.architecture(net.quantize(X), show_parameters=False)) == [8, 8, 3]
    ax = plot.architecture(tabular)
    kinds = [type(layer).__name__ for layer in tabular.networks_[0].state.architecture.encoders]
    titles = [text.get_text() for text in ax.texts]
    assert [title for title in titles if title in kinds] == kinds
    with pytest.raises(ValueError, match="max_units must be at least 3"):
        plot.architecture(net, max_units=2)
    with pytest.raises(TypeError, match="model must be a Network"):
        plot.architecture(RealMLPRegressor())


# Regressors.


def test_residuals(table):
    y = X[:, :2] @ [[1.0, 2.0], [3.0, -1.0]]
    net = network(2, loss="mse")
    net.fit(X, y, epochs=5)
    ax = plot.residuals(net, X, y, labels=["a", "b"])
    predicted = net.predict(X)
    for i, collection in enumerate(ax.collections):
        np.testing.assert_allclose(collection.get_offsets(), np.c_[predicted[:, i], y[:, i]])
    rmse = np.sqrt(np.mean((y - predicted) ** 2))
    assert ax.get_title() == f"R² {net.score(X, y):.4f}, RMSE {rmse:.4g}"
    single = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0)
    )
    single.fit(X, y[:, 0])
    ax = plot.residuals(single, X, y[:, 0], kind="residual_vs_predicted", subsample=30)
    found, offsets = single.predict(X), ax.collections[0].get_offsets()
    expected = np.c_[found, y[:, 0] - found]
    assert len(offsets) == 30
    assert {tuple(row) for row in offsets.data.tolist()} <= {tuple(r) for r in expected.tolist()}
    regressor = RealMLPRegressor(hidden_layer_sizes=(8,), max_epochs=2, random_state=0)
    regressor.fit(table, y[:, 0])
    ax = plot.residuals(regressor, table, y[:, 0])
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], regressor.predict(table))


@pytest.mark.parametrize(
    ("net", "y", "options", "message"),
    [
        (network(), Y, {}, "must be a regressor; got a network whose task is 'multiclass'"),
        (network(1, loss="mse"), Y[1:], {}, "y must have 120 samples"),
        (network(1, loss="mse"), np.full(120, np.nan), {}, "y must be finite"),
        (network(1, loss="mse"), Y, {"kind": "x"}, "kind must be one of actual_vs_predicted"),
        (network(1, loss="mse"), Y, {"labels": []}, "labels must be 1 names"),
        (network(1, loss="mse"), Y, {"subsample": 0}, "subsample must be at least 1"),
        (network(2, loss=losses.pinball((0.1, 0.9))), Y, {}, "the shape of the predictions"),
        (LogisticRegression().fit(X, Y), Y, {}, "a network or a regressor"),
    ],
)
def test_wrong_arguments_of_residuals_leave_no_figure(net, y, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot.residuals(net, X, y, **options)
    assert not pyplot.get_fignums()


# All plots.

CALLS = {
    "learning_curve": lambda net, **o: plot.learning_curve(net, **o),
    "confusion_matrix": lambda net, **o: plot.confusion_matrix(net, X, Y, **o),
    "calibration_curve": lambda net, **o: plot.calibration_curve(net, X, Y, **o),
    "architecture": lambda net, **o: plot.architecture(net, **o),
    "residuals": lambda net, **o: plot.residuals(network(3, loss="mse"), X, X[:, :3], **o),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_plot_is_drawn_into_the_axes_that_are_given(net, name, monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("shown"))
    figure = matplotlib.figure.Figure(figsize=(3, 2), dpi=30)
    ax = figure.subplots(1, 2)[1]
    assert CALLS[name](net, ax=ax) is ax
    assert not pyplot.get_fignums()
    figure.savefig(io.BytesIO())  # without a warning
    part = matplotlib.figure.Figure(dpi=30).subfigures(1, 2)[0]
    CALLS[name](net, ax=part.subplots())
    assert set(plot.__all__) == {*CALLS, "first_layer_weights", "confident_mistakes"}


def test_plots_need_matplotlib(net, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for name, call in CALLS.items():
        with pytest.raises(ImportError, match=rf"^{name}\(\) requires Matplotlib; .*'cmlp\[plot\]"):
            call(net)


# HTML.


class Reader(HTMLParser):
    """Collects the text of the cells, and checks that all tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html_of_a_network_has_its_layers():
    net = Network([6, 8, 4, 1], activation=["relu", "leaky_relu"], normalization=["batch", None],
                  dropout=[0, 0.25], loss="mse", dtype="float64", input_noise=0.5,
                  seed=7)  # fmt: skip
    rows = Reader(net._repr_html_()).rows
    assert rows[:5] == [
        ["layer", "kind", "inputs → units", "activation", "normalization", "dropout",
         "parameters", "bytes"],
        ["", "InputNoise", "6 → 6", "", "", "", "0", "0"],
        ["0", "Dense", "6 → 8", "relu", "batch", "", "64", "512"],
        ["1", "Dense", "8 → 4", "leaky_relu", "", "0.25", "36", "288"],
        ["2", "Dense", "4 → 1", "identity", "", "", "5", "40"],
    ]  # fmt: skip
    details = dict(row for row in rows if len(row) == 2)
    assert details["seed"] == "7"
    assert details["input layer 0"] == "InputNoise(deviation=0.5)"
    assert "regression, loss mse, float64, 105 parameters, 840 bytes" in net._repr_html_()
    assert "cmlp-fitted" not in net._repr_html_().partition("</style>")[2]
    net.fit(X[:, :6], X[:, 0], epochs=1)
    assert "cmlp-fitted" in net._repr_html_().partition("</style>")[2]


def test_html_of_encoders_and_of_integers(net):
    encoded = Network([3, 2, 1], input_layers=[layers.Embedding([2], [4], 5)])
    rows = Reader(encoded._repr_html_()).rows
    assert rows[1][:3] == ["", "Embedding", "3 → 7"]
    assert rows[1][6] == "20"
    quantized = net.quantize(X)
    rows = Reader(quantized._repr_html_()).rows
    nbytes = [sum(a.nbytes for a in (layer.weight, layer.weight_scale, layer.bias))
              for layer in quantized.layers]  # fmt: skip
    assert [int(row[-1]) for row in rows[1:3]] == nbytes
    assert "8-bit integers" in quantized._repr_html_()


def test_html_is_escaped():
    kind = type("A<b>&", (Network,), {"__slots__": ()})
    text = kind([2, 2])._repr_html_()
    assert "<b>A&lt;b&gt;&amp;</b>" in text
    history = make_history(**{"<i>": [1.0]})
    assert Reader(history._repr_html_()).rows == [["epoch", "<i>"], ["1", "1"]]


def test_html_of_a_history_has_the_last_epochs():
    history = make_history(loss=[float(i) for i in range(25)])
    rows = Reader(history._repr_html_()).rows
    assert rows[1:] == [[str(i + 1), str(i)] for i in range(15, 25)]
    assert Reader(History()._repr_html_()).rows == [["epoch"]]

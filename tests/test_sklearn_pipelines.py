"""`Network.from_sklearn` of pipelines, and `fold_scaler`: affine transformers become weights."""

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from cmlp import Network, layers
from cmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Features .* are constant",
    "ignore:invalid value encountered in divide",
)  # fmt: skip

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)) * [1, 10, 0.1, 5, 1, 2] + [0, 50, -3, 0, 2, 1]
X[:, 4] = 7  # constant
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 50)
TARGETS = np.c_[X[:, 0] * 100 + 30, X[:, 3] - 500]

KINDS = [MLPClassifier, neural_network.MLPClassifier]
OPTIONS = {"random_state": 0, "max_iter": 4, "hidden_layer_sizes": (9, 5)}

TRANSFORMERS = [
    StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False),
    StandardScaler(with_mean=False, with_std=False), MinMaxScaler((-1, 3)), MaxAbsScaler(),
    RobustScaler(), RobustScaler(with_centering=False), RobustScaler(with_scaling=False),
    RobustScaler(quantile_range=(10, 80), unit_variance=True), PCA(3), PCA(4, whiten=True),
    IncrementalPCA(3, whiten=True), TruncatedSVD(3, random_state=0), VarianceThreshold(),
    SelectKBest(k=2), FunctionTransformer(), "passthrough",
    make_pipeline(StandardScaler(), PCA(4), make_pipeline("passthrough", MinMaxScaler())),
    make_column_transformer((StandardScaler(), [0, 2]), (MinMaxScaler(), slice(3, 5)),
                            ("drop", [1]), remainder="passthrough"),
    ColumnTransformer([("a", PCA(2), [5, 0, 1]), ("b", "passthrough", [True, *[False] * 5]),
                       ("c", MaxAbsScaler(), [-1])], transformer_weights={"a": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_transformers_are_folded_into_the_first_layer(transformer):
    for kind in KINDS:
        pipeline = make_pipeline(transformer, kind(**OPTIONS)).fit(X, Y)
        net = Network.from_sklearn(pipeline)
        assert net.size == [6, 9, 5, 3]
        np.testing.assert_allclose(net(X), pipeline.predict_proba(X), rtol=0, atol=1e-10)
        assert (net.predict(X) == pipeline.predict(X)).all()


def test_normalized_layers():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(batch_norm=True, **OPTIONS)).fit(X, Y)
    net = Network.from_sklearn(pipeline)
    np.testing.assert_allclose(net(X), pipeline.predict_proba(X), rtol=0, atol=1e-10)

    inner = Network([6, 5, 2], normalization="layer", loss="mse", dtype="float64", seed=0)
    scaler = StandardScaler(with_mean=False).fit(X)
    folded = inner.fold_scaler(scaler)
    np.testing.assert_allclose(folded(X), inner(scaler.transform(X)), rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match=r"step 'scaler' \(StandardScaler\).*layer normalization"):
        inner.fold_scaler(StandardScaler().fit(X))


def test_float32_and_dtype():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(dtype="float32", **OPTIONS)).fit(X, Y)
    net = Network.from_sklearn(pipeline)
    assert net.dtype == np.float32
    np.testing.assert_allclose(net(X), pipeline.predict_proba(X), rtol=0, atol=1e-4)
    double = Network.from_sklearn(pipeline, dtype="float64")
    assert double.dtype == np.float64
    np.testing.assert_allclose(double(X), pipeline.predict_proba(X), rtol=0, atol=1e-6)
    rounded = MLPClassifier(compute_dtype="bfloat16", **OPTIONS).fit(X, Y)
    assert Network.from_sklearn(rounded).compute_dtype == "bfloat16"
    assert Network.from_sklearn(rounded, dtype="float64").compute_dtype == "float64"
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        Network.from_sklearn(rounded, dtype="float16")


@pytest.mark.parametrize("kind", [MLPRegressor, neural_network.MLPRegressor])
@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        MinMaxScaler(),
        RobustScaler(),
        MaxAbsScaler(),
        None,
    ],
    ids=str,
)
def test_targets_are_folded_into_the_last_layer(kind, scaler):
    for y in (TARGETS, TARGETS[:, 0]):
        regressor = make_pipeline(RobustScaler(), kind(**OPTIONS))
        model = TransformedTargetRegressor(regressor, transformer=scaler).fit(X, y)
        net = Network.from_sklearn(
            Pipeline([("scale", MinMaxScaler()), ("model", model)]).fit(X, y)
        )
        expected = make_pipeline(MinMaxScaler(), model).fit(X, y).predict(X)
        np.testing.assert_allclose(net.predict(X).reshape(y.shape), expected, rtol=1e-10)


def test_labels_searches_sparse_rows_and_frames():
    pd = pytest.importorskip("pandas")
    names = np.array(["red", "green", "blue"])[Y]
    search = GridSearchCV(make_pipeline(MaxAbsScaler(), MLPClassifier(**OPTIONS)),
                          {"mlpclassifier__alpha": [1e-4, 1e-3]}, cv=2)  # fmt: skip
    with pytest.raises(NotFittedError):
        Network.from_sklearn(search)
    search.fit(sparse.csr_matrix(X), names)
    net = Network.from_sklearn(search)
    assert (search.classes_[net.predict(X)] == search.predict(X)).all()
    np.testing.assert_allclose(net(sparse.csr_matrix(X)), search.predict_proba(X), atol=1e-10)

    frame = pd.DataFrame(X, columns=list("abcdef"))
    columns = make_column_transformer(
        (StandardScaler(), ["e", "b"]), (MinMaxScaler(), slice("c", "d")),
        ("passthrough", lambda frame: ["a"]),
    )  # fmt: skip
    pipeline = make_pipeline(columns, MLPClassifier(**OPTIONS)).fit(frame, names)
    np.testing.assert_allclose(Network.from_sklearn(pipeline)(X), pipeline.predict_proba(frame),
                               rtol=0, atol=1e-10)  # fmt: skip


class OwnScaler(StandardScaler):
    def transform(self, X):
        return super().transform(X) ** 2


@pytest.mark.parametrize(
    ("transformer", "message"),
    [
        (Normalizer(), r"'normalizer' \(Normalizer\)"),
        (SimpleImputer(), r"'simpleimputer' \(SimpleImputer\)"),
        (PowerTransformer(), r"'powertransformer' \(PowerTransformer\)"),
        (FunctionTransformer(np.sqrt), r"\(FunctionTransformer\)"),
        (MinMaxScaler(clip=True), r"\(MinMaxScaler\).*clip=True"),
        (OwnScaler(), r"\(OwnScaler\)"),
        (make_pipeline(StandardScaler(), Normalizer()), r"'pipeline.normalizer' \(Normalizer\)"),
        (make_column_transformer((SimpleImputer(), [1]), remainder="passthrough"),
         r"'columntransformer.simpleimputer' \(SimpleImputer\)"),
    ],
    ids=str,
)  # fmt: skip
def test_other_transformers_are_refused_by_name(transformer, message):
    pipeline = make_pipeline(transformer, MLPClassifier(**OPTIONS)).fit(np.abs(X), Y)
    with pytest.raises(ValueError, match=f"step .*{message}"):
        Network.from_sklearn(pipeline)


def test_other_targets_and_estimators_are_refused():
    mlp = MLPRegressor(**OPTIONS)
    for transformer, message in (
        (PowerTransformer(), r"targets \(PowerTransformer\).*supported are"),
        (FunctionTransformer(np.sqrt, np.square), r"targets \(FunctionTransformer\)"),
    ):
        model = TransformedTargetRegressor(mlp, transformer=transformer).fit(X, np.abs(TARGETS))
        with pytest.raises(ValueError, match=message):
            Network.from_sklearn(model)
    model = TransformedTargetRegressor(
        MLPRegressor("poisson", **OPTIONS), transformer=MinMaxScaler()
    ).fit(X, np.abs(TARGETS[:, 0]))
    with pytest.raises(ValueError, match="loss='poisson_deviance'"):
        Network.from_sklearn(model)
    with pytest.raises(TypeError, match="got Pipeline that ends in LogisticRegression"):
        Network.from_sklearn(make_pipeline(StandardScaler(), LogisticRegression()))
    with pytest.raises(TypeError, match="got StandardScaler"):
        Network.from_sklearn(StandardScaler())
    with pytest.raises(NotFittedError):
        Network.from_sklearn(make_pipeline(StandardScaler(), MLPClassifier()))
    with pytest.raises(NotFittedError):
        Network.from_sklearn(TransformedTargetRegressor(mlp))


def test_fold_scaler():
    net = Network([6, 8, 2], loss="cross_entropy", dtype="float64", seed=0, input_noise=0.1,
                  input_dropout=0.2, max_norm=1.0, dropout=0.3)  # fmt: skip
    net.freeze(0)
    net.state.epoch = 3
    before, scaler = net.copy(), StandardScaler().fit(X)
    folded = net.fold_scaler(scaler)
    np.testing.assert_allclose(folded(X), net(scaler.transform(X)), rtol=0, atol=1e-10)
    assert folded.state.architecture.options == {"dropout": [0.3], "max_norm": 1.0}
    assert [layer.specification.max_norm for layer in folded.layers] == [None, 1.0]
    assert folded.input_layers == []
    assert (folded.frozen, folded.state.epoch, folded.loss) == ([0], 3, "cross_entropy")
    assert (before.weight[0] == net.weight[0]).all()
    twice = net.fold_scaler(make_pipeline(PCA().fit(X), scaler))
    assert twice.size == [6, 8, 2]
    with pytest.raises(ValueError, match=r"'scaler' \(PCA\) must have 6 outputs.*got 2"):
        net.fold_scaler(PCA(2).fit(X))
    with pytest.raises(NotFittedError):
        net.fold_scaler(StandardScaler())
    with pytest.raises(TypeError, match="scaler must be a fitted transformer"):
        net.fold_scaler(3)
    encoded = Network([6, 3, 1], input_layers=[layers.Scale()], loss="mse", seed=0)
    with pytest.raises(ValueError, match="does not support a network with input_layers; got Scale"):
        encoded.fold_scaler(scaler)
    huge = StandardScaler().fit(X)
    huge.scale_ = huge.scale_ * 1e-300
    with pytest.raises(ValueError, match=r"weight\[0\] must be finite in float32"):
        Network([6, 2], loss="mse", seed=0).fold_scaler(huge)

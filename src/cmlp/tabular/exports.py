"""Exports of the estimators with their preprocessing: ONNX, PyTorch, C and web pages."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cmlp._utils.validation import import_optional
from cmlp.tabular.encoding import TableEncoder
from cmlp.tabular.networks import InputColumns


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """The parts of a fitted estimator that its predictions use.

    Attributes
    ----------
    encoder : TableEncoder
    columns : InputColumns
    states : list of ModelState
        Of the networks, whose predictions are averaged; none if there is a single class.
    classes : ndarray, shape (n_classes,), or None
        None for a regressor.
    temperature : float
        Of the probabilities of a classifier; see `cmlp.tabular.calibration`.
    targets : ClassTargets or RealTargets
    clamps : bool
        Whether a regressor limits its predictions to the range of the targets of `fit`.
    """

    encoder: TableEncoder
    columns: InputColumns
    states: list
    classes: np.ndarray | None
    temperature: float
    targets: Any
    clamps: bool

    @property
    def loss(self):
        """The `Loss` of the networks of a regressor."""
        return self.states[0].architecture.loss

    @property
    def n_predictions(self):
        """Number of classes, or of targets or quantiles that a regressor predicts."""
        if self.classes is not None:
            return len(self.classes)
        outputs = self.states[0].architecture.outputs
        return outputs // 2 if self.loss.has_std else outputs

    @property
    def is_vector(self):
        """Whether the predictions of a regressor have the shape (n_rows,)."""
        return self.targets.is_vector and self.n_predictions == 1

    @property
    def names(self):
        """Names of the columns of the table, a list of str: x0, x1, ... if it has none."""
        default = [f"x{i}" for i in range(self.encoder.n_features_in_)]
        return [str(name) for name in getattr(self.encoder, "feature_names_in_", default)]

    @property
    def code_order(self):
        """Index among the categorical columns of each column of codes of the networks' input."""
        return [int(i) for i in (*self.columns.one_hot, *self.columns.embedded)]

    def list_texts(self, index):
        """Return the categories of a categorical column as strings.

        Parameters
        ----------
        index : int
            Among the categorical columns.

        Raises
        ------
        ValueError
            If a number and a string have the same text.
        """
        texts = [str(category) for category in self.encoder.categories_[index]]
        if len(set(texts)) < len(texts):
            twice = next(text for i, text in enumerate(texts) if text in texts[:i])
            name = self.names[self.encoder.categorical_columns_[index]]
            raise ValueError(
                f"column {name!r} must not have a number and a string with the same text; got "
                f"{twice!r} twice"
            )
        return texts


class EstimatorExports:
    """A mixin of the estimators: what they compute as models of other software."""

    def encode(self, X):
        """Return a table as the matrix of numbers and codes that the networks read.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
            With the columns of `fit`.

        Returns
        -------
        ndarray of the dtype of the networks, shape (n_rows, n_columns)
            The scaled numeric columns, the indicators of missing values, and the codes of the
            categorical columns: those with one-hot encodings, then those with embeddings.

        Raises
        ------
        TypeError, ValueError
            As `TableEncoder.transform`.
        """
        check_is_fitted(self)
        return self._columns.join(self.encoder_.transform(X), self.encoder_.dtype)

    def onnx_parser(self):
        """Refuse a conversion by skl2onnx, which calls this method.

        Raises
        ------
        TypeError
            Always.
        """
        name = type(self).__name__
        raise TypeError(
            f"skl2onnx cannot convert {name}, which reads a table; use estimator.to_onnx(path), "
            "which exports its preprocessing too"
        )

    def to_onnx(self, path, *, opset=17, dtype="float64"):
        """Write the estimator, preprocessing included, as an ONNX model (the extra ``onnx``).

        The model has one input for each column of the table, of its name (``x0``, ``x1``, ... if
        it has none) and of shape (n_rows, 1):

        - real numbers of `dtype` for a numeric column; NaN is a missing value;
        - int64 for a categorical column whose categories are all integers or booleans;
        - float64 for one of other numbers; NaN is a missing value;
        - strings for other categorical columns, numbers among them as Python writes them.

        Any other string or number is a missing category. The outputs of a classifier are
        ``label`` and ``probabilities``; those of a regressor ``prediction`` and, with the loss
        ``"gaussian_nll"``, ``std``, in the shapes of `predict`. Networks compute in float32.

        Parameters
        ----------
        path : str or os.PathLike
        opset : int, default 17
            At least 13.
        dtype : {"float64", "float32"}, default "float64"
            Of the numeric columns and of ``prediction`` and ``std``.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, a column or the classes have no equivalent in ONNX, or a
            parameter is not finite in float32.
        ImportError
            If the package onnx is not installed.
        """
        model = self._describe()
        import_optional("onnx", "to_onnx()", "onnx", "onnx")
        from cmlp.tabular import onnx_pipeline

        onnx_pipeline.write(model, path, opset, dtype)

    def to_torch(self):
        """Return a `torch.nn.Module` that predicts from what `encode` returns (extra ``torch``).

        Returns
        -------
        cmlp.tabular.torch_pipeline.AveragedNetworks
            In evaluation mode, of the networks' dtype. A classifier's returns probabilities, a
            regressor's predictions in float64 and, with the loss ``"gaussian_nll"``, a tuple of
            predictions and standard deviations, in the shapes of `predict`.

        Raises
        ------
        ValueError
            If a parameter is not finite.
        ImportError
            If PyTorch is not installed.
        """
        model = self._describe()
        import_optional("torch", "to_torch()", "PyTorch", "torch")
        from cmlp.tabular import torch_pipeline

        return torch_pipeline.make_module(model)

    def to_c(self, path, *, name="model", weights="float32", own_math=False):
        """Write the estimator, preprocessing included, as a C99 file with a header beside it.

        ``void NAME_predict(const double *numbers, const int *codes, float *probabilities)`` is
        that of a classifier, ``int NAME_classify(const double *numbers, const int *codes)`` returns
        the index of the most probable class. A regressor has ``double *prediction`` instead and,
        with the loss ``"gaussian_nll"``, a fourth parameter ``double *std``. The numeric columns
        are in `numbers`, NaN where missing, and the codes of the categories in `codes`, each in the
        order of the table; ``int NAME_find_code(int column, const char *category)`` returns the
        code of a string, 0 for an unknown one. The header has the names of columns and classes.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.c``, as for `Network.to_c`.
        name : str, default "model"
            Prefix of the functions' names.
        weights : {"float32", "int8"}, default "float32"
        own_math : bool, default False
            As for `Network.to_c`; the square roots of smooth clip and mixtures use ``math.h`` in
            either case.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, a name or a category cannot be a string of C, or a
            parameter is not finite in float32.
        """
        from cmlp.tabular import c_pipeline

        c_pipeline.write(self._describe(), path, name, weights, own_math)

    def to_html(self, path, *, labels=None, ranges=None, values=None, title=None,
                weights="float32"):  # fmt: skip
        """Write the estimator, preprocessing included, as one self-contained web page.

        The page has a slider and a number field for each numeric column, a list for each
        categorical column, and shows the predictions. It needs no network access; see
        ``docs/web.md``.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.html``.
        labels : sequence of str or int, optional
            Names of the classes or targets; by default those of `fit`.
        ranges : dict from name to (low, high), sequence of (low, high), or (low, high), optional
            Ranges of the sliders; by default two interquartile ranges around the median.
        values : dict from name to value, or sequence of values, optional
            Initial values of the columns; by default medians and first categories.
        title : str, optional
            By default the name of the file.
        weights : {"float32", "int8"}, default "float32"
            As for `Network.to_html`.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, a number and a string are categories with the same text,
            or a parameter is not finite in float32.
        """
        from cmlp.tabular import html_pipeline

        html_pipeline.write(
            self._describe(), path, getattr(self, "target_name_", None), labels=labels,
            ranges=ranges, values=values, title=title, weights=weights,
        )  # fmt: skip

    def _describe(self):
        # Return the `ExportedModel`.
        check_is_fitted(self)
        classes = getattr(self, "classes_", None)
        is_constant = classes is not None and len(classes) == 1
        return ExportedModel(
            self.encoder_, self._columns,
            [] if is_constant else [network.state for network in self.networks_], classes,
            getattr(self, "temperature_", 1.0), self._targets, self._clamps,
        )  # fmt: skip

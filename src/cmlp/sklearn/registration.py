"""Registration of the estimators with other packages."""

from cmlp._utils.validation import import_optional


def register_skl2onnx():
    """Let skl2onnx convert pipelines with the estimators of this module.

    `skl2onnx.to_onnx` and `convert_sklearn` then convert `MLPClassifier` and `MLPRegressor`, also
    in pipelines and in the meta-estimators that skl2onnx supports, with every activation,
    normalization and loss. The options of classifiers are those of scikit-learn's `MLPClassifier`:
    ``zipmap``, ``output_class_labels`` and ``nocl``. Networks compute in float64 if their input is
    float64, and in float32 otherwise. Further calls have no effect.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> import cmlp.sklearn
    >>> cmlp.sklearn.register_skl2onnx()  # doctest: +SKIP
    >>> model = skl2onnx.to_onnx(pipeline, X[:1].astype("float32"))  # doctest: +SKIP
    """
    import_optional("skl2onnx", "register_skl2onnx()", "skl2onnx", "skl2onnx")
    # Imported here, as it imports skl2onnx.
    from cmlp.sklearn import onnx_converter

    onnx_converter.register()

"""`FileMethods`: the methods of `Network` for files and other frameworks' models."""

from cmlp import formats
from cmlp.formats.atomic import remove_stale
from cmlp.formats.finite import check_finite


def read_state(path, loss):
    """Return the `ModelState` of a native file; raise ValueError for a quantized network."""
    state = formats.get_native_format(path, for_reading=True).read(path, loss=loss)
    if not hasattr(state, "checkpoint"):
        raise ValueError(
            f"{path} is a quantized network, which only predicts; use "
            "cmlp.QuantizedNetwork.load(path)"
        )
    return state


class FileMethods:
    """A mixin of `Network`: it uses the attribute `state` and the constructors of `Network`.

    `load` and `resume` return an instance of the class that they are called on. The methods that
    read another framework's model return a plain `Network`, as the model may have an architecture
    that the subclass does not allow.
    """

    __slots__ = ()

    def save(self, path, *, optimizer=False):
        """Write the network to a file; an existing file is replaced atomically.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.npz`` or, with the package safetensors, ``.safetensors``.
        optimizer : bool, default False
            Whether to store the state of `partial_fit`'s optimizer too.

        Raises
        ------
        ValueError
            If the path has another extension, there is no such optimizer, or a parameter is not
            finite.
        """
        state = self.state
        check_finite(state.to_arrays(), state.architecture.dtype)
        # A run to resume is the business of its `Checkpoint` callback.
        state = state.share(epoch=state.epoch, optimizer=state.optimizer, checkpoint=None)
        formats.get_native_format(path).write(state, path, optimizer=optimizer)

    @classmethod
    def load(cls, path, *, loss=None):
        """Read a network that `save`, or a checkpoint, wrote.

        Parameters
        ----------
        path : str or os.PathLike
        loss : callable, optional
            The network's loss if it was a callable, which files do not store.

        Raises
        ------
        ValueError
            If the file is not a network; the message names the file and the reason.
        FileNotFoundError
            If the file does not exist.
        """
        state = read_state(path, loss)
        state.checkpoint = None
        return cls.from_state(state)

    @classmethod
    def resume(cls, path, *, loss=None):
        """Read a checkpoint that `cmlp.callbacks.Checkpoint` wrote, to continue its training.

        The next call of `fit`, with the samples and arguments of the interrupted one and callbacks
        of the same classes in the same order, continues where the checkpoint was written and ends
        with the same bits and history as an uninterrupted call. `epochs` may differ if no schedule
        depends on it. Temporary files of `path` that killed processes left behind are removed.

        Parameters
        ----------
        path : str or os.PathLike
        loss : callable, optional
            The network's loss if it was a callable, which files do not store.

        Raises
        ------
        ValueError
            If the file is not a checkpoint.
        FileNotFoundError
            If the file does not exist.
        """
        remove_stale(path)
        state = read_state(path, loss)
        if state.checkpoint is None:
            raise ValueError(f"{path} is a network without a checkpoint of its training; use load")
        return cls.from_state(state)

    def to_onnx(self, path, *, opset=17, input_dtype="float32", labels=None):
        """Write the network as an ONNX model (the extra ``onnx``).

        The input ``X`` and the output ``outputs`` are float32 and have any number of samples;
        batch normalization is folded into the weights. Columns of categories in X hold their codes;
        any other number is code 0.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.onnx``.
        opset : int, default 17
            At least 13. Layer normalization is one node from 17 on, gelu from 20 on.
        input_dtype : {"float32", "uint8"}, default "float32"
            With uint8 the model scales its input by 1/255, as `fit` does; not with codes.
        labels : sequence of int or str, or True, optional
            Class names for a second output, ``label``; True for their numbers. Only True is allowed
            for a multilabel network; ``label`` then has 0 and 1, shape (samples, outputs).

        Raises
        ------
        ValueError
            If an argument does not fit, or a parameter is not finite in float32.
        ImportError
            If the package onnx is not installed.
        """
        formats.get_format("onnx").write(
            self.state, path, opset=opset, input_dtype=input_dtype, labels=labels
        )

    @classmethod
    def from_onnx(cls, path, *, loss=None, output=None, dtype="float32"):
        """Read a chain of dense layers from an ONNX model (the extra ``onnx``).

        Nodes are recognized by operators, attributes and constants; ``docs/formats.md`` lists them.

        Parameters
        ----------
        path : str or os.PathLike
        loss : str or Loss, optional
            By default the one that suits the outputs.
        output : str, optional
            Name of the tensor with the outputs; by default the last output that holds reals.
        dtype : str, default "float32"

        Raises
        ------
        ValueError
            If the file is not a model, has a node that is not supported, which is named, or has
            parameters that are not finite.
        FileNotFoundError
            If the file does not exist.
        ImportError
            If the package onnx is not installed.
        """
        state = formats.get_format("onnx").read(path, loss=loss, output=output, dtype=dtype)
        return cls._from_foreign(state)

    def to_c(self, path, *, name="model", weights="float32", own_math=False, arithmetic="float32",
             calibration=None, train=False, optimizer=None, batch_size=None):  # fmt: skip
        """Write the network as one self-contained C99 file with a header beside it.

        ``void NAME_predict(const float *x, float *y)`` computes the outputs and, for classifiers,
        ``int NAME_classify(const float *x)`` the class, without allocation, with constant weights.
        For a multilabel network it is ``void NAME_classify(const float *x, int *labels)``, which
        writes 0 or 1 for each output. Columns of categories in x hold their codes; any other number
        is code 0.

        With ``arithmetic="int8"`` no function uses a floating-point operation; see
        `QuantizedNetwork.to_c`, whose functions the file has. With `train` it has the functions
        ``NAME_train_step`` and ``NAME_train_epoch``, too, which continue the training by SGD as
        `fit` does; ``docs/microcontrollers.md`` describes both.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.c``; the header ends in ``.h``. The name must not contain quotes,
            backslashes and control characters.
        name : str, default "model"
            Prefix of the functions' names.
        weights : {"float32", "int8"}, default "float32"
            8-bit integers, with one scale for each unit, take a quarter of the memory. Parameters
            of input layers are always float32.
        own_math : bool, default False
            Whether the file contains functions such as exp instead of using ``math.h``, accurate
            to about 1e-6. Layer normalization uses ``sqrtf`` from ``math.h`` in either case.
        arithmetic : {"float32", "int8"}, default "float32"
            ``"int8"`` requires ``weights="int8"`` and `calibration`.
        calibration : array_like, shape (n, inputs), optional
            For ``arithmetic="int8"``: samples like those to predict, as in `quantize`, which this
            call uses with its default method. ``net.quantize(X, ...).to_c(path,
            arithmetic="int8")`` has the choice of another one.
        train : bool, default False
            Whether the file continues the training. Weights are then float32 in writable memory.
        optimizer : SGD, optional
            For `train`: its momentum, dampening, nesterov, weight_decay and decay_bias; by default
            ``SGD()``. The learning rate is an argument of the functions in C.
        batch_size : int, optional
            For `train`: the greatest batch, which the size of the buffers follows from; by default
            32.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, a parameter is not finite in float32, or the file cannot
            express a layer, the loss or an option of the optimizer, which the message names.
        """
        # Imported here because few programs need it.
        from cmlp.formats.c import needs_calibration

        state = self.state
        if needs_calibration(arithmetic, train, weights, calibration):
            state = self._quantize_state(calibration, "calibration")
        formats.get_format("c").write(
            state, path, name=name, weights=weights, own_math=own_math, arithmetic=arithmetic,
            train=train, optimizer=optimizer, batch_size=batch_size,
        )  # fmt: skip

    def to_html(self, path, *, kind=None, shape=None, labels=None, names=None, ranges=None,
                values=None, categories=None, title=None, weights="float32", center=None,
                pixels=None):  # fmt: skip
        """Write the network as one self-contained web page, which runs it in JavaScript.

        The page needs no network access, and forbids it. It shows the outputs and the activations
        of the hidden layers. See ``docs/web.md``.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.html``.
        kind : {"image", "table"}, optional
            ``"image"``: an area to draw on, or to load an image file into. ``"table"``: a slider
            and a number field for each input. By default the kind to which the given options
            belong; without them, ``"image"`` if the number of inputs is a square of at least 8 x 8
            and ``cmlp train`` stored no names of columns, otherwise ``"table"``.
        shape : (int, int), optional
            Height and width of the images, in row-major order; by default square.
        labels : sequence of str or int, optional
            Different names of the classes (two if the task is binary), labels or targets.
        names : sequence of str, optional
            Names of the inputs; by default the names of columns that ``cmlp train`` stores, or x0,
            x1, ...
        ranges : dict from name to (low, high), sequence of (low, high), or (low, high), optional
            Ranges of the sliders, by default the ranges that ``cmlp train`` stores, or -3
            to 3. The number fields accept other numbers too.
        values : dict from name to value, or sequence of values, optional
            Initial values of the inputs: numbers or, for inputs with codes, categories.
        categories : dict from name to sequence of str, or sequence of these, optional
            Names of the categories 1, 2, ... of the inputs that hold codes for `input_layers`.
        title : str, optional
            By default the name of the file.
        weights : {"float32", "int8"}, default "float32"
            8-bit integers, with one scale for each unit, take a quarter of the space. Parameters of
            input layers are always float32.
        center : bool, default True
            Whether to scale drawings to 20/28 of the image and to center them by their center of
            mass, as the images of MNIST are. A check box on the page changes it.
        pixels : (float, float), default (0, 1)
            The network's inputs for the background and for full ink.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or a parameter is not finite in float32.
        FileNotFoundError
            If the directory of `path` does not exist.
        """
        formats.get_format("html").write(
            self.state, path, kind=kind, shape=shape, labels=labels, names=names, ranges=ranges,
            values=values, categories=categories, title=title, weights=weights, center=center,
            pixels=pixels,
        )  # fmt: skip

    def to_torch(self):
        """Return a `torch.nn.Sequential` that computes the same outputs (the extra ``torch``).

        Returns
        -------
        torch.nn.Sequential
            In evaluation mode, of the network's dtype, with its dropout modules. Parameters of
            frozen layers do not require gradients. The modules of input layers are in
            `cmlp.formats.torch_modules`; `from_torch` does not read them.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        """
        return formats.get_format("torch").write(self.state)

    @classmethod
    def from_torch(cls, module, *, loss=None):
        """Return the network of a `torch.nn.Sequential` (the extra ``torch``).

        Parameters
        ----------
        module : torch.nn.Sequential
            Linear, BatchNorm1d, LayerNorm, Dropout and activations, possibly nested.
        loss : str or Loss, optional
            By default the one that suits the outputs.

        Raises
        ------
        ValueError
            If a module is not supported; the message names it.
        ImportError
            If PyTorch is not installed.
        """
        return cls._from_foreign(formats.get_format("torch").read(module, loss=loss))

    def to_keras(self):
        """Return a `keras.Sequential` that computes the same outputs (the extra ``keras``).

        Returns
        -------
        keras.Sequential
            With weights of the network's dtype, its dropout and its noise, not compiled, for any
            backend of Keras 3; most backends multiply float64 in float32. Frozen layers are not
            trainable. The layers of activations that Keras does not have are in
            `cmlp.formats.keras_layers`, which has to be imported before `keras.saving.load_model`.

        Raises
        ------
        ValueError
            If the network has `input_layers`, or a parameter is not finite.
        ImportError
            If Keras is not installed.
        """
        return formats.get_format("keras").write(self.state)

    @classmethod
    def from_keras(cls, model, *, loss=None):
        """Return the network of a Keras model that is a chain of dense layers.

        Parameters
        ----------
        model : keras.Sequential, or functional keras.Model
            With one input and one output, of distinct layers: Dense, BatchNormalization,
            LayerNormalization, Dropout, GaussianNoise of the inputs and activations.
        loss : str or Loss, optional
            By default the one that suits the outputs.

        Raises
        ------
        ValueError
            If the model is not a chain of layers or not built, or a layer is not supported; the
            message names it.
        """
        return cls._from_foreign(formats.get_format("keras").read(model, loss=loss))

    @classmethod
    def from_sklearn(cls, estimator, *, dtype=None):
        """Return the network of a fitted `MLPClassifier`, `MLPRegressor`, or pipeline with one.

        Affine transformers of a pipeline are folded into the first layer, and those of a
        `TransformedTargetRegressor` into the last one; ``docs/formats.md`` lists them. The network
        then reads the columns of the pipeline. Noise and dropout of the inputs, and `max_norm` of
        these layers, are left out, as they would act on other numbers.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor, Pipeline, TransformedTargetRegressor or search
            The perceptron in it is of scikit-learn or of `cmlp.sklearn`. Of a search such as
            `GridSearchCV` its best estimator is read.
        dtype : str or numpy.dtype, optional
            By default the dtype of the estimator's weights. float32 loses digits of columns whose
            mean is much greater than their deviation.

        Returns
        -------
        Network
            An independent copy. Its classes are indices of `estimator.classes_`.

        Raises
        ------
        TypeError
            If it is another object.
        ValueError
            If a transformer cannot be folded, which is named, or a parameter is not finite.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ImportError
            If scikit-learn is not installed.
        """
        return cls._from_foreign(formats.get_format("sklearn").read(estimator, dtype=dtype))

    def fold_batch_norm(self):
        """Return a copy of the network whose batch normalizations are folded into its weights.

        Its predictions are the same. Its training does not normalize: fold before `freeze` to train
        the layers above on the outputs that predictions have.

        Returns
        -------
        Network

        Raises
        ------
        ValueError
            If a parameter is not finite.
        """
        # Imported here because few programs need it.
        from cmlp.formats.folding import fold_batch_norms

        return self._from_foreign(fold_batch_norms(self.state))

    def fold_scaler(self, scaler):
        """Return a network that reads columns before they are scaled.

        Its predictions for X are those of this network for ``scaler.transform(X)``. It has no noise
        and dropout of the inputs, and no `max_norm` of the first layer.

        Parameters
        ----------
        scaler : transformer or Pipeline of scikit-learn
            Fitted and affine, as in `from_sklearn`.

        Returns
        -------
        Network
            A copy; this network remains as it is.

        Raises
        ------
        TypeError, ValueError
            If it is something else or cannot be folded, or the network has `input_layers`.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        # Imported here because few programs need it.
        from cmlp.formats.sklearn_mlp import fold_scaler

        return self._from_foreign(fold_scaler(self.state, scaler))

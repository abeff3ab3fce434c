"""`Network`: the architecture and the parameters, and what is done with them."""

import copy

import numpy as np

from cmlp import batches, checkpoints, files, fitting, initializers, progress, threads
from cmlp._core import hooks
from cmlp._core.engine import Program
from cmlp._core.samples import Rows
from cmlp.architecture import Architecture
from cmlp.checks import check_whole
from cmlp.columns import ColumnMethods
from cmlp.lbfgs import LBFGS
from cmlp.parameters import Parameters, Statistics, Views
from cmlp.running import Running


class Network(ColumnMethods):
    """A multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        The widths of the layers, inputs first, at least two.
    activation : str, Activation or sequence of them, default "sigmoid"
        Of the hidden layers: one for all, or one for each. ``"identity"``, ``"sigmoid"``,
        ``"hard_sigmoid"``, ``"tanh"``, ``"hard_tanh"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``,
        ``"selu"``, ``"celu"``, ``"gelu"``, ``"gelu_tanh"`` (its approximation), ``"silu"``,
        ``"mish"``, ``"softplus"``, ``"softsign"``; `cmlp.activations` has their formulas, and
        `leaky_relu`, `elu` and `celu` with their slope or alpha.
    output : str or Activation, optional
        The last layer's activation, ``"softmax"`` beside those above. By default the one
        that belongs to the loss: softmax for cross_entropy, sigmoid for
        binary_cross_entropy and quadratic, identity for the others.
    loss : str, Loss or callable, default "quadratic"
        ``"quadratic"``: 1/2 the sum over outputs of (a - y)^2, the mean over the batch.
        ``"cross_entropy"``: minus the sum over outputs of y log a, the mean over the batch;
        `losses.cross_entropy` has `label_smoothing`.
        ``"binary_cross_entropy"``: minus the sum over outputs of y log a + (1 - y) log(1 - a),
        the mean over the batch.
        Means over batch and outputs: ``"mse"``, (a - y)^2; ``"mae"``, abs(a - y);
        ``"huber"``, `losses.huber` with its `delta`; ``"log_cosh"``, log cosh(a - y);
        ``"poisson"``, exp(a) - y a, a being the logarithm of a rate (``"poisson_deviance"``, half
        the deviance, is summed over outputs); ``"hinge"``,
        max(0, 1 - s a), s being -1 and 1 for y of 0 and 1; ``"squared_hinge"``, its square.
        A callable takes the outputs (m, outputs) and the targets of a batch and returns their
        mean loss and its gradient with respect to the outputs. It is called once a step from
        Python, which costs some ten microseconds, and knows no weights of samples.
    init : str, float or callable, default "auto"
        The first weights. ``"auto"`` draws He's normal ones for the relu family, LeCun's for
        selu and Glorot's uniform ones otherwise; ``"reference"`` standard normal weights and
        uniform [0, 1) biases.
        Also by name ``"glorot_uniform"``, ``"glorot_normal"``, ``"he_uniform"``,
        ``"he_normal"``, ``"lecun_uniform"``, ``"lecun_normal"``, ``"orthogonal"``, ``"zeros"``;
        a number for all; or a callable of (generator, inputs, outputs) that returns the
        weights (outputs, inputs) of a layer.
    dtype : str or numpy.dtype, default "float32"
        Of the parameters and of all arithmetic: float32 or float64.
    dropout : float or sequence of float, default 0
        Which part of the outputs of the hidden layers is dropped in each step of training, for
        all or for each; the others are scaled to keep the mean. Srivastava et al., "Dropout",
        JMLR 15, 2014.
    input_dropout : float, default 0
        The same of the inputs.
    input_noise : float, default 0
        The standard deviation of normal noise that training adds to the inputs (after bytes
        are scaled). Bishop, "Training with noise", Neural Computation 7(1), 1995.
    normalization : "batch", "layer", BatchNorm, LayerNorm or sequence of them, optional
        What the input sums of the hidden layers go through, for all or, None among them, for
        each. Over batches, predictions go by running statistics.
    max_norm : float, optional
        After each step the weights into a unit are scaled down to this norm where it is
        greater.
    seed : int, optional
        Of the first weights, of the order of the samples, of dropout and of noise. The same
        seed gives the same bits on any number of threads. None draws one from the system.

    Attributes
    ----------
    size : list of int
        The widths of the layers.
    num_layers : int
        The number of layers with weights.
    weight : list of ndarray, shapes (outputs, inputs)
        Views of the parameters: assigning to an item or into its array takes effect.
    bias : list of ndarray, shapes (outputs, 1)
    scale : list of ndarray, shapes (outputs, 1), or None for layers without normalisation
    running_mean, running_variance : list of ndarray, shapes (outputs, 1), or None
        Of the layers that are normalised over batches.
    activation, output, loss, init : tuple of str, str, str, str
    is_classifier : bool
        Whether the outputs are probabilities of classes, by sigmoid or softmax, or, with a
        hinge, scores of classes.
    dtype : numpy.dtype
    seed : int

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those above.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import SGD, Network
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> net = Network([2, 8, 1], activation="tanh", loss="binary_cross_entropy", seed=0)
    >>> history = net.fit(X, [0, 1, 1, 0], epochs=2000, batch_size=4, optimizer=SGD(lr=0.5))
    >>> net.predict(X)
    array([0, 1, 1, 0])
    """

    def __init__(self, sizes, *, activation="sigmoid", output=None, loss="quadratic", init="auto",
                 dtype="float32", dropout=0.0, input_dropout=0.0, input_noise=0.0,
                 normalization=None, max_norm=None, seed=None):  # fmt: skip
        self._configure(Architecture.checked(
            sizes, activation, output, loss, init, dtype, dropout, input_dropout, input_noise,
            normalization, max_norm, seed,
        ))  # fmt: skip
        self._make_program()
        self._draw()

    def _configure(self, architecture):
        # Everything but the parameters.
        self._architecture = architecture
        self.size = list(architecture.sizes)
        self.num_layers = len(self.size) - 1
        *hidden, output = architecture.activations
        self.activation = tuple(activation.name for activation in hidden)
        self.output = output.name
        self.loss = architecture.loss.name
        self.init = architecture.init
        self._has_probabilities = architecture.has_probabilities
        self.is_classifier = self._has_probabilities or architecture.loss.scores
        self.dtype = architecture.dtype
        self.seed = architecture.seed
        self._epoch = 0  # epochs trained so far, by which orders and noise are drawn
        self._running = None  # the optimizer of `partial_fit`
        self._resumed = None  # what a checkpoint kept of the training
        self._training = None  # the record of the last training, a dict

    def _make_program(self):
        hooks.use()
        architecture = self._architecture
        self._parameters = self._new_parameters()
        self._statistics = Statistics(
            self.size, self.dtype, architecture.is_normalized_over_batches
        )
        dropout = (*architecture.dropout, 0.0)
        normalization = (*architecture.normalization, None)
        layers = []
        for l, activation in enumerate(architecture.activations):
            layer = {
                "arrays": self._parameters.padded[l],
                "outputs": self.size[l + 1],
                "activation": (activation.code, activation.parameter),
                "dropout": dropout[l],
            }
            if (kind := normalization[l]) is not None:
                layer |= {"normalization": kind.name, "epsilon": kind.eps}
            if self._statistics.padded[l] is not None:
                layer |= {"momentum": kind.momentum, "running": self._statistics.padded[l]}
            layers.append(layer)
        self._program = Program(
            layers, architecture.loss.code, architecture.loss.parameter,
            architecture.input_dropout, architecture.input_noise, architecture.max_norm or 0,
        )  # fmt: skip

    def _new_parameters(self):
        return Parameters(self.size, self.dtype, self._architecture.is_normalized)

    def _draw(self):
        rng = np.random.Generator(np.random.Philox(key=self.seed))
        layers = zip(self._architecture.activations, self.size[:-1], self.size[1:], strict=True)
        drawn = [initializers.initial(rng, self.init, *layer) for layer in layers]
        self.weight = [weight for weight, _ in drawn]
        self.bias = [bias for _, bias in drawn]
        for scale in self._parameters.scales:
            if scale is not None:
                scale[:] = 1

    def _snapshot(self):
        # Copies of all that training changes.
        return self._parameters.block.copy(), self._statistics.block.copy()

    def _restore(self, snapshot):
        self._parameters.block[:], self._statistics.block[:] = snapshot

    @property
    def weight(self):
        """The weights of each layer, (outputs, inputs): views of the parameters."""
        return Views("weight", self._parameters.weights)

    @weight.setter
    def weight(self, arrays):
        self.weight[:] = arrays

    @property
    def bias(self):
        """The biases of each layer, (outputs, 1): views of the parameters."""
        return Views("bias", self._parameters.biases)

    @bias.setter
    def bias(self, arrays):
        self.bias[:] = arrays

    @property
    def scale(self):
        """The scales of each normalised layer, (outputs, 1), None for the others: views."""
        return Views("scale", self._parameters.scales)

    @property
    def running_mean(self):
        """The running means of the layers normalised over batches, (outputs, 1): views."""
        return Views("running_mean", self._statistics.means)

    @property
    def running_variance(self):
        """Their running variances, (outputs, 1): views."""
        return Views("running_variance", self._statistics.variances)

    @property
    def score_name(self):
        """What `score` returns: ``"accuracy"`` or ``"r2"``."""
        return "accuracy" if self.is_classifier else "r2"

    def fit(self, X, y=None, *, epochs=10, batch_size=32, optimizer=None, schedule=None,
            shuffle=True, validation_data=None, validation_split=0.0, sample_weight=None,
            class_weight=None, early_stopping=None, callbacks=(), metrics=(), restore_good=False,
            sparse="auto", progress=None, verbose=None, threads=None):  # fmt: skip
        """Train on all of X for some epochs.

        Parameters
        ----------
        X : array_like, shape (n, inputs), or (n, ...) with as many elements a sample
            uint8 is scaled by 1/255 on the fly; float32 and float64, those of a `numpy.memmap`
            among them, are read where they lie; other real types are converted once. A SciPy
            sparse matrix or array is read as CSR and never made dense.
            Without y, an iterable of batches, (X, y) or (X, y, sample_weight), each of which is
            one step, or a callable that returns a new iterator for each epoch.
        y : array_like
            With several outputs, labels (n,) from 0, or targets (n, outputs), one-hot or
            real; with one output, targets (n,) or (n, 1).
        epochs : int, default 10
        batch_size : int, default 32
            The last batch of an epoch may be smaller.
        optimizer : Optimizer, optional
            `SGD`, `Adam`, `AdamW`, `NAdam`, `RMSprop`, `Adagrad`, `Adadelta` or `Lion`; by
            default ``SGD(lr=0.1)``. `LBFGS` takes all samples in each of its iterations, which
            are the epochs then.
        schedule : Schedule or callable, optional
            One of `cmlp.schedules`, or a callable of (step, epoch), both from 0: what the
            optimizer's learning rate is multiplied by in each step.
        shuffle : bool, default True
            Whether each epoch has a random order of its own.
        validation_data : tuple (X, y), optional
            Evaluated after each epoch.
        validation_split : float in [0, 1), default 0
            A random part of the samples, by the seed, is kept for validation.
        sample_weight : array_like, shape (n,), optional
            How often each sample counts: losses and gradients are weighted means over a
            batch, as scikit-learn's and PyTorch's are. Finite, not negative, not all zero.
        class_weight : dict, array_like or "balanced", optional
            The same by class: ``{class: weight}``, where a class that is missing weighs 1; one
            weight for each class; or ``"balanced"``, n / (classes * samples of the class), for
            classes to count alike. It needs labels or one-hot rows.
        early_stopping : EarlyStopping, bool or int, optional
            `cmlp.callbacks.EarlyStopping`; True takes the usual one, which watches the loss
            on validation data, a whole number is its patience.
        callbacks : Callback, callable, or sequence of them
            Of `cmlp.callbacks`, or callables of (network, epoch, record), told after each
            epoch; one that returns True stops training. `cmlp.callbacks.Checkpoint` writes
            what `resume` reads.
        metrics : str or sequence of str
            Of `cmlp.metrics`: ``"accuracy"``, ``"top_3"``, ``"precision"``, ``"recall"``,
            ``"f1"``, or ``"r2"``, ``"mae"``, ``"mse"``, ``"rmse"``, computed on the way from the
            outputs before each step, and, with validation data, after each epoch.
        restore_good : bool, default False
            Whether a training that diverges leaves the parameters as they were after the last
            epoch that did not.
        sparse : bool or "auto", default "auto"
            Whether a dense X is compressed once into sparse rows, so that the first layer
            skips zeros; the results are bit for bit the same, unless a BLAS carries the dense
            product, which sums in an order of its own. ``"auto"`` does so when X has at least
            64 columns and at most a quarter of its elements, by a sample of its rows, are not
            zero, or 55% for a first layer of 64 units or more in batches of 32 or more. It
            takes 3 to 10 bytes for each of these.
        progress : bool, optional
            True shows a bar on a terminal, a line an epoch elsewhere.
        verbose : int, optional
            The same as Keras has it: 0 shows nothing, 1 a bar, 2 a line an epoch.
        threads : int, optional
            At most so many; by default `CMLP_NUM_THREADS`, `OMP_NUM_THREADS`, or the CPUs
            that the process may use. Small networks train on one whatever is allowed.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the network is as it was.
        TrainingDiverged
            When the loss is no longer finite.
        KeyboardInterrupt
            On Ctrl-C, between two steps; the network is consistent.
        """
        return fitting.prepare(
            self, X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer,
            schedule=schedule, shuffle=shuffle, validation_data=validation_data,
            validation_split=validation_split, sample_weight=sample_weight,
            class_weight=class_weight, early_stopping=early_stopping, callbacks=callbacks,
            metrics=metrics, restore_good=restore_good, sparse=sparse, progress=progress,
            verbose=verbose, threads=threads,
        ).run()  # fmt: skip

    def partial_fit(self, X, y, *, batch_size=32, optimizer=None, shuffle=True,
                    sample_weight=None, class_weight=None, metrics=(), sparse="auto",
                    threads=None):  # fmt: skip
        """Train on all of X once, and go on from there in the next call.

        What the optimizer keeps lives on between calls with an equal optimizer, unlike in
        `fit`.

        Parameters
        ----------
        X, y, batch_size, optimizer, shuffle, sample_weight, class_weight, metrics, sparse, threads
            As in `fit`.

        Returns
        -------
        History
            Of one epoch.

        Raises
        ------
        TypeError, ValueError, TrainingDiverged, KeyboardInterrupt
            As in `fit`.
        """
        optimizer = fitting.checked_optimizer(optimizer)
        if isinstance(optimizer, LBFGS):
            raise ValueError("LBFGS needs all samples at once: take fit")
        if self._resumed is not None:
            raise ValueError("this network goes on in the middle of fit, not with partial_fit")
        kept = self._running
        if kept is None or kept[0] != optimizer:
            kept = optimizer, Running(self, optimizer)
        course = fitting.prepare(
            self, X, y, epochs=1, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle,
            sample_weight=sample_weight, class_weight=class_weight, metrics=metrics,
            sparse=sparse, threads=threads, running=kept[1],
        )  # fmt: skip
        self._running = kept
        return course.run()

    def __call__(self, X, *, threads=None, progress=None):
        """Return the outputs for samples as rows.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`.
        threads : int, optional
        progress : bool, optional
            True shows a bar.

        Returns
        -------
        ndarray, shape (n, outputs)
        """
        outputs = None if progress else self._program.outputs(X)
        if outputs is None:
            rows = batches.as_rows(X, self.size[0], self.dtype, finite=False)
            with show(progress, len(rows)) as shown:
                outputs = self._outputs(rows, resolve_threads(threads), tick=shown.tick)
            if outputs is None:
                batches.check_finite(rows)
        return outputs

    def _outputs(self, rows: Rows, team=None, checks=True, tick=None):
        # None where `checks` finds NaN or infinity.
        out = np.empty((len(rows), self.size[-1]), self.dtype)
        if len(rows):
            team = team or resolve_threads(None)
            if self._program.infer(rows, None, None, out, team, checks, None, tick) is None:
                return None
        return out

    def predict_proba(self, X, *, threads=None, progress=None):
        """Return the outputs as probabilities, shape (n, outputs); see `__call__`.

        Raises
        ------
        TypeError
            If the outputs are not probabilities: neither sigmoid nor softmax.
        """
        if not self._has_probabilities:
            raise TypeError(
                f"predict_proba needs the output 'softmax' or 'sigmoid', this is {self.output!r}"
            )
        outputs = None if progress else self._program.outputs(X)
        return self(X, threads=threads, progress=progress) if outputs is None else outputs

    def predict(self, X, *, threads=None, progress=None):
        """Return labels, or, when this is no classifier, the outputs.

        Parameters
        ----------
        X, threads, progress
            As in `__call__`.

        Returns
        -------
        ndarray, shape (n,) or (n, outputs)
            A classifier gives the place of the greatest output, of a single output
            whether it is at least 1/2, or, of a hinge's score, 0. With the Poisson loss the
            rates, of which the outputs are the logarithms. Otherwise the outputs, (n,) when
            there is one.
        """
        return self._answers(self(X, threads=threads, progress=progress))

    def _answers(self, out):
        if not self.is_classifier:
            out = np.exp(out) if self._architecture.loss.logarithm else out
            return out[:, 0] if out.shape[1] == 1 else out
        if out.shape[1] > 1:
            return out.argmax(axis=1)
        return (out[:, 0] >= (0.5 if self._has_probabilities else 0)).astype(np.intp)

    def score(self, X, y, *, metric=None, threads=None):
        """Return the accuracy of a classifier, the R^2 of a regressor, or another metric.

        Parameters
        ----------
        X, y : array_like
            As in `fit`. For a regressor with several outputs the mean of their R^2.
        metric : str, optional
            One of `cmlp.metrics`.
        threads : int, optional

        Returns
        -------
        float
        """
        rows, targets, values = fitting.data(self, X, y)
        if len(rows) == 0:
            raise ValueError("X is empty; a score needs at least one sample")
        names = fitting.checked_metrics(
            self.score_name if metric is None else metric, self.is_classifier, self.size[-1]
        )
        team = resolve_threads(threads)
        _, found = fitting.evaluate(self, rows, targets, values, None, names, team)
        return found.one(names[0])

    def summary(self):
        """Print a table of the layers and their parameters."""
        lines = [f"{'layer':<8}{'shape':<16}{'activation':<14}{'parameters':>12}"]
        total, architecture = 0, self._architecture
        for l, activation in enumerate(architecture.activations):
            i, o = self.size[l : l + 2]
            count = (i + 1 + architecture.is_normalized[l]) * o
            total += count
            lines.append(f"{l + 1:<8}{f'{i} -> {o}':<16}{activation.name:<14}{count:>12,}")
        lines.append(f"loss {self.loss}, {total:,} parameters, {self.dtype}")
        for name, value in architecture.options.items():
            if architecture.is_set(name):
                lines.append(f"{name} {value}")
        for name, value in (self._training or {}).items():
            lines.append(f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}")
        print("\n".join(lines))

    def copy(self):
        """Return an independent copy, which goes on with the same random numbers."""
        return copy.deepcopy(self)

    def save(self, path, *, optimizer=False):
        """Write the network to a file, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.npz`` or, with the package of that name, ``.safetensors``.
        optimizer : bool, default False
            Whether to keep the state of `partial_fit`'s optimizer too.

        Raises
        ------
        ValueError
            If the path ends in something else, or there is no such optimizer.
        """
        header, arrays = self._header(), self._arrays()
        if optimizer:
            header, arrays = checkpoints.with_optimizer(self, header, arrays)
        files.format_of(path).write(path, header, arrays)

    @classmethod
    def load(cls, path, *, loss=None):
        """Read a network that `save`, or a checkpoint, wrote.

        Parameters
        ----------
        path : str or os.PathLike
        loss : callable, optional
            Of a network whose loss is one, which no file keeps.

        Raises
        ------
        ValueError
            If the file is not such a network; it names the file and the reason.
        FileNotFoundError
            If there is no such file.
        """
        return cls._read(path, loss)[0]

    def to_onnx(self, path, *, opset=17, input_dtype="float32", labels=None):
        """Write the network as an ONNX model, by the extra ``onnx``.

        The input ``X`` and the output ``outputs`` are float32 and have any number of samples;
        normalisation over batches is folded into the weights.

        Parameters
        ----------
        path : str or os.PathLike
        opset : int, default 17
            At least 13; from 17 on a layer normalisation, from 20 on gelu is one node.
        input_dtype : {"float32", "uint8"}, default "float32"
            Of bytes the model takes 1/255 each, as `fit` does.
        labels : sequence of int or str, or True, optional
            Names of the classes for a second output, ``label``; True gives their numbers.

        Raises
        ------
        ValueError
            If an argument does not fit.
        ImportError
            Without the package onnx.
        """
        from cmlp.files import onnx

        onnx.write(self, path, opset, input_dtype, labels)

    @staticmethod
    def from_onnx(path, *, loss=None, output=None, dtype="float32"):
        """Read a chain of dense layers from an ONNX model, by the extra ``onnx``.

        Parameters
        ----------
        path : str or os.PathLike
        loss : str or Loss, optional
            By default the one that belongs to the outputs.
        output : str, optional
            Which tensor has the outputs; by default the last output that holds reals.
        dtype : str, default "float32"

        Raises
        ------
        ValueError
            If the file is no model, or none that a network can have; it names the node.
        FileNotFoundError, ImportError
        """
        from cmlp.files import onnx

        return onnx.read(path, output, Network, loss, dtype)

    def to_c(self, path, *, name="model", weights="float32", own_math=False):
        """Write the network as one self-contained C99 file, and a header beside it.

        ``void NAME_predict(const float *x, float *y)`` computes the outputs, and for
        classifiers ``int NAME_classify(const float *x)`` the class, without allocation and with
        constant weights.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.c``; the header's ends in ``.h``.
        name : str, default "model"
            What the functions' names begin with.
        weights : {"float32", "int8"}, default "float32"
            Whole numbers of 8 bits, scaled for each unit, take a quarter of the memory.
        own_math : bool, default False
            Whether functions such as exp come with the file instead of from ``math.h``; they
            are right to about 1e-6. A layer normalisation takes ``sqrtf`` from there anyway.

        Raises
        ------
        ValueError
            If an argument does not fit.
        """
        from cmlp.files import c_source

        c_source.write(self, path, name, weights, own_math)

    def to_torch(self):
        """Return a `torch.nn.Sequential` that gives what the network gives, by PyTorch.

        Returns
        -------
        torch.nn.Sequential
            In evaluation mode, of the network's dtype; dropout is among its modules.

        Raises
        ------
        ImportError
            Without PyTorch.
        """
        from cmlp.files import torch

        return torch.write(self)

    @staticmethod
    def from_torch(module, *, loss=None):
        """Return the network of a `torch.nn.Sequential`.

        Parameters
        ----------
        module : torch.nn.Sequential
            Of Linear, BatchNorm1d, LayerNorm, Dropout and activations, nested as may be.
        loss : str or Loss, optional
            By default the one that belongs to the outputs.

        Raises
        ------
        ValueError
            If a module is none that a network can have; it names it.
        ImportError
            Without PyTorch.
        """
        from cmlp.files import torch

        return torch.read(module, Network, loss)

    @staticmethod
    def from_keras(model, *, loss=None):
        """Return the network of a Keras model, Sequential of dense layers.

        Parameters
        ----------
        model : keras.Sequential
            Of Dense, BatchNormalization, LayerNormalization, Dropout and activations.
        loss : str or Loss, optional
            By default the one that belongs to the outputs.

        Raises
        ------
        ValueError
            If a layer is none that a network can have; it names it.
        """
        from cmlp.files import keras

        return keras.read(model, Network, loss)

    @staticmethod
    def from_sklearn(estimator):
        """Return the network of a fitted `MLPClassifier` or `MLPRegressor`.

        Parameters
        ----------
        estimator : scikit-learn's, or cmlp.sklearn's, whose `network_` this is a copy of

        Raises
        ------
        TypeError
            If it is something else.
        sklearn.exceptions.NotFittedError
        ImportError
            Without scikit-learn.
        """
        from cmlp.files import estimators

        return estimators.read(estimator, Network)

    @classmethod
    def resume(cls, path, *, loss=None):
        """Read a network that `cmlp.callbacks.Checkpoint` wrote, to train on.

        The next call of `fit`, with the arguments of the one that was stopped, goes on in the
        middle of it, and ends with the bits and the history that it would have had. `epochs`
        may be another number where no schedule depends on it.

        Parameters
        ----------
        path : str or os.PathLike
        loss : callable, optional
            Of a network whose loss is one, which no file keeps.

        Raises
        ------
        ValueError
            If the file is no checkpoint.
        FileNotFoundError
            If there is no such file.
        """
        network, state = cls._read(path, loss)
        if state is None:
            raise ValueError(f"{path} is a network, but no checkpoint of its training")
        network._resumed = state
        return network

    @classmethod
    def _read(cls, path, loss):
        # A network, and what a checkpoint kept of its training, or None.
        with files.format_of(path, reads=True).Reader(path) as file:
            try:
                network = cls._configured(file.header, loss)
            except KeyError as error:
                raise file.broken(f"its header has no {error}") from None
            except (TypeError, ValueError) as error:
                raise file.broken(error) from None
            # No memory is taken before the file is seen to hold what it says.
            arrays = {
                name: file.read(name, shape, network.dtype)
                for name, shape in network._architecture.shapes.items()
            }
            state = checkpoints.read(file)
            kept = checkpoints.read_optimizer(file)
        network._make_program()
        network._set_arrays(arrays)
        if kept is not None:
            checkpoints.restore_optimizer(network, file, *kept)
        return network, state

    def _header(self):
        return {**self._architecture.header, "epoch": self._epoch, "training": self._training}

    @classmethod
    def _configured(cls, header, loss=None):
        # A network by its header, still without parameters.
        network = cls.__new__(cls)
        network._configure(Architecture.from_header(header, loss))
        network._epoch = check_whole("epoch", header["epoch"], 0)
        network._training = header.get("training")
        return network

    def _arrays(self):
        # The views of all that training changes, by their names in a file.
        views = [
            *self._parameters.weights, *self._parameters.biases, *self._parameters.scales,
            *self._statistics.means, *self._statistics.variances,
        ]  # fmt: skip
        views = [view for view in views if view is not None]
        return dict(zip(self._architecture.shapes, views, strict=True))

    def _set_arrays(self, arrays):
        for name, view in self._arrays().items():
            np.copyto(view, arrays[name])

    def __getstate__(self):
        arrays = {name: np.array(array) for name, array in self._arrays().items()}
        return {"architecture": self._architecture, "epoch": self._epoch,
                "training": self._training, "arrays": arrays}  # fmt: skip

    def __setstate__(self, state):
        self._configure(state["architecture"])
        self._epoch, self._training = state["epoch"], state["training"]
        self._make_program()
        self._set_arrays(state["arrays"])

    def __repr__(self):
        return f"{type(self).__name__}({self._architecture})"


resolve_threads, show = threads.resolve, progress.of_prediction

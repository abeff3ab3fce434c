"""`Network`: a multilayer perceptron, its construction, training, prediction and files."""

import copy

from cmlp._model.architecture import Architecture
from cmlp._model.attributes import NetworkAttributes
from cmlp._model.layer_methods import LayerMethods
from cmlp._model.optimizer_choice import resolve_optimizer
from cmlp._model.state import ModelState
from cmlp._quantization.methods import QuantizationMethods
from cmlp._training import checkpoint
from cmlp._training.arguments import (
    OPTION_NAMES,
    FitOptions,
    prepare_on_ranks,
    prepare_training,
)
from cmlp._training.derivative_methods import DerivativeMethods
from cmlp._training.evaluation import compute_outputs, evaluate
from cmlp._training.prediction_methods import PredictionMethods
from cmlp._training.reference_methods import ReferenceMethods
from cmlp.formats.methods import FileMethods
from cmlp.lbfgs import LBFGS


class Network(
    NetworkAttributes, LayerMethods, PredictionMethods, DerivativeMethods, FileMethods,
    QuantizationMethods, ReferenceMethods,
):  # fmt: skip
    """A multilayer perceptron.

    A subclass may have attributes of its own; other assignments raise AttributeError.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, then number of units of each layer; at least two.
    activation : str, Activation or sequence of them, default "sigmoid"
        Activation of the hidden layers, one for all or one for each: ``"identity"``,
        ``"sigmoid"``, ``"hard_sigmoid"``, ``"tanh"``, ``"hard_tanh"``, ``"relu"``,
        ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"celu"``, ``"gelu"``, ``"gelu_tanh"`` (the tanh
        approximation), ``"silu"``, ``"mish"``, ``"softplus"``, ``"softsign"`` or, with a factor
        that each unit learns, ``"prelu"`` and ``"parametric_mish"`` and so on.
        `cmlp.activations` has their formulas, and `leaky_relu`, `elu`, `celu`, `prelu` and
        `parametric` with other slopes and alphas.
    output : str or Activation, optional
        Activation of the last layer: one of the above or ``"softmax"``. By default softmax for
        cross_entropy, sigmoid for binary_cross_entropy and quadratic, identity for other losses.
    loss : str, Loss or callable, default "quadratic"
        Sums over outputs, means over the batch: ``"quadratic"``, sum (a - y)^2 / 2;
        ``"cross_entropy"``, -sum y log a, with `label_smoothing` as `losses.cross_entropy`;
        ``"binary_cross_entropy"``, -sum (y log a + (1 - y) log(1 - a)), with `label_smoothing` as
        `losses.binary_cross_entropy`; ``"poisson_deviance"``, half the deviance of a rate exp(a).
        Means over batch and outputs: ``"mse"``, (a - y)^2; ``"mae"``, abs(a - y); ``"huber"``, with
        `delta` as `losses.huber`; ``"log_cosh"``, log cosh(a - y); ``"poisson"``, exp(a) - y a;
        ``"hinge"``, max(0, 1 - s a), where s is -1 for y = 0 and 1 for y = 1; ``"squared_hinge"``,
        its square; ``"pinball"``, max(q (y - a), (q - 1) (y - a)), of the median or with other or
        several quantiles q as `losses.pinball`. Two outputs for each target, mean and logarithm of
        the variance: ``"gaussian_nll"``, with `eps` as `losses.gaussian_nll`.
        A callable receives the outputs (m, outputs) and the targets of a batch and returns their
        mean loss and its gradient with respect to the outputs. The targets of one output have the
        outputs' shape, (m, 1); of several outputs they are the rows of y. It is called from Python
        once a step, which costs about ten microseconds, and does not support sample weights.
    init : str, float or callable, default "auto"
        Initial weights. ``"auto"``: He normal for the relu family, LeCun normal for selu, Glorot
        uniform otherwise. ``"reference"``: standard normal weights, biases uniform in [0, 1).
        Also ``"glorot_uniform"``, ``"glorot_normal"``, ``"he_uniform"``, ``"he_normal"``,
        ``"lecun_uniform"``, ``"lecun_normal"``, ``"orthogonal"``, ``"zeros"``, a number for all
        weights, or a callable of (generator, inputs, outputs) that returns the weights
        (outputs, inputs) of a layer.
    dtype : str or numpy.dtype, default "float32"
        Type of the parameters and of all arithmetic: float32 or float64.
    compute_dtype : str or numpy.dtype, optional
        ``"bfloat16"`` rounds the operands of the products of large layers (at least 64 inputs and
        64 outputs) to bfloat16: nearly twice as fast on AMD's CPUs since Zen 4. Products are summed
        in float32; everything else, parameters and optimizer state included, remains float32.
        By default `dtype`, the only other value. See ``docs/low_precision.md``.
    dropout : float or sequence of float, default 0
        Fraction of the outputs of the hidden layers that each training step sets to zero, one for
        all or one for each; the others are scaled to preserve the mean. Srivastava et al.,
        "Dropout", JMLR 15, 2014.
    input_dropout : float, default 0
        The same for the inputs.
    input_noise : float, default 0
        Standard deviation of normal noise that training adds to the inputs, after bytes are
        scaled. Bishop, "Training with noise", Neural Computation 7(1), 1995.
    input_layers : sequence of layers, optional
        Layers of `cmlp.layers`, which transform the network's input for the first dense layer:
        embeddings of numbers and of categories, one-hot columns, learned factors.
    normalization : "batch", "layer", BatchNorm, LayerNorm or sequence of them, optional
        Normalization of the pre-activations of the hidden layers, one for all or, with None
        allowed, one for each. After batch normalization, predictions use running statistics.
    max_norm : float, optional
        Maximum norm of the weights into a unit; after each step larger ones are scaled down.
    seed : int, optional
        Seed of the initial weights, the order of samples, dropout and noise. Equal seeds give
        equal bits on any number of threads. None draws one from the operating system.

    Attributes
    ----------
    size : list of int
        Number of inputs, then number of units of each layer.
    num_layers : int
        Number of layers with weights.
    layers, input_layers : list of layers
        The dense layers, and those before them, with their parameters; see `from_layers`.
    frozen : list of int
        Indices of the layers that are not trained; see `freeze`.
    weight : list of ndarray, shape (outputs, inputs) each
        Views of the parameters: assigning to an item or into its array takes effect.
    bias : list of ndarray, shape (outputs, 1) each
    scale : list of ndarray, shape (outputs, 1) each, or None for layers without normalization
    alpha : list of ndarray, shape (outputs, 1) each, or None
        Learned factors of the layers whose activation is parametric.
    running_mean, running_variance : list of ndarray, shape (outputs, 1) each, or None
        Running statistics of the layers with batch normalization.
    activation, output, loss, init : tuple of str, str, str, str
    task : {"binary", "multiclass", "multilabel", "regression"}
        What predictions and scores mean; see `fit`, whose targets choose it. It may be assigned to,
        for example to a network from another framework. Before, it is a classifier's if the outputs
        are probabilities (sigmoid, softmax) or, with a hinge loss, scores of classes.
    is_classifier : bool
        Whether the task is another one than regression.
    dtype : numpy.dtype
    seed : int
    state : ModelState
        All data of the network, for formats, callbacks and tools.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of the above.

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

    __slots__ = ()

    def __init__(self, sizes, *, activation="sigmoid", output=None, loss="quadratic", init="auto",
                 dtype="float32", dropout=0.0, input_dropout=0.0, input_noise=0.0,
                 normalization=None, max_norm=None, seed=None, compute_dtype=None,
                 input_layers=()):  # fmt: skip
        architecture = Architecture.from_arguments(
            sizes, activation=activation, output=output, loss=loss, init=init, dtype=dtype,
            dropout=dropout, input_dropout=input_dropout, input_noise=input_noise,
            normalization=normalization, max_norm=max_norm, seed=seed, compute_dtype=compute_dtype,
            input_layers=input_layers,
        )  # fmt: skip
        self._set_state(ModelState.initialize(architecture))

    @classmethod
    def from_state(cls, state):
        """Return a network that owns a `ModelState`.

        Parameters
        ----------
        state : ModelState
            Used in place, not copied.

        Raises
        ------
        ValueError
            If it has a checkpoint that is not valid.
        """
        if state.checkpoint is not None:
            checkpoint.from_snapshot(state.checkpoint, state)
        network = cls.__new__(cls)
        network._set_state(state)
        return network

    @staticmethod
    def _from_foreign(state):
        return Network.from_state(state)

    def initialize(self, X, *, bias="he+5", threads=None):
        """Draw weights and biases of all layers anew, by the pre-activations of samples.

        Weights are normal, and scaled so that the pre-activations x W^T of each unit have the
        variance 1 over X (Mishkin and Matas, "All you need is a good init", ICLR 2016, section 2,
        for each unit). The seed and X determine them. Parameters of input layers do not change.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`; 8192 random rows are used if it has more.
        bias : {"he+5", "mean", "zeros"}, default "he+5"
            The biases: minus a random convex combination of the pre-activations of five samples
            (Steinwart, arXiv:1903.11482, section 4), minus their mean, or 0.
        threads : int, optional
            As in `fit`.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid or the network has normalizations; it is unchanged.
        """
        # Imported here because few programs need it.
        from cmlp._training.initialization import initialize_from_data

        initialize_from_data(self.state, X, bias, threads)
        return self

    def fit(self, X, y=None, *, epochs=10, batch_size=32, optimizer=None, schedule=None,
            decay_schedule=None, dropout_schedule=None, shuffle=True, drop_last=False,
            validation_data=None, validation_split=0.0, sample_weight=None,
            class_weight=None, early_stopping=None, callbacks=(), metrics=(), restore_good=False,
            sparse="auto", progress=None, verbose=None, threads=None, comm=None, shards=None,
            distribute=False, reproducible=True, sync_every=None):  # fmt: skip
        """Train on all of X for some epochs.

        Parameters
        ----------
        X : array_like, shape (n, inputs), or (n, ...) with `inputs` elements for each sample
            uint8 is scaled by 1/255 on the fly; float32 and float64, also a `numpy.memmap`, are
            read in place; other real types are converted once. A SciPy sparse matrix or array is
            read as CSR and never made dense. Images of `datasets.augment` are distorted at random
            in each epoch.
            Without y, an iterable of batches, (X, y) or (X, y, sample_weight), or a callable that
            returns a new iterator for each epoch; each batch is one step.
        y : array_like
            With several outputs, labels (n,) from 0, or targets (n, outputs), one-hot or real;
            with one output, targets (n,) or (n, 1). Targets of an output that is a probability
            (sigmoid, softmax), and of the hinge losses, are in [0, 1]. A loss that has several
            outputs for each target (gaussian_nll, pinball) counts targets instead of outputs.
            With a sigmoid output or a hinge loss, y chooses the network's `task`. With
            binary_cross_entropy and the hinge losses, labels mean multiclass (one versus rest, the
            greatest output is the class), and targets (n, outputs) multilabel, of 0 and 1. With
            other losses, such as quadratic, one-hot rows and rows that sum to 1 mean multiclass,
            other rows of 0 and 1 multilabel, and all else regression.
        epochs : int, default 10
        batch_size : int, default 32
            The last batch of an epoch may be smaller.
        optimizer : Optimizer or str, optional
            `SGD`, `Adam`, `AdamW`, `NAdam`, `RMSprop`, `Adagrad`, `Adadelta` or `Lion`, or its
            name in lower case, for its default arguments. By default ``Adam(lr=1e-3)`` or, after
            `resume`, the optimizer of the checkpoint. `LBFGS` uses all samples in each iteration;
            its iterations are the epochs.
        schedule : Schedule, str or callable, optional
            One of `cmlp.schedules`, the name of one, or a callable of (step, epoch), both from 0,
            that returns the factor of the optimizer's learning rate in each step.
        decay_schedule, dropout_schedule : Schedule, str or callable, optional
            The same for the optimizer's ``weight_decay`` and for `dropout` of the hidden layers;
            not a schedule that depends on the results of epochs.
        shuffle : bool, default True
            Whether to shuffle the samples before each epoch.
        drop_last : bool, default False
            Whether an epoch leaves out the last samples if they do not fill a batch. Not together
            with `shards`, `comm` and LBFGS.
        validation_data : tuple (X, y), optional
            Evaluated after each epoch.
        validation_split : float in [0, 1) or array_like, default 0
            The samples to validate on instead of training on them: a fraction of them, chosen at
            random by the seed; or rows of X, as a mask, bool (n,), or as indices; or a tuple of
            the rows to train on and the rows to validate on.
        sample_weight : array_like, shape (n,), optional
            Weight of each sample: losses and gradients are weighted means over a batch, as in
            scikit-learn and PyTorch. Finite, not negative, not all zero.
        class_weight : dict, array_like or "balanced", optional
            Weight of each class: ``{class: weight}``, 1 for missing classes; an array with one
            weight for each class; or ``"balanced"``, n / (classes * samples of the class). Needs
            labels or one-hot rows.
        early_stopping : EarlyStopping, bool or int, optional
            `cmlp.callbacks.EarlyStopping`; True for its defaults, which monitor the validation
            loss; an integer is its patience.
        callbacks : Callback, callable, or sequence of them
            Callbacks of `cmlp.callbacks`, or callables of (network, epoch, record), called after
            each epoch; training stops when one returns True. `cmlp.callbacks.Checkpoint` writes
            files for `resume`.
        metrics : str, Metric, callable, or sequence of them
            Metrics of `cmlp.metrics`: ``"accuracy"``, ``"top_3"``, ``"precision"``, ``"recall"``,
            ``"f1"``, ``"f1_micro"`` and so on, or ``"r2"``, ``"mae"``, ``"mse"``, ``"rmse"``;
            computed while training from the outputs before each step and, with validation data,
            after each epoch. A function of (y_true, y_pred), such as `sklearn.metrics.f1_score`, or
            a `cmlp.metrics.Metric` is called after each epoch, for both.
        restore_good : bool, default False
            Whether to restore, if training diverges, the parameters after the last epoch with
            finite losses and parameters.
        sparse : bool or "auto", default "auto"
            Whether to compress a dense X once to sparse rows, so that the first layer skips
            zeros. The results have the same bits, unless a BLAS computes the dense product.
            ``"auto"`` compresses if X has at least 64 columns and at most 25% of its elements, by
            a sample of its rows, are not zero; 55% if the first layer has at least 256 bytes of
            weights per input and batches have at least 32 samples. Each non-zero element takes 3
            to 12 bytes.
        progress : bool, optional
            True shows bars on a terminal and in a notebook: one for each epoch, or one over many
            short epochs. Elsewhere it prints a line for each epoch, at most one in a second if
            there are more than 100 epochs.
        verbose : int, optional
            As in Keras: 0 shows nothing, 1 bars, 2 a line for each epoch.
        threads : int, optional
            Maximum number of threads; by default `CMLP_NUM_THREADS`, `OMP_NUM_THREADS`, or the
            CPUs that the process may use, which are also the limit. Small networks train on one
            thread.
        comm : communicator, optional
            mpi4py's `MPI.COMM_WORLD`, or another object with its methods Get_rank, Get_size,
            Sendrecv, Bcast, Allreduce and Barrier for NumPy arrays: train on all its ranks, each of
            which calls `fit` with the same arguments and its own part of the samples. All ranks
            have the same parameters, which begin as those of rank 0; rank 0 prints and writes
            files, and its validation data count.
        shards : int, optional
            Number of parts of the samples, a power of two; by default 8, or the number of ranks if
            that is greater. A batch takes its share from each, and the gradient is summed over each
            share and then over a binary tree of the shards, so that with `distribute` the results
            are the same bits for any number of ranks and threads that suits the shards, also
            without `comm`. Not together with batch normalization, a callable loss, LBFGS or
            ``accumulate``.
        distribute : bool, default False
            With `comm`: every rank is given all samples, or all of each batch of an iterable, and
            takes its part.
        reproducible : bool, default True
            With `comm`: False sums by the communicator's own `Allreduce` on any number of ranks;
            the bits depend on it.
        sync_every : int, optional
            With `comm`: each rank takes this number of steps with its own part of each batch, and
            those up to the end of an epoch; then parameters and optimizer state are averaged over
            the ranks, weighted by their numbers of samples. For links whose latency exceeds the
            time of a step. The results depend on the number of ranks. Stich, "Local SGD converges
            fast and communicates little", ICLR 2019, algorithm 1.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid; the network is unchanged.
        RankError
            If another rank has ended by an exception or by Ctrl-C.
        TrainingDiverged
            If the loss of a batch, or a parameter at the end of an epoch, is not finite.
        KeyboardInterrupt
            On Ctrl-C, between two steps; the network is consistent.

        Examples
        --------
        >>> from cmlp import Adam, Network, datasets
        >>> X, y = datasets.make_digits(2000, seed=0)
        >>> net = Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=0)
        >>> history = net.fit(X, y, epochs=3, optimizer=Adam(), validation_split=0.2)
        >>> len(history["val_accuracy"])
        3
        >>> bool(net.score(X, y) > 0.8)
        True
        """
        arguments = locals()
        with prepare_on_ranks(comm, reproducible) as exchange:
            options = FitOptions(**{name: arguments[name] for name in OPTION_NAMES})
            run = prepare_training(self, X, y, options, exchange=exchange)
        return run.run()

    def partial_fit(self, X, y, *, batch_size=32, optimizer=None, shuffle=True,
                    sample_weight=None, class_weight=None, metrics=(), sparse="auto",
                    threads=None, comm=None, shards=None, distribute=False, reproducible=True,
                    sync_every=None):  # fmt: skip
        """Train on all of X once; the next call continues.

        Unlike in `fit`, the optimizer's state persists between calls with equal optimizers. A call
        without `optimizer` continues with the optimizer of the last one.

        Parameters
        ----------
        X, y, batch_size, optimizer, shuffle, sample_weight, class_weight, metrics, sparse, threads
            As in `fit`.
        comm, shards, distribute, reproducible, sync_every
            As in `fit`.

        Returns
        -------
        History
            Of one epoch.

        Raises
        ------
        TypeError, ValueError, RankError, TrainingDiverged, KeyboardInterrupt
            As in `fit`.
        """
        state = self.state
        with prepare_on_ranks(comm, reproducible) as exchange:
            if optimizer is None and state.optimizer is not None:
                optimizer = state.optimizer.optimizer
            optimizer = resolve_optimizer(optimizer)
            if isinstance(optimizer, LBFGS):
                raise ValueError("partial_fit does not support LBFGS; use fit")
            if state.checkpoint is not None:
                raise ValueError("a resumed network must continue with fit, not with partial_fit")
            options = FitOptions(
                epochs=1, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle,
                sample_weight=sample_weight, class_weight=class_weight, metrics=metrics,
                sparse=sparse, threads=threads, comm=comm, shards=shards, distribute=distribute,
                reproducible=reproducible, sync_every=sync_every,
            )  # fmt: skip
            is_continued = state.optimizer is not None and state.optimizer.optimizer == optimizer
            run = prepare_training(
                self, X, y, options, optimizer_state=state.optimizer if is_continued else None,
                earlier_task=state.task, exchange=exchange,
            )  # fmt: skip
        state.optimizer = run.kept_optimizer_state
        return run.run()

    def _infer(self, rows, threads, tick):
        return compute_outputs(self.state, rows, threads, tick=tick)

    def _evaluate(self, rows, targets, values, names, threads):
        self.state.check_finite()
        return evaluate(self.state, rows, targets, values, None, names, threads)[1]

    def summary(self):
        """Print a table of the layers and their parameters."""
        from cmlp._utils.html import format_number

        lines = [f"{'layer':<8}{'shape':<16}{'activation':<14}{'parameters':>12}"]
        architecture, total, columns = self.state.architecture, 0, self.state.architecture.inputs
        layers = [*(("input", layer) for layer in architecture.encoders),
                  *enumerate(architecture.dense)]  # fmt: skip
        for number, layer in layers:
            inputs, columns = columns, layer.count_outputs(columns)
            count = sum(rows * width for rows, width in layer.tensors(inputs).values())
            total += count
            shape = f"{inputs} -> {columns}"
            frozen = "  frozen" if layer.frozen else ""
            lines.append(f"{number:<8}{shape:<16}{layer.label:<14}{count:>12,}{frozen}")
        lines.append(f"{self.task}, loss {self.loss}, {total:,} parameters, {self.dtype}")
        if architecture.rounds:
            lines.append(f"compute_dtype {self.compute_dtype}")
        lines += [f"{name} {value}" for name, value in architecture.options.items()]
        for name, value in (self.state.training or {}).items():
            of_epoch = "last epoch: " * isinstance(value, float)
            lines.append(f"{of_epoch}{name} {format_number(value)}")
        print("\n".join(lines))

    def copy(self):
        """Return an independent copy, with its optimizer state and random number position."""
        return copy.deepcopy(self)

    def __repr__(self):
        return f"{type(self).__name__}({self.state.architecture})"


def name_methods(owner, *mixins):
    """Name the methods of mixins as those of `owner`, for the errors of calls that do not fit."""
    for mixin in mixins:
        for method in vars(mixin).values():
            function = getattr(method, "__func__", method)
            if hasattr(function, "__code__"):
                function.__qualname__ = f"{owner.__name__}.{function.__name__}"
                function.__module__ = owner.__module__


name_methods(
    Network, LayerMethods, PredictionMethods, DerivativeMethods, FileMethods, QuantizationMethods,
    ReferenceMethods,
)  # fmt: skip

"""`Network`: checks arguments, owns the parameters, calls the engine."""

import copy
import os

import numpy as np

from cmlp import batches, losses, progress, spec, threads, training
from cmlp._core import hooks
from cmlp._core.engine import Program
from cmlp._core.samples import Rows
from cmlp.callbacks import checked_callbacks
from cmlp.columns import ColumnMethods
from cmlp.optimizers import OPTIMIZERS, SGD, Optimizer
from cmlp.parameters import Parameters, Views
from cmlp.schedules import checked_schedule


class Network(ColumnMethods):
    """A multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        The widths of the layers, inputs first, at least two.
    activation : str or sequence of str, default "sigmoid"
        Of the hidden layers: one for all, or one for each. ``"identity"``, ``"sigmoid"``,
        ``"hard_sigmoid"``, ``"tanh"``, ``"hard_tanh"``, ``"relu"``, ``"leaky_relu"`` (slope
        0.01), ``"elu"`` and ``"celu"`` (alpha 1), ``"selu"``, ``"gelu"``, ``"gelu_tanh"`` (its
        approximation), ``"silu"``, ``"mish"``, ``"softplus"``, ``"softsign"``.
    output : str, optional
        The last layer's activation, ``"softmax"`` beside those above. By default the one
        that belongs to the loss: softmax for cross_entropy, sigmoid for
        binary_cross_entropy and quadratic, identity for the others.
    loss : str or Loss, default "quadratic"
        ``"quadratic"``: 1/2 the sum over outputs of (a - y)^2, the mean over the batch.
        ``"cross_entropy"``: minus the sum over outputs of y log a, the mean over the batch;
        `losses.cross_entropy` has `label_smoothing`.
        ``"binary_cross_entropy"``: minus the sum over outputs of y log a + (1 - y) log(1 - a),
        the mean over the batch.
        Means over batch and outputs: ``"mse"``, (a - y)^2; ``"mae"``, abs(a - y);
        ``"huber"``, `losses.huber` with its `delta`; ``"log_cosh"``, log cosh(a - y);
        ``"poisson"``, exp(a) - y a, a being the logarithm of a rate; ``"hinge"``,
        max(0, 1 - s a), s being -1 and 1 for y of 0 and 1; ``"squared_hinge"``, its square.
    init : str, default "auto"
        The first weights. ``"auto"`` draws He's normal ones for the relu family, LeCun's for
        selu and Glorot's uniform ones otherwise; ``"reference"`` standard normal weights and
        uniform [0, 1) biases.
        Also by name ``"glorot_uniform"``, ``"glorot_normal"``, ``"he_uniform"``,
        ``"he_normal"``, ``"lecun_uniform"``, ``"lecun_normal"``, ``"zeros"``.
    dtype : str or numpy.dtype, default "float32"
        Of the parameters and of all arithmetic: float32 or float64.
    seed : int, optional
        Of the first weights and of the order of the samples. The same seed gives the same
        bits on any number of threads. None draws one from the system.

    Attributes
    ----------
    size : list of int
        The widths of the layers.
    num_layers : int
        The number of layers with weights.
    weight : list of ndarray, shapes (outputs, inputs)
        Views of the parameters: assigning to an item or into its array takes effect.
    bias : list of ndarray, shapes (outputs, 1)
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
                 dtype="float32", seed=None):  # fmt: skip
        self._configure(sizes, activation, output, loss, init, dtype, seed)
        self._make_program()
        self._draw()

    def _configure(self, sizes, activation, output, loss, init, dtype, seed):
        # Everything but the parameters, checked.
        self.size = checked_sizes(sizes)
        self.num_layers = len(self.size) - 1
        self.activation = checked_activations(activation, self.num_layers - 1)
        self._loss = losses.checked_loss(loss)
        self.loss = self._loss.name
        self.output = checked_output(output, self._loss, self.size[-1])
        if init != "auto":
            spec.look_up("init", init, {"auto": None, **spec.INITIALIZERS})
        self._has_probabilities = self.output in ("sigmoid", "softmax")
        self.is_classifier = self._has_probabilities or self._loss.scores
        self.init = init
        self.dtype = checked_dtype(dtype)
        self.seed = checked_seed(seed)
        self._epoch = 0  # orders drawn so far

    def _make_program(self):
        hooks.use()
        self._parameters = self._new_parameters()
        self._program = Program(
            self._parameters.padded_weights,
            self._parameters.padded_biases,
            self.size[1:],
            [spec.ACTIVATIONS[name].code for name in self._activations],
            self._loss.code,
            self._loss.parameter,
        )

    def _new_parameters(self):
        return Parameters(self.size, self.dtype)

    def _draw(self):
        rng = np.random.Generator(np.random.Philox(key=self.seed))
        layers = zip(self._activations, self.size[:-1], self.size[1:], strict=True)
        drawn = [spec.initial(rng, self.init, *layer) for layer in layers]
        self.weight = [weight for weight, _ in drawn]
        self.bias = [bias for _, bias in drawn]

    @property
    def _activations(self):
        return (*self.activation, self.output)

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
    def score_name(self):
        """What `score` returns: ``"accuracy"`` or ``"r2"``."""
        return "accuracy" if self.is_classifier else "r2"

    def fit(self, X, y, *, epochs=10, batch_size=32, optimizer=None, schedule=None, shuffle=True,
            validation_data=None, validation_split=0.0, sample_weight=None, class_weight=None,
            early_stopping=None, callbacks=(), sparse="auto", progress=None,
            threads=None):  # fmt: skip
        """Train on all of X for some epochs.

        Parameters
        ----------
        X : array_like, shape (n, inputs), or (n, ...) with as many elements a sample
            uint8 is scaled by 1/255 on the fly; float32 and float64 are read where they lie;
            other real types are converted once. A SciPy sparse matrix or array is read as
            CSR and never made dense.
        y : array_like
            With several outputs, labels (n,) from 0, or targets (n, outputs), one-hot or
            real; with one output, targets (n,) or (n, 1).
        epochs : int, default 10
        batch_size : int, default 32
            The last batch of an epoch may be smaller.
        optimizer : Optimizer, optional
            `SGD`, `Adam`, `AdamW`, `NAdam`, `RMSprop`, `Adagrad`, `Adadelta` or `Lion`; by
            default ``SGD(lr=0.1)``.
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
            epoch; one that returns True stops training.
        sparse : bool or "auto", default "auto"
            Whether a dense X is compressed once into sparse rows, so that the first layer
            skips zeros; the results are bit for bit the same, unless a BLAS carries the dense
            product, which sums in an order of its own. ``"auto"`` does so when X has at least
            64 columns and at most a quarter of its elements, by a sample of its rows, are not
            zero. It takes 3 to 10 bytes for each of these.
        progress : bool, optional
            True shows a bar on a terminal, a line an epoch elsewhere.
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
        epochs = spec.check_whole("epochs", epochs, 0)
        batch_size = spec.check_whole("batch_size", batch_size)
        optimizer = checked_optimizer(optimizer)
        schedule = checked_schedule(schedule)
        told = checked_callbacks(callbacks, early_stopping)
        team = resolve_threads(threads)
        rows, targets = self._data(X, y, weights=(sample_weight, class_weight))
        if len(rows) == 0:
            raise ValueError("X is empty; training needs at least one sample")
        rows = batches.compressed(rows, sparse, team)
        subset, held_out = self._split(len(rows), validation_split)
        if held_out is not None and validation_data is not None:
            raise ValueError("validation_data and validation_split exclude each other")
        validate = self._validation(X, y, validation_data, rows, targets, held_out, team)
        if validate is None:
            check_monitors([schedule, *told])
        samples = len(rows) if subset is None else len(subset)
        return training.Course(
            self, rows, targets, subset=subset, validate=validate, epochs=epochs,
            batch_size=batch_size, optimizer=optimizer, schedule=schedule, shuffle=bool(shuffle),
            callbacks=told, progress=choose_progress(progress, epochs, samples), threads=team,
        ).run()  # fmt: skip

    def _data(self, X, y, suffix="", weights=None):
        outputs = self.size[-1]
        rows = batches.as_rows(X, self.size[0], self.dtype, "X" + suffix)
        targets = batches.as_targets(y, len(rows), outputs, self._loss, self.dtype, "y" + suffix)
        if weights is None or not len(rows):
            return rows, targets
        weights = batches.as_weights(*weights, y, len(rows), outputs)
        return rows, targets.weighted(weights)

    def _split(self, samples, fraction):
        if not (isinstance(fraction, (int, float)) and 0 <= fraction < 1):
            raise ValueError(f"validation_split must lie in [0, 1), got {fraction!r}")
        if fraction == 0:
            return None, None
        held = round(samples * fraction)
        if not 0 < held < samples:
            raise ValueError(
                f"validation_split={fraction} of {samples} samples leaves "
                f"{samples - held} to train on and {held} to validate with"
            )
        # An order of its own, by an epoch that no training reaches.
        order = training.shuffled(self.seed, 2**32 - 1, samples)
        return order[held:], order[:held]

    def _validation(self, X, y, validation_data, rows, targets, held_out, team):
        # What gives the validation quantities of an epoch, or None.
        if validation_data is not None:
            try:
                X, y = validation_data
            except (TypeError, ValueError):
                raise TypeError("validation_data must be a pair (X, y)") from None
            rows, targets = self._data(X, y, " of validation_data")
            if len(rows) == 0:
                raise ValueError("X of validation_data is empty")
        elif held_out is None:
            return None
        truth = np.asarray(y) if held_out is None else np.asarray(y)[held_out]
        name = f"val_{self.score_name}"

        def validate():
            out = np.empty((len(truth), self.size[-1]), self.dtype)
            loss = self._program.infer(rows, targets, held_out, out, team)
            return {"val_loss": loss, name: self._score(out, truth)}

        return validate

    def _next_order(self, samples):
        order = training.shuffled(self.seed, self._epoch, samples)
        self._epoch += 1
        return order

    def __call__(self, X, *, threads=None):
        """Return the outputs for samples as rows.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`.
        threads : int, optional

        Returns
        -------
        ndarray, shape (n, outputs)
        """
        outputs = self._program.outputs(X)
        if outputs is None:
            rows = batches.as_rows(X, self.size[0], self.dtype, finite=False)
            outputs = self._outputs(rows, len(rows), resolve_threads(threads))
            if outputs is None:
                batches.check_finite(rows)
        return outputs

    def _outputs(self, rows: Rows, n, team=None, checks=True):
        # None where `checks` finds NaN or infinity.
        out = np.empty((n, self.size[-1]), self.dtype)
        if n:
            team = team or resolve_threads(None)
            if self._program.infer(rows, None, None, out, team, checks) is None:
                return None
        return out

    def predict_proba(self, X, *, threads=None):
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
        outputs = self._program.outputs(X)
        return self(X, threads=threads) if outputs is None else outputs

    def predict(self, X, *, threads=None):
        """Return labels, or, when this is no classifier, the outputs.

        Returns
        -------
        ndarray, shape (n,) or (n, outputs)
            A classifier gives the place of the greatest output, of a single output
            whether it is at least 1/2, or, of a hinge's score, 0. With the Poisson loss the
            rates, of which the outputs are the logarithms. Otherwise the outputs, (n,) when
            there is one.
        """
        return self._answers(self(X, threads=threads))

    def _answers(self, out):
        if not self.is_classifier:
            out = np.exp(out) if self._loss.logarithm else out
            return out[:, 0] if out.shape[1] == 1 else out
        if out.shape[1] > 1:
            return out.argmax(axis=1)
        return (out[:, 0] >= (0.5 if self._has_probabilities else 0)).astype(np.intp)

    def score(self, X, y, *, threads=None):
        """Return the accuracy of a classifier, the R^2 of a regressor.

        Parameters
        ----------
        X, y : array_like
            As in `fit`. For a regressor with several outputs the mean of their R^2.
        threads : int, optional

        Returns
        -------
        float
        """
        rows, _ = self._data(X, y)
        if len(rows) == 0:
            raise ValueError("X is empty; a score needs at least one sample")
        team = resolve_threads(threads)
        return self._score(self._outputs(rows, len(rows), team, checks=False), np.asarray(y))

    def _score(self, out, y):
        if self.is_classifier:
            several = y.ndim == 2 and y.shape[1] > 1
            labels = y.argmax(axis=1) if several else y.reshape(len(y))
            return float((self._answers(out) == labels).mean())
        out = self._answers(out).reshape(out.shape)
        y = y.reshape(out.shape).astype(np.float64)
        residual = ((y - out) ** 2).sum(axis=0)
        total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        # A constant target is explained wholly or not at all, as in scikit-learn.
        constant = np.where(residual == 0, 1.0, 0.0)
        return float(
            np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), constant).mean()
        )

    def summary(self):
        """Print a table of the layers and their parameters."""
        lines = [f"{'layer':<8}{'shape':<16}{'activation':<14}{'parameters':>12}"]
        total = 0
        for l, name in enumerate(self._activations):
            i, o = self.size[l : l + 2]
            total += (i + 1) * o
            lines.append(f"{l + 1:<8}{f'{i} -> {o}':<16}{name:<14}{(i + 1) * o:>12,}")
        lines.append(f"loss {self.loss}, {total:,} parameters, {self.dtype}")
        print("\n".join(lines))

    def copy(self):
        """Return an independent copy, which goes on with the same random numbers."""
        return copy.deepcopy(self)

    def save(self, path):
        """Write the network to an ``.npz`` file, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            Must end in ``.npz``.
        """
        from cmlp.files import npz

        npz.write(path, self._header(), self._arrays())

    @classmethod
    def load(cls, path):
        """Read a network that `save` wrote.

        Raises
        ------
        ValueError
            If the file is not such a network; it names the file and the reason.
        FileNotFoundError
            If there is no such file.
        """
        from cmlp.files import npz

        with npz.Reader(path) as file:
            network = file.make(cls._configured)
            arrays = {n: file.read(n, s, network.dtype) for n, s in network._shapes().items()}
        network._make_program()
        network._set_arrays(arrays)
        return network

    def _header(self):
        return {
            "sizes": self.size,
            "activation": list(self.activation),
            "output": self.output,
            "loss": self._loss_header(),
            "init": self.init,
            "dtype": self.dtype.name,
            "seed": self.seed,
            "epoch": self._epoch,
        }

    def _loss_header(self):
        # Its name, or its name and parameter.
        usual = self._loss.parameter == losses.LOSSES[self.loss].parameter
        return self.loss if usual else [self.loss, self._loss.parameter]

    @classmethod
    def _configured(cls, header):
        # A network by its header, still without parameters.
        network = cls.__new__(cls)
        names = ("sizes", "activation", "output", "loss", "init", "dtype", "seed")
        network._configure(**{name: header[name] for name in names})
        network._epoch = spec.check_whole("epoch", header["epoch"], 0)
        return network

    def _shapes(self):
        pairs = list(zip(self.size[:-1], self.size[1:], strict=True))
        return {
            **{f"weight_{l}": (o, i) for l, (i, o) in enumerate(pairs)},
            **{f"bias_{l}": (o, 1) for l, (_, o) in enumerate(pairs)},
        }

    def _arrays(self):
        return dict(zip(self._shapes(), [*self.weight, *self.bias], strict=True))

    def _set_arrays(self, arrays):
        for name, view in self._arrays().items():
            np.copyto(view, arrays[name])

    def __getstate__(self):
        arrays = {name: np.array(array) for name, array in self._arrays().items()}
        return {"header": self._header(), "arrays": arrays}

    def __setstate__(self, state):
        self.__dict__ = self._configured(state["header"]).__dict__
        self._make_program()
        self._set_arrays(state["arrays"])

    def __repr__(self):
        hidden = sorted(set(self.activation))
        activation = repr(hidden[0]) if len(hidden) == 1 else repr(list(self.activation))
        return (
            f"{type(self).__name__}({self.size}, activation={activation}, output={self.output!r}, "
            f"loss={self._loss_header()!r}, dtype={self.dtype.name!r}, seed={self.seed})"
        )


resolve_threads, choose_progress = threads.resolve, progress.choose


def checked_sizes(sizes):
    """Return the widths as a list of int."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"sizes must be a sequence of whole numbers, got {sizes!r}")
    checked = [spec.check_whole(f"sizes[{i}]", size) for i, size in enumerate(sizes)]
    if len(checked) < 2:
        raise ValueError(f"sizes must hold the inputs and at least one layer, got {sizes!r}")
    return checked


def checked_activations(activation, hidden):
    """Return one name for each hidden layer."""
    names = [activation] * hidden if isinstance(activation, str) else list(activation)
    if len(names) != hidden:
        raise ValueError(
            f"activation must be a name or one for each of {hidden} hidden layers, "
            f"got {activation!r}"
        )
    allowed = {name: a for name, a in spec.ACTIVATIONS.items() if a.hidden}
    for name in [activation] if isinstance(activation, str) else names:
        spec.look_up("activation", name, allowed)
    return tuple(names)


def checked_output(output, loss, outputs):
    """Return the last layer's activation, which must suit the loss."""
    if output is None:
        output = loss.output
    spec.look_up("output", output, spec.ACTIVATIONS)
    if loss.outputs is not None and output not in loss.outputs:
        raise ValueError(
            f"output={output!r} does not suit loss={loss.name!r}; "
            f"allowed are {', '.join(loss.outputs)}"
        )
    if output == "softmax" and outputs == 1:
        raise ValueError(
            "softmax of a single output is always 1; take two outputs, or "
            "loss='binary_cross_entropy' with one"
        )
    return output


def checked_dtype(dtype):
    """Return float32 or float64 as a numpy.dtype."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}") from None
    if checked not in (np.float32, np.float64) or not checked.isnative:
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return checked


def check_monitors(watchers):
    """Raise if one of them watches a quantity of validation data, of which there are none."""
    for watcher in watchers:
        monitor = getattr(watcher, "monitor", "")
        if monitor.startswith("val_"):
            raise ValueError(f"monitor={monitor!r} needs validation_data or validation_split")


def checked_seed(seed):
    """Return the seed, or one from the system."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    seed = spec.check_whole("seed", seed, 0)
    if seed >= 2**64:
        raise ValueError(f"seed must be below 2**64, got {seed}")
    return seed


def checked_optimizer(optimizer):
    """Return the optimizer, or the default."""
    if optimizer is None:
        return SGD()
    if not isinstance(optimizer, Optimizer):
        names = ", ".join(kind.__name__ for kind in OPTIMIZERS.values())
        raise TypeError(f"optimizer must be an instance of one of {names}, got {optimizer!r}")
    return optimizer

"""`DerivativeMethods`: outputs of hidden layers, and derivatives, of a network."""

import numpy as np

from cmlp._core.program import compute_derivatives, differentiate_few, multiply_few
from cmlp._model.gradient import Gradient
from cmlp._model.parameters import aligned_zeros, compute_padded_width
from cmlp._training.apply import apply_gradient
from cmlp._training.arguments import convert_targets
from cmlp._training.inputs import convert_samples
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import check_integer, check_unmasked


class DerivativeMethods:
    """A mixin of `Network`."""

    __slots__ = ()

    def transform(self, X, layer=-2, *, threads=None):
        """Return the outputs of a layer, after its activation.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`.
        layer : int, default -2
            A dense layer: -1 is the output layer, -2 the last hidden layer; 0 the first layer.
        threads : int, optional
            Maximum number of threads.

        Returns
        -------
        ndarray, shape (n, units)
            Of the network's dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit or X is not finite.
        """
        check_layer("layer", layer, self.num_layers)
        architecture = self.state.architecture
        rows = convert_samples(X, architecture)
        number = int(layer) % self.num_layers
        out = np.empty((len(rows), architecture.dense[number].units), self.dtype)
        if len(rows):
            self.state.program.infer(
                rows, None, None, out, resolve_threads(threads), layers=number + 1
            )
        if not np.isfinite(out).all():
            self.state.check_finite()
        return out

    def gradient(self, X, y, sample_weight=None, *, threads=None):
        """Return the gradient of the mean loss with respect to all parameters.

        Over all samples at once, without dropout and noise. Batch normalization uses the statistics
        of these samples, as in training.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        threads : int, optional
            Maximum number of threads.

        Returns
        -------
        Gradient
            `weight` and `bias` are shaped like the network's; `loss` is the mean loss.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit or X is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> from cmlp import Network
        >>> net = Network([3, 8, 1], activation="tanh", loss="mse", seed=0)
        >>> gradient = net.gradient(np.ones((5, 3)), np.zeros(5))
        >>> [array.shape for array in gradient.weight]
        [(8, 3), (1, 8)]
        """
        architecture = self.state.architecture
        rows = convert_samples(X, architecture)
        if len(rows) == 0:
            raise ValueError(f"X must have at least one sample; got shape (0, {rows.width})")
        targets, values = convert_targets(architecture, rows, y, weights=(sample_weight, None))
        if architecture.loss.call:
            loss, delta = architecture.loss(self(X, threads=threads), values)
            return Gradient(self.vjp(X, delta, threads=threads)[0].tensors, float(loss))
        tensors = self.state.parameters.make_zeros()
        loss = self.state.program.gradient(rows, targets, tensors.block, resolve_threads(threads))
        return Gradient(tensors, loss)

    def vjp(self, X, output_gradient, *, inputs=True, threads=None):
        """Return the gradients of a number, given its gradient with respect to the outputs.

        The vector-Jacobian product of the network in inference: without dropout and noise, and with
        the running statistics of batch normalization. X and the result are not searched for NaN.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`.
        output_gradient : array_like, shape (n, outputs)
        inputs : bool, default True
            Whether to compute the gradient with respect to X.
        threads : int, optional
            Maximum number of threads.

        Returns
        -------
        gradient : Gradient
            With respect to the parameters, summed over the samples.
        input_gradient : ndarray, shape (n, inputs), or None
            With respect to X; of images of bytes, to their values in [0, 1]. None without
            `inputs`, and for a network with input layers.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        tensors = self.state.parameters.make_zeros()
        if threads is None:
            found = multiply_few(self._program, X, output_gradient, tensors.block, inputs)
            if found is not None:
                return Gradient(tensors), found[:, 0] if inputs else None
        architecture = self.state.architecture
        rows = convert_samples(X, architecture, check_finite=False)
        seed = convert_seed(output_gradient, (len(rows), architecture.outputs), self.dtype)
        wants_inputs = inputs and not architecture.encoders
        found = self._make_inputs(len(rows), 1) if wants_inputs else None
        if len(rows):
            compute_derivatives(self.state.program, rows, seed, found, None, tensors.block,
                                resolve_threads(threads))  # fmt: skip
        return Gradient(tensors), self._drop_padding(found)[:, 0] if wants_inputs else None

    def input_gradient(self, X, output=None, *, threads=None):
        """Return the gradient of one output with respect to the inputs, for each sample.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`.
        output : int or array_like of int, shape (n,), optional
            The index of an output, the same for all samples or one for each, such as the predicted
            classes. May be omitted if there is only one.
        threads : int, optional
            Maximum number of threads.

        Returns
        -------
        ndarray, shape (n, inputs)
            Of images of bytes, with respect to their values in [0, 1].

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or the network has input layers.
        """
        outputs = self.size[-1]
        if output is None and outputs > 1:
            raise ValueError(f"output must be given for a network with {outputs} outputs")
        number = 0 if output is None else output
        if type(number) is int and 0 <= number < outputs:
            found = differentiate_few(self._program, X, number) if threads is None else None
            if found is None:
                found = self._differentiate(self._convert_for_inputs(X), None, 1, threads, number)
            return found[:, 0]
        rows, index = self._convert_for_inputs(X), np.asarray(output)
        is_integer = index.dtype.kind in "iu"
        if not is_integer or index.shape not in ((), (len(rows),)):
            raise (ValueError if is_integer else TypeError)(
                f"output must be an integer, or one for each of the {len(rows)} samples; got "
                f"{index.dtype}, shape {index.shape}"
            )
        if index.size and not 0 <= index.min() <= index.max() < outputs:
            raise ValueError(f"output must be from 0 to {outputs - 1}; got {output!r}")
        seed = np.zeros((len(rows), outputs), self.dtype)
        seed[np.arange(len(rows)), index] = 1
        return self._differentiate(rows, seed, 1, threads)[:, 0]

    def jacobian(self, X, *, threads=None):
        """Return the derivatives of all outputs with respect to all inputs, for each sample.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`.
        threads : int, optional
            Maximum number of threads.

        Returns
        -------
        ndarray, shape (n, outputs, inputs)
            Of images of bytes, with respect to their values in [0, 1].

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or the network has input layers.

        Examples
        --------
        >>> import numpy as np
        >>> from cmlp import Network
        >>> net = Network([3, 8, 2], activation="tanh", loss="mse", seed=0)
        >>> net.jacobian(np.zeros((5, 3))).shape
        (5, 2, 3)
        """
        found = differentiate_few(self._program, X) if threads is None else None
        if found is not None:
            return found
        rows = self._convert_for_inputs(X)
        return self._differentiate(rows, None, self.size[-1], threads)

    def apply(self, gradient, optimizer=None):
        """Take one step of an optimizer by a given gradient.

        As in `partial_fit`, the optimizer's state persists between calls with equal optimizers.

        Parameters
        ----------
        gradient : Gradient
            Of this network, or of another one with the same layers. Not searched for NaN.
        optimizer : Optimizer or str, optional
            As in `fit`, without `penalty` and `accumulate`. None selects the optimizer of the last
            call of `partial_fit` or `apply`, at first ``Adam(lr=1e-3)``.

        Returns
        -------
        Network
            The network itself.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the network is unchanged.
        """
        apply_gradient(self.state, gradient, optimizer)
        return self

    def _convert_for_inputs(self, X):
        architecture = self.state.architecture
        if architecture.encoders:
            raise ValueError(
                "input_layers must be empty for derivatives with respect to the inputs"
            )
        return convert_samples(X, architecture, check_finite=False)

    def _make_inputs(self, n_samples, count):
        # Return memory for derivatives with respect to the inputs, (n_samples, count, padded).
        width = compute_padded_width(self.state.architecture.inputs, self.dtype)
        return aligned_zeros(n_samples * count * width, self.dtype).reshape(n_samples, count, width)

    def _drop_padding(self, inputs):
        return np.ascontiguousarray(inputs[:, :, : self.state.architecture.inputs])

    def _differentiate(self, rows, seed, count, threads, first_output=0):
        # Return derivatives with respect to the inputs, shape (n, count, inputs), checked.
        inputs = self._make_inputs(len(rows), count)
        if len(rows):
            compute_derivatives(self.state.program, rows, seed, inputs, None, None,
                                resolve_threads(threads), count, first_output)  # fmt: skip
        found = self._drop_padding(inputs)
        if not np.isfinite(found).all():
            rows.check_finite(self.dtype)
            self.state.check_finite()
        return found


def check_layer(name, layer, count):
    """Raise `TypeError` or `ValueError` unless `layer` is the index of one of `count` layers."""
    check_integer(name, layer, -count)
    if layer >= count:
        raise ValueError(f"{name} must be from -{count} to {count - 1}; got {layer}")


def convert_seed(output_gradient, shape, dtype):
    """Return the gradient with respect to the outputs as a C-contiguous array.

    Raises
    ------
    TypeError, ValueError
        If it has another shape, or does not hold real numbers.
    """
    check_unmasked("output_gradient", output_gradient)
    array = np.asarray(output_gradient)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"output_gradient must hold real numbers; got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"output_gradient must have shape {shape}; got {array.shape}")
    return np.ascontiguousarray(array, dtype)

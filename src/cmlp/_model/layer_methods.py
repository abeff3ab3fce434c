"""`LayerMethods`: the methods of `Network` for its layers."""

import numpy as np

from cmlp._utils.validation import check_integer, to_list


class LayerMethods:
    """A mixin of `Network`: it uses the attribute `state` and the constructors of `Network`."""

    __slots__ = ()

    @property
    def layers(self):
        """The dense layers, a list of `cmlp._model.network_layers.NetworkLayer`.

        Each has its `specification`, `inputs`, `outputs`, and views of its parameters such as
        `weight`. `from_layers` makes a network of them.
        """
        return self._list_layers(are_input_layers=False)

    @property
    def input_layers(self):
        """The layers before the dense layers, noise and dropout of the inputs included; a list."""
        return self._list_layers(are_input_layers=True)

    def _list_layers(self, are_input_layers):
        # Imported here, and in from_layers, because few programs need it.
        from cmlp._model.network_layers import list_layers

        return [layer for layer in list_layers(self.state)
                if layer.specification.is_input_layer == are_input_layers]  # fmt: skip

    @property
    def frozen(self):
        """Indices of the dense layers that are frozen, a list of int."""
        return [l for l, layer in enumerate(self.state.architecture.dense) if layer.frozen]

    def freeze(self, layers):
        """Exclude layers from training.

        Their parameters and the running statistics of their batch normalizations no longer change,
        in all methods that train, until `unfreeze`. Their gradients are not computed, and the
        backward pass ends at the lowest layer that is trained. Batch normalization then uses the
        running statistics in training too, as in Keras; dropout remains. Copies, files and
        checkpoints have the same frozen layers. A callback may freeze layers for the next epoch,
        except with L-BFGS and on a Dask cluster. `gradient` and `vjp` include frozen layers.

        Parameters
        ----------
        layers : int, slice, sequence of int or str
            Indices of dense layers, as in `weight`; negative ones count from the end. ``"hidden"``
            means all layers but the last, with the parameters of input layers; ``"input"`` means
            the input layers.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        TypeError, ValueError
            If `layers` is something else or selects no layer, or the network was returned by
            `resume`; nothing is changed.
        """
        return self._set_frozen(layers, True)

    def unfreeze(self, layers=None):
        """Train layers again that `freeze` has excluded.

        Parameters
        ----------
        layers : int, slice, sequence of int or str, optional
            As for `freeze`; by default all layers, input layers included.

        Returns
        -------
        Network
            Itself.

        Raises
        ------
        TypeError, ValueError
            As for `freeze`.
        """
        return self._set_frozen(layers, False)

    def _set_frozen(self, layers, frozen):
        state = self.state
        if state.checkpoint is not None:
            raise ValueError("a resumed network must continue with the frozen layers that it has")
        if layers is None and not frozen:
            positions = {tensor.layer for tensor in state.architecture.tensors}
        else:
            positions = select_positions(state.architecture, layers)
        state.freeze(positions, frozen)
        self._set_state(state)
        return self

    @classmethod
    def from_layers(cls, layers, *, inputs=None, loss=None, init="auto", dtype=None, seed=None,
                    compute_dtype=None):  # fmt: skip
        """Return a network that consists of copies of other networks' layers and of new layers.

        A layer of a network is copied with its parameters, running statistics, normalization,
        activation, dropout and whether it is frozen; the networks remain as they are.

        Parameters
        ----------
        layers : sequence
            Items of the lists `layers` and `input_layers` of networks, and layers of `cmlp.layers`,
            such as ``Dense(10, "softmax")``, whose parameters are drawn by `init` and `seed`. Input
            layers come first. The last layer has neither normalization nor dropout.
        inputs : int, optional
            Number of columns of X; required if the first layer is a new one.
        loss : str, Loss or callable, optional
            As in `Network`. If the last layer is the last layer of a network, its loss by default;
            otherwise cross_entropy after softmax, binary_cross_entropy after sigmoid, else mse.
        init : str, float or callable, default "auto"
            As in `Network`.
        dtype : str or numpy.dtype, optional
            By default the dtype of the layers of networks; float32 if all layers are new.
        seed : int, optional
            As in `Network`.
        compute_dtype : str or numpy.dtype, optional
            As in `Network`. By default ``"bfloat16"`` if all given networks have it, else `dtype`.

        Returns
        -------
        Network

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit. If a layer reads another number of columns than the layer
            before computes, the message names both.

        Examples
        --------
        >>> from cmlp import Network
        >>> from cmlp.layers import Dense
        >>> net = Network([784, 128, 64, 10], activation="relu", loss="cross_entropy", seed=0)
        >>> other = Network.from_layers([*net.layers[:2], Dense(3, "softmax")], seed=0)
        >>> other.size
        [784, 128, 64, 3]
        """
        from cmlp._model.network_layers import build_state

        state = build_state(
            layers, inputs=inputs, loss=loss, init=init, dtype=dtype, seed=seed,
            compute_dtype=compute_dtype,
        )  # fmt: skip
        return cls._from_foreign(state)


def list_encoder_positions(architecture):
    """Return the indices of the input layers with parameters among all layers, a list of int."""
    return sorted({t.layer for t in architecture.tensors
                   if architecture.layers[t.layer].is_input_layer})  # fmt: skip


def select_positions(architecture, layers):
    """Return the indices, among all layers of an architecture, of those that `freeze` selects.

    Raises
    ------
    TypeError, ValueError
        If `layers` is not as for `LayerMethods.freeze`.
    """
    count = len(architecture.dense)
    first = len(architecture.layers) - count
    encoders = list_encoder_positions(architecture)
    if isinstance(layers, str):
        named = {"hidden": [*encoders, *range(first, first + count - 1)], "input": encoders}
        if layers not in named:
            raise ValueError(
                f"layers must be indices of layers, 'hidden' or 'input'; got {layers!r}"
            )
        found = named[layers]
    elif isinstance(layers, slice):
        found = [first + l for l in range(count)[layers]]
    else:
        is_index = isinstance(layers, (int, np.integer))
        given = [layers] if is_index else to_list("layers", layers, "indices of layers")
        found = [
            first + check_integer("an index of layers", l, -count, count - 1) % count for l in given
        ]
    if not found:
        raise ValueError(f"layers must select at least one layer with parameters; got {layers!r}")
    return found

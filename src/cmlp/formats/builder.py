"""A network put together from a sequence of another framework's layers."""

import numpy as np

from cmlp.activations import ACTIVATIONS
from cmlp.normalizations import BatchNorm


class Sequence:
    """What was seen so far: of each dense layer the parameters and what follows it."""

    def __init__(self):
        self.layers, self.input_dropout = [], 0.0
        self.dtype = "float32"

    def dense(self, weight, bias, dtype):
        """Add a dense layer: weight (outputs, inputs), bias (outputs,) or None."""
        self.dtype = "float64" if dtype == "float64" else "float32"
        bias = np.zeros(len(weight)) if bias is None else bias
        self.layers.append({"weight": weight, "bias": bias, "activation": None, "kind": None,
                            "dropout": 0.0})  # fmt: skip

    def last(self, place, what):
        """Return the dense layer that something follows."""
        if not self.layers:
            raise ValueError(f"layer {place}: {what} without a dense layer before it")
        return self.layers[-1]

    def batch_norm(self, place, kind, scale, shift, mean, variance):
        """Add a normalisation over batches."""
        layer = self.last(place, "a normalisation")
        self.check_first(place, layer)
        # The bias before it is no more than another mean.
        layer.update(kind=kind, mean=mean - layer["bias"], variance=variance)
        self.rescale(layer, scale, shift)

    def layer_norm(self, place, kind, scale, shift):
        """Add a normalisation over the layer."""
        layer = self.last(place, "a normalisation")
        self.check_first(place, layer)
        if layer["bias"].any():
            raise ValueError(
                f"layer {place}: a layer normalisation of sums with a bias is none that a "
                "network can have; its dense layer must be without"
            )
        layer.update(kind=kind)
        self.rescale(layer, scale, shift)

    def check_first(self, place, layer):
        """Raise unless nothing has followed the dense layer."""
        if layer["activation"] is not None or layer["kind"] is not None or layer["dropout"]:
            raise ValueError(f"layer {place}: a normalisation must follow its dense layer at once")

    def rescale(self, layer, scale, shift):
        """Take what a normalisation multiplies by and adds; None for neither."""
        n = len(layer["weight"])
        layer["scale"] = np.ones(n) if scale is None else scale
        layer["bias"] = np.zeros(n) if shift is None else shift

    def activation(self, place, activation):
        """Add an activation."""
        layer = self.last(place, f"the activation {activation.name!r}")
        if layer["activation"] is not None:
            raise ValueError(f"layer {place}: a second activation, {activation.name!r}")
        layer["activation"] = activation

    def dropout(self, place, rate):
        """Add dropout."""
        if not self.layers:
            self.input_dropout = rate
        else:
            self.layers[-1]["dropout"] = rate

    @property
    def output_name(self):
        """The name of the last activation."""
        activation = self.layers[-1]["activation"] if self.layers else None
        return activation.name if activation else "identity"

    def network(self, make, loss):
        """Return the network, made by `make` with the arguments of `Network`.

        Raises
        ------
        ValueError
            If the layers are none that a network can have.
        """
        if not self.layers:
            raise ValueError("there is no dense layer")
        *hidden, last = self.layers
        if last["kind"] is not None or last["dropout"]:
            raise ValueError("the last layer can have neither normalisation nor dropout")
        activations = [layer["activation"] or ACTIVATIONS["identity"] for layer in self.layers]
        net = make(
            [hidden_or_last["weight"].shape[1] for hidden_or_last in self.layers]
            + [len(last["weight"])],
            activation=activations[:-1], output=activations[-1], loss=loss, init="zeros",
            dtype=self.dtype, dropout=[layer["dropout"] for layer in hidden],
            input_dropout=self.input_dropout,
            normalization=[layer["kind"] for layer in hidden], seed=0,
        )  # fmt: skip
        for l, layer in enumerate(self.layers):
            net.weight[l] = layer["weight"]
            net.bias[l] = layer["bias"][:, None]
            if layer["kind"] is not None:
                net.scale[l] = layer["scale"][:, None]
            if isinstance(layer["kind"], BatchNorm):
                net.running_mean[l] = layer["mean"][:, None]
                net.running_variance[l] = layer["variance"][:, None]
        return net

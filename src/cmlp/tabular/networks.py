"""The networks and optimizers of RealMLP for an encoded table."""

import numpy as np

from cmlp import layers
from cmlp.activations import parametric
from cmlp.network import Network
from cmlp.optimizers import AdamW

# Names of the tensors that a factor of the learning rate applies to; see `AdamW`'s lr_factors.
NUMERIC_TENSORS = "frequency", "phase", "periodic_weight", "periodic_bias"


class InputColumns:
    """The columns of a network's input: numbers, indicators, few categories, many categories.

    Parameters
    ----------
    encoder : TableEncoder
        Fitted.
    max_one_hot : int or None
        Columns with more categories than this have embeddings; None: none has.

    Attributes
    ----------
    max_one_hot : int or None
    n_numeric, n_dense, width : int
        Number of numeric columns, of those with the indicators, and of all.
    one_hot, embedded : ndarray of int
        Indices of `encoder.cardinalities_`, in the order of the columns.
    """

    def __init__(self, encoder, max_one_hot):
        self.max_one_hot, sizes = max_one_hot, encoder.cardinalities_
        has_embedding = np.zeros(len(sizes), bool) if max_one_hot is None else sizes > max_one_hot
        self.one_hot, self.embedded = np.flatnonzero(~has_embedding), np.flatnonzero(has_embedding)
        self.sizes = [max(1, int(size)) for size in sizes]
        self.n_numeric = len(encoder.numeric_columns_)
        self.n_dense = self.n_numeric + int(encoder.has_missing_.sum())
        self.width = self.n_dense + len(sizes)

    def join(self, table, dtype):
        """Return an `EncodedTable` as one matrix, shape (n_rows, width)."""
        X = np.empty((len(table.numeric), self.width), dtype)
        X[:, : self.n_dense] = table.numeric
        for target, source in enumerate([*self.one_hot, *self.embedded], self.n_dense):
            X[:, target] = table.codes[:, source]
        return X

    def make_layers(self, settings):
        """Return the input layers.

        The widest output comes last, as later layers would copy it. Embeddings are the last
        columns, which move no others; numeric embeddings move the columns of one-hot codes.
        """
        first, moved = self.n_dense + len(self.one_hot), 0
        found = []
        if len(self.embedded):
            columns, sizes = range(first, self.width), [self.sizes[i] for i in self.embedded]
            found.append(layers.Embedding(columns, sizes, settings.category_dim))
        if self.n_numeric and settings.numeric_embedding is not None:
            found.append(layers.Periodic(
                range(self.n_numeric), settings.frequencies, settings.embedding_outputs,
                settings.frequency_scale, settings.numeric_embedding,
            ))  # fmt: skip
            moved = self.n_numeric * (settings.embedding_outputs - 1)
        if len(self.one_hot):
            columns = range(self.n_dense + moved, first + moved)
            found.append(layers.OneHot(columns, [self.sizes[i] for i in self.one_hot]))
        if settings.input_scale:
            found.append(layers.Scale())
        return found


def make_network(columns, settings, n_outputs, loss, seed, dtype, compute_dtype):
    """Return a network whose weights are drawn from the seed.

    Parameters
    ----------
    columns : InputColumns
    settings : Settings
    n_outputs : int
    loss : cmlp.losses.Loss
    seed : int
    dtype, compute_dtype : str or None
        As for `Network`.
    """
    activation = settings.activation
    if settings.parametric_activation and not isinstance(activation, (list, tuple)):
        activation = parametric(activation)
    network = Network(
        [columns.width, *settings.hidden_layer_sizes, n_outputs], activation=activation,
        output="softmax" if loss.name == "cross_entropy" else None, loss=loss,
        init="lecun_normal", dtype=dtype, compute_dtype=compute_dtype, dropout=settings.dropout,
        input_layers=columns.make_layers(settings), seed=seed,
    )  # fmt: skip
    if settings.init == "normal":
        rng = np.random.default_rng(seed)
        for bias in network.bias[:-1]:
            bias[:] = rng.standard_normal(bias.shape)
        network.weight[-1][:] = 0
    return network


def make_optimizer(network, settings, weight_decay_mode):
    """Return the optimizer of a network.

    Parameters
    ----------
    network : Network
    settings : Settings
    weight_decay_mode : {"once", "twice"}
        How often a factor of the learning rate multiplies the decay.
    """
    names = {tensor.name for tensor in network.state.parameters.tensors}
    factors = {
        "input_scale": settings.scale_lr_factor, "bias": settings.bias_lr_factor,
        "alpha": settings.alpha_lr_factor, "embedding": settings.category_lr_factor,
        **dict.fromkeys(NUMERIC_TENSORS, settings.numeric_lr_factor),
    }  # fmt: skip
    factors = {name: factor for name, factor in factors.items() if name in names}
    decay_factors = {**factors, "bias": 0.0} if weight_decay_mode == "twice" else {"bias": 0.0}
    return AdamW(
        settings.learning_rate, settings.betas, settings.epsilon, settings.weight_decay,
        lr_factors=factors, decay_factors=decay_factors, parametrization="ntk",
    )  # fmt: skip

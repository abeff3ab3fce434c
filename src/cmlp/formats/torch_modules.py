"""PyTorch modules that PyTorch itself does not have."""

import math

import torch
from torch import nn

TWO_PI = 2 * math.pi


class Parametric(nn.Module):
    """The activation z + alpha (f(z) - z); see `cmlp.activations.parametric`.

    Parameters
    ----------
    f : torch.nn.Module
    alpha : torch.Tensor, shape (units,)
    """

    def __init__(self, f, alpha):
        super().__init__()
        self.f, self.alpha = f, nn.Parameter(alpha)

    def forward(self, z):
        """Return the activations of the pre-activations z, shape (n, units)."""
        return z + self.alpha * (self.f(z) - z)


class ColumnEncoder(nn.Module):
    """Base class of the input layers: replaces some columns and copies the others.

    A subclass has the method `compute`, which returns the computed columns for those that it
    replaces.

    Parameters
    ----------
    column, kept : sequence of int
        Indices of the columns that are replaced, and of those that are copied.
    order : sequence of int
        Index of each output in [copied columns, computed columns].
    """

    column: torch.Tensor
    kept: torch.Tensor
    order: torch.Tensor

    def __init__(self, column, kept, order):
        super().__init__()
        for name, indices in (("column", column), ("kept", kept), ("order", order)):
            self.register_buffer(name, torch.as_tensor(indices, dtype=torch.long), persistent=False)

    def compute(self, x):
        """Return the computed columns for columns x, shape (n, columns)."""
        raise NotImplementedError

    def forward(self, x):
        """Return the outputs for inputs x, shape (n, inputs)."""
        return torch.cat([x[:, self.kept], self.compute(x[:, self.column])], 1)[:, self.order]


class Scale(nn.Module):
    """A factor for each column; see `cmlp.layers.Scale`.

    Parameters
    ----------
    factor : torch.Tensor, shape (columns,)
    """

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(factor)

    def forward(self, x):
        """Return the scaled columns of x, shape (n, columns)."""
        return x * self.factor


class OneHot(ColumnEncoder):
    """A column for each category, or one of -1 and 1 for two; see `cmlp.layers.OneHot`.

    Parameters
    ----------
    categories : sequence of int
        Number of categories of each column.
    column, kept, order
        As for `ColumnEncoder`.
    """

    source: torch.Tensor
    code: torch.Tensor
    is_pair: torch.Tensor

    def __init__(self, categories, column, kept, order):
        super().__init__(column, kept, order)
        outputs = [
            (i, code, count == 2)
            for i, count in enumerate(categories)
            for code in ([2] if count == 2 else range(1, count + 1))
        ]
        source, code, is_pair = zip(*outputs, strict=True)
        self.register_buffer("source", torch.tensor(source), persistent=False)
        self.register_buffer("code", torch.tensor(code), persistent=False)
        self.register_buffer("is_pair", torch.tensor(is_pair), persistent=False)

    def compute(self, x):
        """Return the columns of the categories."""
        x = x[:, self.source]
        return (x == self.code).to(x.dtype) - (self.is_pair & (x == 1)).to(x.dtype)


class Embedding(ColumnEncoder):
    """A vector for each category, zeros for code 0; see `cmlp.layers.Embedding`.

    Parameters
    ----------
    weight : torch.Tensor, shape (all categories, dim)
    categories : sequence of int
        Number of categories of each column.
    column, kept, order
        As for `ColumnEncoder`.
    """

    categories: torch.Tensor
    first: torch.Tensor

    def __init__(self, weight, categories, column, kept, order):
        super().__init__(column, kept, order)
        self.weight = nn.Parameter(weight)
        counts = torch.as_tensor(categories, dtype=torch.long)
        self.register_buffer("categories", counts, persistent=False)
        self.register_buffer("first", counts.cumsum(0) - counts, persistent=False)

    def compute(self, x):
        """Return the vectors, side by side."""
        is_code = (x == x.floor()) & (x >= 1) & (x <= self.categories)
        rows = torch.where(is_code, x - 1, 0).long() + self.first
        return (self.weight[rows] * is_code.unsqueeze(2)).flatten(1)


class Periodic(ColumnEncoder):
    """Sines and cosines with learned frequencies; see `cmlp.layers.Periodic`.

    Parameters
    ----------
    frequency : torch.Tensor, shape (columns, frequencies)
    phase : torch.Tensor, shape (columns, frequencies), or None
    weight : torch.Tensor, shape (columns, features, outputs of the linear map)
    bias : torch.Tensor, shape (columns, outputs of the linear map)
    rectifies, keeps_value : bool
        Whether relu is applied; whether the number itself is the last output.
    column, kept, order
        As for `ColumnEncoder`.
    """

    def __init__(self, frequency, phase, weight, bias, rectifies, keeps_value, column, kept, order):
        super().__init__(column, kept, order)
        self.frequency, self.weight = nn.Parameter(frequency), nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.phase = None if phase is None else nn.Parameter(phase)
        self.rectifies, self.keeps_value = rectifies, keeps_value

    def compute(self, x):
        """Return the embeddings, side by side."""
        turns = x.unsqueeze(2) * self.frequency
        if self.phase is not None:
            turns = turns + self.phase / TWO_PI
        # Reduced in turns, where it is exact, as cmlp does.
        angle = (turns - turns.detach().round()) * TWO_PI
        features = angle.cos()
        if self.phase is None:
            features = torch.cat([features, angle.sin()], 2)
        outputs = torch.einsum("ncf,cfo->nco", features, self.weight) + self.bias
        if self.rectifies:
            outputs = outputs.relu()
        if self.keeps_value:
            outputs = torch.cat([outputs, x.unsqueeze(2)], 2)
        return outputs.flatten(1)

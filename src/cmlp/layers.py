"""Layers: `Network(..., input_layers=[...])` and `Network.from_layers([...])`.

Input layers compute the input of the first dense layer, in the order in which they are given, and
their parameters are trained with the network's. Each replaces some columns by its outputs, in
place, and copies the others; column indices refer to the columns that the layer reads. `Dense` is a
dense layer for `from_layers`.
"""

from cmlp._model.layers.dense import Dense
from cmlp._model.layers.encoders import Embedding, OneHot, Periodic, Scale

__all__ = ["Dense", "Embedding", "OneHot", "Periodic", "Scale"]

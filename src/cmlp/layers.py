"""Input layers of a network: `Network(..., input_layers=[...])`.

They compute the input of the first dense layer, in the order in which they are given, and their
parameters are trained with the network's. Each replaces some columns by its outputs, in place, and
copies the others; column indices refer to the columns that the layer reads.
"""

from cmlp._model.layers.encoders import Embedding, OneHot, Periodic, Scale

__all__ = ["Embedding", "OneHot", "Periodic", "Scale"]

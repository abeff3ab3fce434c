"""`Gradient`: derivatives with respect to all parameters of a network."""

from numbers import Real

from cmlp._model.parameters import LayerViews


class Gradient:
    """The gradient of a number with respect to all parameters of a network.

    Gradients of networks with the same layers can be added, and multiplied by numbers.

    Parameters
    ----------
    tensors : TensorBlock
        The derivatives, in the layout of the parameters.
    loss : float, optional

    Attributes
    ----------
    tensors : TensorBlock
    loss : float or None
        The number itself, if it is a mean loss.
    weight, bias, scale, alpha : list of ndarray
        Views for each dense layer, shaped like the network's attributes of these names; None for a
        layer without such a tensor.
    """

    def __init__(self, tensors, loss=None):
        self.tensors, self.loss = tensors, loss

    def _get_views(self, name):
        views = {tensor.number: view for tensor, view in self.tensors.views.items()
                 if tensor.name == name}  # fmt: skip
        numbers = [tensor.number for tensor in self.tensors.tensors if tensor.name == "weight"]
        return LayerViews(name, [views.get(number) for number in numbers])

    weight = property(lambda self: self._get_views("weight"))
    bias = property(lambda self: self._get_views("bias"))
    scale = property(lambda self: self._get_views("scale"))
    alpha = property(lambda self: self._get_views("alpha"))

    def __add__(self, other):
        if not isinstance(other, Gradient):
            return NotImplemented
        if other.tensors.tensors != self.tensors.tensors:
            raise ValueError("gradients must be those of networks with the same layers to be added")
        result = Gradient(self.tensors.make_zeros())
        result.tensors.block[:] = self.tensors.block + other.tensors.block
        return result

    def __mul__(self, factor):
        if not isinstance(factor, Real):
            return NotImplemented
        result = Gradient(self.tensors.make_zeros())
        result.tensors.block[:] = self.tensors.block * self.tensors.dtype.type(factor)
        return result

    __rmul__ = __mul__

    def to_dict(self):
        """Return the derivatives by the names that files use, such as ``"weight_0"``; views."""
        return {tensor.key: view for tensor, view in self.tensors.views.items()}

    def __repr__(self):
        loss = "" if self.loss is None else f", loss={self.loss:.6g}"
        return f"<Gradient with respect to {', '.join(self.to_dict())}{loss}>"

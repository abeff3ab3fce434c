"""PyTorch modules that PyTorch itself does not have."""

from torch import nn


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

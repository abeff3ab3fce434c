"""What training keeps while it runs: the optimizer at work, and the place where it is."""

from contextlib import contextmanager
from typing import NamedTuple

from cmlp._core import epochs as engine


class Running:
    """An optimizer at work: what the engine runs, and the blocks that it keeps.

    Parameters
    ----------
    network : Network
    optimizer : cmlp.optimizers.Optimizer

    Attributes
    ----------
    blocks : dict of ndarray
        The gradient, the states, and the averaged parameters, all as the parameters lie.
    ended : bool
        Whether the network has the averaged parameters, and `blocks` those in training.
    """

    def __init__(self, network, optimizer):
        self.blocks, self.ended = {}, False
        if optimizer.kernel != "sgd":
            names = ["gradient", *(f"{optimizer.keeps}_{i}" for i in range(optimizer.states))]
            parameters = [network._new_parameters() for _ in names]
            self.blocks = {n: p.block for n, p in zip(names, parameters, strict=True)}
            parameters[1].block[:] = optimizer.initial
        means = None
        if optimizer.average is not None:
            means = network._new_parameters()
            means.block[:] = network._parameters.block
            self.blocks["average"] = means.block
        biases = optimizer.of_biases
        self.engine = engine.Optimizer(
            optimizer.kernel, optimizer.hyper, biases.hyper, (optimizer.l1, biases.l1),
            (optimizer.l2, biases.l2), clip_value=optimizer.clip_value or 0,
            clip_norm=optimizer.clip_norm or 0,
            penalty=-1 if optimizer.penalty is None else optimizer.penalty,
            accumulate=optimizer.accumulate,
            gradient=parameters[0].padded if self.blocks else None,
            states=[p.padded for p in parameters[1:]] if self.blocks else (),
            means=means and means.padded, average=1 - (optimizer.average or 0),
        )  # fmt: skip

    def begin(self, network):
        """Before training: the network gets the parameters back that are in training."""
        if self.ended:
            self.swap(network)
            self.ended = False

    def end(self, network):
        """After training: the network gets the averaged parameters, where there are some."""
        self.swap(network)
        self.ended = "average" in self.blocks

    @contextmanager
    def averaged(self, network):
        """Within it the network has the averaged parameters, where there are some."""
        self.swap(network)
        try:
            yield
        finally:
            self.swap(network)

    def swap(self, network):
        """Let the network's parameters and their average change places."""
        if "average" in self.blocks:
            mean, block = self.blocks["average"], network._parameters.block
            mean[:], block[:] = block.copy(), mean.copy()


class Place(NamedTuple):
    """Where training is: one object, so that an interruption never sees half of it.

    Attributes
    ----------
    epoch, part : int
        The epoch, and the part of it.
    live : cmlp._core.epochs.Epoch or None
        The part at work, which knows how far it is.
    begun : int
        The samples of the part that were done before it.
    loss, weight, penalty : float
        The epoch's sums before the part.
    trained : int
        The epoch's samples before the part.
    seconds : float
        The epoch's seconds before the part.
    lr : float
        The last learning rate.
    """

    epoch: int = 0
    part: int = 0
    live: engine.Epoch | None = None
    begun: int = 0
    loss: float = 0.0
    weight: float = 0.0
    penalty: float = 0.0
    trained: int = 0
    seconds: float = 0.0
    lr: float = 0.0

    @property
    def done(self):
        """The samples of the part that are done."""
        return self.begun if self.live is None else self.live.done

    @property
    def sums(self):
        """The epoch's sums of losses, weights and penalties."""
        at = self if self.live is None else self.live
        return at.loss, at.weight, at.penalty

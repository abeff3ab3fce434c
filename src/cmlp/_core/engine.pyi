from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from numpy import float64, floating, uint32
from numpy.typing import NDArray

from cmlp._core.samples import Rows, Targets

HAVE_THREADS: bool

# Of each layer the weights and the bias, padded.
Arrays: TypeAlias = tuple[Sequence[NDArray[floating]], Sequence[NDArray[floating]]]

def shuffle(order: NDArray[uint32], seed: int, epoch: int) -> None: ...

class Optimizer:
    def __init__(
        self,
        name: str,
        hyper: Sequence[float] = (),
        l2: float = 0,
        gradient: Arrays | None = None,
        states: Sequence[Arrays] = (),
    ) -> None: ...

class Program:
    def __init__(
        self,
        weights: Sequence[NDArray[floating]],
        biases: Sequence[NDArray[floating]],
        outputs: Sequence[int],
        activations: Sequence[int],
        loss: int,
        parameter: float = 0,
    ) -> None: ...
    def train(
        self,
        rows: Rows,
        targets: Targets,
        order: NDArray[uint32] | None,
        batch_size: int,
        rate: float,
        threads: int,
        tick: Callable[[int], object] | None = None,
        optimizer: Optimizer | None = None,
        rates: NDArray[float64] | None = None,
    ) -> tuple[float, float, int]: ...
    def gradient(
        self,
        rows: Rows,
        targets: Targets,
        weights: Sequence[NDArray[floating]],
        biases: Sequence[NDArray[floating]],
        threads: int,
    ) -> float: ...
    def infer(
        self,
        rows: Rows,
        targets: Targets | None,
        order: NDArray[uint32] | None,
        out: NDArray[floating],
        threads: int,
        checks: bool = False,
    ) -> float | None: ...
    def plan(self, batch: int, threads: int, entries: int = 0) -> tuple[int, list[str]]: ...
    def outputs(self, array: Any) -> NDArray[floating] | None: ...

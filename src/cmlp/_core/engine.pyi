from collections.abc import Callable, Sequence
from typing import Any

from numpy import floating, uint32
from numpy.typing import NDArray

HAVE_THREADS: bool

def shuffle(order: NDArray[uint32], seed: int, epoch: int) -> None: ...

class Rows:
    def __init__(self, array: NDArray[Any]) -> None: ...
    def __len__(self) -> int: ...
    def first_not_finite(self) -> int: ...

class Targets:
    @property
    def n(self) -> int: ...
    def __init__(self, array: NDArray[Any]) -> None: ...

class Program:
    def __init__(
        self,
        weights: Sequence[NDArray[floating]],
        biases: Sequence[NDArray[floating]],
        outputs: Sequence[int],
        activations: Sequence[int],
        loss: int,
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
    ) -> float: ...

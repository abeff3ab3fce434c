from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeAlias

from numpy import float64, floating, uint32
from numpy.typing import NDArray

from cmlp._core.engine import Program
from cmlp._core.samples import Rows, Tally, Targets

BREATH: float

# Of each layer the weights, the bias and the scale, padded.
Arrays: TypeAlias = Sequence[tuple[NDArray[floating], NDArray[floating], NDArray[floating] | None]]

def shuffle(order: NDArray[uint32], seed: int, epoch: int) -> None: ...

class Optimizer:
    position: tuple[int, float]
    @property
    def plain(self) -> bool: ...
    def __init__(
        self,
        name: str,
        hyper: Sequence[float] = (),
        bias_hyper: Sequence[float] = (),
        l1: tuple[float, float] = (0, 0),
        l2: tuple[float, float] = (0, 0),
        clip_value: float = 0,
        clip_norm: float = 0,
        penalty: float = -1,
        accumulate: int = 1,
        gradient: Arrays | None = None,
        states: Sequence[Arrays] = (),
        means: Arrays | None = None,
        average: float = 0,
    ) -> None: ...

class Epoch:
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def weight(self) -> float: ...
    @property
    def penalty(self) -> float: ...
    @property
    def mean_loss(self) -> float: ...
    @property
    def last_loss(self) -> float: ...
    @property
    def diverged(self) -> bool: ...
    def __init__(
        self,
        program: Program,
        rows: Rows,
        targets: Targets,
        order: NDArray[uint32] | None,
        batch_size: int,
        rate: float,
        threads: int,
        *,
        optimizer: Optimizer | None = None,
        rates: NDArray[float64] | None = None,
        noise: tuple[int, int] | None = None,
        tally: Tally | None = None,
        loss: Callable[[NDArray[floating], Any], tuple[float, NDArray[floating]]] | None = None,
        values: NDArray[Any] | None = None,
        part: tuple[int, int, int] | None = None,
    ) -> None: ...
    def __enter__(self) -> Epoch: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def resume(self, done: int, loss: float, weight: float, penalty: float) -> None: ...
    def run(self, steps: int = 0, seconds: float = ...) -> bool: ...

def train(
    program: Program,
    rows: Rows,
    targets: Targets,
    order: NDArray[uint32] | None,
    batch_size: int,
    rate: float,
    threads: int,
    tick: Callable[[int], object] | None = None,
    **options: Any,
) -> tuple[float, float]: ...

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from numpy import floating, uint32
from numpy.typing import NDArray

from cmlp._core.inputs import MetricSums, Rows, Targets
from cmlp._core.program import Program

TIME_SLICE: float

def shuffle(order: NDArray[uint32], seed: int, epoch: int) -> None: ...

class OptimizerKernel:
    position: tuple[int, float]
    @property
    def is_plain(self) -> bool: ...
    def __init__(
        self,
        name: str,
        groups: Sequence[Any] = (),
        group_of: dict[int, int] | None = None,
        clip_value: float = 0,
        clip_norm: float = 0,
        penalty: float = -1,
        accumulate: int = 1,
        gradient: NDArray[floating] | None = None,
        states: Sequence[NDArray[floating]] = (),
        mean: NDArray[floating] | None = None,
        mean_rate: float = 0,
    ) -> None: ...

def apply_optimizer(
    program: Program, rows: Rows, optimizer: OptimizerKernel, rate: float
) -> None: ...

class EpochRun:
    @property
    def done(self) -> int: ...
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
    def has_diverged(self) -> bool: ...
    def __init__(
        self,
        program: Program,
        rows: Rows,
        targets: Targets,
        order: NDArray[uint32] | None,
        batch_size: int,
        settings: Any,
        threads: int,
        *,
        optimizer: OptimizerKernel | None = None,
        noise: tuple[int, int] | None = None,
        sums: MetricSums | None = None,
        loss: Callable[[NDArray[floating], Any], tuple[float, NDArray[floating]]] | None = None,
        values: NDArray[Any] | None = None,
        chunk: tuple[int, int, int] | None = None,
    ) -> None: ...
    def __enter__(self) -> EpochRun: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def restart(
        self,
        order: NDArray[uint32] | None,
        settings: Any,
        epoch: int,
    ) -> None: ...
    def resume(self, done: int, loss: float, weight: float, penalty: float) -> None: ...
    def run(self, steps: int = 0, seconds: float = ...) -> bool: ...

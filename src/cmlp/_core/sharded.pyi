from collections.abc import Callable
from types import TracebackType
from typing import Any

from numpy import float64, int64, uint32
from numpy.typing import NDArray

from cmlp._core.inputs import Rows, Targets
from cmlp._core.program import Program
from cmlp._core.training import OptimizerKernel

class ShardedRun:
    is_synchronized: bool
    @property
    def done(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def weight(self) -> float: ...
    @property
    def penalty(self) -> float: ...
    @property
    def last_loss(self) -> float: ...
    @property
    def has_diverged(self) -> bool: ...
    def __init__(
        self,
        program: Program,
        rows: Rows,
        targets: Targets,
        order: NDArray[uint32],
        bounds: NDArray[int64],
        positions: NDArray[int64],
        sizes: NDArray[int64],
        weights: NDArray[float64],
        batch_size: int,
        total: int,
        settings: Any,
        threads: int,
        *,
        optimizer: OptimizerKernel,
        noise: tuple[int, int] | None = None,
        metrics: object | None = None,
        exchange: Callable[..., None] | None = None,
        sync_every: int = 0,
    ) -> None: ...
    def __enter__(self) -> ShardedRun: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def resume(self, done: int, loss: float, weight: float, penalty: float) -> None: ...
    def update(self, first: int = 0, size: int = 0) -> None: ...
    def run(self, steps: int = 0, seconds: float = ...) -> bool: ...

from collections.abc import Callable, Sequence
from typing import Any

from numpy import floating, uint32
from numpy.typing import NDArray

from cmlp._core.epochs import Arrays
from cmlp._core.samples import Rows, Tally, Targets

HAVE_THREADS: bool

class Program:
    def __init__(
        self,
        layers: Sequence[dict[str, Any]],
        loss: int,
        parameter: float = 0,
        input_dropout: float = 0,
        input_noise: float = 0,
        max_norm: float = 0,
    ) -> None: ...
    def gradient(
        self,
        rows: Rows,
        targets: Targets,
        gradients: Arrays,
        threads: int,
        momentum: float = 0,
    ) -> float: ...
    def infer(
        self,
        rows: Rows,
        targets: Targets | None,
        order: NDArray[uint32] | None,
        out: NDArray[floating] | None,
        threads: int,
        checks: bool = False,
        tally: Tally | None = None,
        tick: Callable[[int], object] | None = None,
    ) -> float | None: ...
    def plan(self, batch: int, threads: int, entries: int = 0) -> tuple[int, list[str]]: ...
    def outputs(self, array: Any) -> NDArray[floating] | None: ...

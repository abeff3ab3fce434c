from collections.abc import Callable, Sequence
from typing import Any

from numpy import dtype, floating, uint32
from numpy.typing import NDArray

from cmlp._core.inputs import MetricSums, Rows, Targets

INPUT_PARAMETERS: dict[str, str]
LAYERS: dict[str, Callable[[Program, Any, dict[str, int]], None]]

class Program:
    @property
    def dtype(self) -> dtype[Any]: ...
    def __init__(
        self,
        inputs: int,
        layers: Sequence[tuple[Any, dict[str, int]]],
        loss: Any,
        parameters: NDArray[floating],
        statistics: NDArray[floating],
        rounds: bool = False,
        segments: Sequence[tuple[int, int]] = (),
    ) -> None: ...
    def gradient(
        self,
        rows: Rows,
        targets: Targets,
        gradient_block: NDArray[floating],
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
        check_finite: bool = False,
        sums: MetricSums | None = None,
        tick: Callable[[int], object] | None = None,
        layers: int = 0,
    ) -> float | None: ...
    def is_finite(self) -> bool: ...
    def plan(self, batch_size: int, threads: int) -> tuple[int, list[str]]: ...
    def predict_few(self, array: Any) -> NDArray[floating] | None: ...

def add_input_layer(program: Program, specification: Any, offsets: dict[str, int]) -> None: ...
def add_dense(program: Program, specification: Any, offsets: dict[str, int]) -> None: ...
def divide_all_work(enable: bool) -> None: ...
def compute_derivatives(
    program: Program,
    rows: Rows,
    seed: NDArray[floating] | None,
    inputs: NDArray[floating] | None,
    out: NDArray[floating] | None,
    gradient_block: NDArray[floating] | None,
    threads: int,
    count: int = 1,
    first_output: int = 0,
) -> None: ...
def descend(program: Program, gradient_block: NDArray[floating], rate: float) -> bool: ...
def differentiate_few(
    program: Program, array: Any, output: int = -1
) -> NDArray[floating] | None: ...
def multiply_few(
    program: Program,
    array: Any,
    seed: Any,
    gradient_block: NDArray[floating],
    wants_inputs: bool = True,
) -> Any: ...

from collections.abc import Callable, Sequence
from typing import Any

from numpy import float32, int8, int32, uint8
from numpy.typing import NDArray

from cmlp._core.inputs import MetricSums, Rows, Targets

MAX_INPUTS: int
SUM_MAX: int
PIECEWISE_LINEAR: dict[str, Callable[[float], tuple[float, float, float]]]

class QuantizedProgram:
    def __init__(self, layers: Sequence[Any]) -> None: ...
    def infer(
        self,
        rows: Rows,
        out: NDArray[float32],
        threads: int,
        tick: Callable[[int], object] | None = None,
    ) -> bool: ...
    def plan(self, batch_size: int, threads: int) -> tuple[int, list[str]]: ...
    def predict_few(self, array: Any) -> NDArray[float32] | None: ...

def sum_products(
    weight: NDArray[int8], start: NDArray[int32], operands: NDArray[uint8]
) -> NDArray[int32]: ...
def compute_layer(
    activation: Any,
    outputs: int,
    x: NDArray[float32],
    w: NDArray[float32],
    bias: NDArray[float32],
    out: NDArray[float32],
    normalization: tuple[NDArray[float32], NDArray[float32], float] | None = None,
) -> None: ...
def accumulate_metrics(
    activation: Any, loss: Any, out: NDArray[float32], targets: Targets, sums: MetricSums
) -> None: ...

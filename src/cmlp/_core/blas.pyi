from typing import TypeVar

from numpy import float32, float64
from numpy.typing import NDArray

Real = TypeVar("Real", float32, float64)

def install(
    sgemm: int,
    dgemm: int,
    ilp64: bool,
    set_threads: int = 0,
    get_threads: int = 0,
) -> None: ...
def multiply(a: NDArray[Real], b: NDArray[Real], c: NDArray[Real]) -> None: ...

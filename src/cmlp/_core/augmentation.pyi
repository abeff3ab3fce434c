from collections.abc import Sequence

from numpy import float32, float64, uint32
from numpy.typing import NDArray

from cmlp._core.inputs import Rows

class Distorter:
    limits: tuple[NDArray[float64], ...]
    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        limits: Sequence[NDArray[float64]],
        fill: float,
        filters: tuple[NDArray[float32], NDArray[float32]] | None,
    ) -> None: ...

class Drawing:
    def __init__(
        self,
        distorter: Distorter,
        rows: Rows,
        index: NDArray[uint32],
        seed: int,
        epoch: int,
        out: Rows,
    ) -> None: ...
    def run(self, threads: int = 1) -> None: ...

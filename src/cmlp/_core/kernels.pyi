from typing import TypeVar

from numpy import float32, float64, int32
from numpy.typing import NDArray

Real = TypeVar("Real", float32, float64)

class Memory:
    def __init__(self, size: int) -> None: ...
    def __buffer__(self, flags: int) -> memoryview: ...

class ActivationInfo:
    code: int
    parameters: int
    stores_slope: bool
    threshold: float

class LossInfo:
    code: int
    parameters: int
    log_link: bool
    blocks: int

class OptimizerInfo:
    code: int
    states: int

class InputLayerInfo:
    code: int
    has_sparse_form: bool

class SparsePolicy:
    max_density: float
    min_columns: int
    wide_max_density: float
    tiles_max_density: float
    wide_vector_bytes: int
    wide_layer_bytes: int
    wide_batch_rows: int

ISA: str
NAMES: tuple[str, ...]
MAX_RECYCLED_BYTES: int
PAD: int
PAGE_BYTES: int
BLEND: int
INVERSE_BLEND: int
ENCODERS: dict[str, int]
MAX_ENCODERS: int
PERIODIC_FREQUENCIES: int
ACTIVATIONS: dict[str, ActivationInfo]
LOSSES: dict[str, LossInfo]
OPTIMIZERS: dict[str, OptimizerInfo]
INPUT_LAYERS: dict[str, InputLayerInfo]
POLICY: SparsePolicy

def list_available() -> tuple[str, ...]: ...
def choose(wanted: str | None = None) -> None: ...
def get_vector_bytes() -> int: ...
def affine(
    a: NDArray[Real],
    w: NDArray[Real],
    bias: NDArray[Real],
    c: NDArray[Real],
    columns: int = 0,
    relu: bool = False,
) -> None: ...
def affine_backward(
    d: NDArray[Real], w: NDArray[Real], c: NDArray[Real], outputs: NDArray[Real] | None = None
) -> None: ...
def accumulate(a: NDArray[Real], d: NDArray[Real], w: NDArray[Real], columns: int = 0) -> None: ...
def accumulate_affine(
    a: NDArray[Real],
    d: NDArray[Real],
    w: NDArray[Real],
    next_: NDArray[Real],
    bias: NDArray[Real],
    c: NDArray[Real],
) -> None: ...
def get_shared_pass_rows() -> int: ...
def multiply_adds(itemsize: int, rounds: int) -> int: ...
def accumulate_bias(d: NDArray[Real], bias: NDArray[Real]) -> None: ...
def has_bfloat16() -> bool: ...
def uses_tiles(inputs: int, outputs: int) -> bool: ...
def count_units(elements: int) -> int: ...
def round_rows(a: NDArray[float32], out: NDArray[float32]) -> None: ...
def bf16_affine(
    k: int,
    a: NDArray[float32],
    w: NDArray[float32],
    bias: NDArray[float32],
    c: NDArray[float32],
) -> None: ...
def bf16_affine_backward(
    n: int, d: NDArray[float32], w: NDArray[float32], c: NDArray[float32]
) -> None: ...
def bf16_accumulate(
    a: NDArray[float32], d: NDArray[float32], factor: float, w: NDArray[float32]
) -> None: ...
def stores_slope(activation: str) -> bool: ...
def activate(
    activation: str,
    outputs: int,
    a: NDArray[Real],
    slopes: NDArray[Real] | None = None,
    parameter: float = 0,
) -> None: ...
def activate_backward(
    activation: str, a: NDArray[Real], d: NDArray[Real], parameter: float = 0
) -> None: ...
def drop(rate: float, seed: int, epoch: int, layer: int, sample: int, x: NDArray[Real]) -> None: ...
def add_noise(deviation: float, seed: int, epoch: int, sample: int, x: NDArray[Real]) -> None: ...
def head(
    activation: str,
    loss: str,
    outputs: int,
    labels: NDArray[int32],
    scale: float,
    z: NDArray[Real],
    d: NDArray[Real],
    losses: NDArray[float64],
) -> None: ...

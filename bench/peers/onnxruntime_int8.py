"""ONNX Runtime in 8-bit integers: the model that cmlp exports (QDQ)."""

import tempfile
from pathlib import Path

from bench.peers.cmlp_int8 import CALIBRATION_ROWS
from cmlp import Network

FRACTION = 1.0


def prepare(job, X, y):
    import onnxruntime

    if job.epochs:
        return None
    net = Network(list(job.sizes), activation=job.activation, loss=job.loss, seed=0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        net.quantize(X[:CALIBRATION_ROWS]).to_onnx(path)
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )  # fmt: skip
    return lambda: session.run(None, {"X": X})

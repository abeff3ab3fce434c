"""The peers beside those of `cmlp._bench.peers`, which documents what their modules have."""

from cmlp._bench.peers import PEERS as PACKAGED
from cmlp._bench.peers import UNSUPPORTED

# Peer -> its module.
PEERS = {
    "cmlp": PACKAGED["cmlp"],
    "cmlp bfloat16": "bench.peers.cmlp_bfloat16",
    "cmlp int8": "bench.peers.cmlp_int8",
    "NumPy reference": PACKAGED["NumPy reference"],
    "scikit-learn": PACKAGED["scikit-learn"],
    "PyTorch": PACKAGED["PyTorch"],
    "PyTorch compiled": "bench.peers.torch_compiled",
    "PyTorch bfloat16": "bench.peers.torch_autocast",
    "JAX": "bench.peers.jax_scan",
    "ONNX Runtime": "bench.peers.onnxruntime_",
    "ONNX Runtime int8": "bench.peers.onnxruntime_int8",
}

__all__ = ["PEERS", "UNSUPPORTED"]

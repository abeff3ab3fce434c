"""The peers, one module for each, written as their users would write them.

A peer's module has

- ``FRACTION``: the fraction of a job's samples on which the peer is timed, below 1 for slow
  peers;
- ``prepare(job, X, y)``: returns a function without arguments that does the job once, or None
  if the peer does not support the job. Data may be converted and arranged in `prepare`; that is
  not timed.
"""

# Peer -> its module in this package.
PEERS = {
    "cmlp": "cmlp_",
    "cmlp bfloat16": "cmlp_bfloat16",
    "cmlp int8": "cmlp_int8",
    "NumPy reference": "numpy_",
    "scikit-learn": "sklearn_",
    "PyTorch": "torch_eager",
    "PyTorch compiled": "torch_compiled",
    "PyTorch bfloat16": "torch_autocast",
    "JAX": "jax_scan",
    "ONNX Runtime": "onnxruntime_",
    "ONNX Runtime int8": "onnxruntime_int8",
}

# A worker's answer if `prepare` returned None; reports omit the peer.
UNSUPPORTED = "does not support this job"

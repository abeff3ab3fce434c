"""One file a peer: what it needs, and `prepare`, which makes it ready to do a job.

A peer has

- `SHARE`: the part of a job's samples that it is timed on, below 1 where it is slow;
- `prepare(job, X, y)`: returns a function that does the job once, or None where the peer
  does not do such jobs. What may be laid out beforehand is laid out here.
"""

PEERS = {
    "cmlp": "cmlp_",
    "NumPy reference": "numpy_",
    "scikit-learn": "sklearn_",
    "PyTorch": "torch_eager",
    "PyTorch compiled": "torch_compiled",
    "JAX": "jax_scan",
    "ONNX Runtime": "onnxruntime_",
}

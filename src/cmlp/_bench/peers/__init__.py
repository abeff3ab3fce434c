"""The peers, one module for each, written as their users would write them.

A peer's module has

- ``FRACTION``: the fraction of a job's samples on which the peer is timed, below 1 for slow
  peers;
- ``prepare(job, X, y)``: returns a function without arguments that does the job once, or None
  if the peer does not support the job. Data may be converted and arranged in `prepare`; that is
  not timed.
"""

# Peer -> its module. ``python -m bench`` has more of them.
PEERS = {
    "cmlp": "cmlp._bench.peers.cmlp_",
    "NumPy reference": "cmlp._bench.peers.numpy_",
    "scikit-learn": "cmlp._bench.peers.sklearn_",
    "PyTorch": "cmlp._bench.peers.torch_eager",
}

# A worker's answer if `prepare` returned None; reports omit the peer.
UNSUPPORTED = "does not support this job"

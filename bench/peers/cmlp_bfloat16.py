"""cmlp with products of bfloat16 operands."""

from cmlp._bench.peers import cmlp_

FRACTION = cmlp_.FRACTION


def prepare(job, X, y):
    return cmlp_.prepare(job, X, y, compute_dtype="bfloat16")

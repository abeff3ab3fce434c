"""PyTorch with autocast to bfloat16."""

from cmlp._bench.peers import torch_eager

FRACTION = torch_eager.FRACTION


def prepare(job, X, y):
    return torch_eager.prepare(job, X, y, autocast=True)

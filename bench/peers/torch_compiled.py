"""PyTorch with the network compiled by `torch.compile`; the first, uncounted round compiles."""

from bench.peers import torch_eager

SHARE = torch_eager.SHARE


def prepare(job, X, y):
    return torch_eager.prepare(job, X, y, compiled=True)

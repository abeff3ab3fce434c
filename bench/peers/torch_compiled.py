"""PyTorch with `torch.compile`; the first run, which is not timed, compiles."""

from cmlp._bench.peers import torch_eager

FRACTION = torch_eager.FRACTION


def prepare(job, X, y):
    return torch_eager.prepare(job, X, y, compiled=True)

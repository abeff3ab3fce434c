"""PyTorch's DistributedDataParallel with gloo: a program for each rank, started by torchrun.

It needs PyTorch only. Its argument is a list of (layer sizes, batch size of all ranks, steps of an
epoch, timed epochs) as JSON; rank 0 writes a list of seconds per step. With one process it trains
without DistributedDataParallel.
"""

import json
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def time_steps(sizes, batch, steps, epochs, ranks):
    torch.manual_seed(0)
    layers = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(before, after), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    if ranks > 1:
        net = DistributedDataParallel(net)
    loss, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), 1e-4)
    own = batch // ranks
    X, y = torch.rand(own * steps, sizes[0]), torch.randint(sizes[-1], (own * steps,))
    times = []
    for _ in range(1 + epochs):
        if ranks > 1:
            dist.barrier()
        begin = time.perf_counter()
        order = torch.randperm(len(X))
        for start in range(0, len(X), own):
            rows = order[start : start + own]
            optimizer.zero_grad()
            loss(net(X[rows]), y[rows]).backward()
            optimizer.step()
        times.append((time.perf_counter() - begin) / steps)
    return statistics.median(times[1:])


def main():
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    torch.set_num_threads(1 if ranks > 1 else 2)
    if ranks > 1:
        dist.init_process_group("gloo")
    found = [time_steps(*case, ranks) for case in json.loads(sys.argv[1])]
    if ranks == 1 or dist.get_rank() == 0:
        print(json.dumps(found), flush=True)
    if ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

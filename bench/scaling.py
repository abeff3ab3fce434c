"""Time against width, batch and threads: a search for cliffs.

A cliff is a point that takes over 1.3 times as long as with fewer threads.
"""

import time

import numpy as np

from cmlp import SGD, Network
from cmlp.threads import available

WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 4, 16, 64, 256, 1024)
CLIFF = 1.3


def samples(width, batch):
    """Return how many samples give a measurable time that is not long."""
    wanted = int(min(20_000, 1e9 / width**2)) // batch * batch
    return max(wanted, batch if batch * width**2 > 1e8 else 8 * batch)


def point(width, batch, teams, rounds):
    """Return the least microseconds of a step for each team size, taking turns."""
    rng = np.random.default_rng(0)
    n = samples(width, batch)
    X, y = rng.random((n, width), dtype=np.float32), rng.integers(0, 10, n)
    nets = {
        team: Network([width, width, 10], activation="relu", loss="cross_entropy", seed=0)
        for team in teams
    }
    taken = {team: [] for team in teams}
    for round_ in range(rounds + 1):
        for team, net in nets.items():
            start = time.perf_counter()
            net.fit(X, y, epochs=1, batch_size=batch, optimizer=SGD(1e-4), threads=team,
                    sparse=False)  # fmt: skip
            if round_:
                taken[team].append((time.perf_counter() - start) / (n / batch) * 1e6)
    return {team: min(times) for team, times in taken.items()}


def report(rounds=3):
    """Return the times of a grid of widths and batches, and the cliffs among them."""
    teams = range(1, available() + 1)
    points, cliffs = [], []
    for width in WIDTHS:
        for batch in BATCHES:
            times = point(width, batch, teams, rounds)
            points.append({"width": width, "batch": batch, "microseconds": times})
            for team in teams[1:]:
                fewer = min(times[t] for t in teams if t < team)
                if times[team] > CLIFF * fewer:
                    cliffs.append({"width": width, "batch": batch, "threads": team,
                                   "times_slower": times[team] / fewer})  # fmt: skip
    return {"points": points, "cliffs": cliffs}

"""Measure peak memory while training on a file that is larger than the memory limit.

`python -m bench.memory` writes a file of 4 GB (float32, 784 columns) and trains one epoch on it
in a process that may allocate 400 MB beside mapped pages: first with the file mapped by
`numpy.memmap`, then reading it in batches with an iterable.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WIDTH = 784  # columns of the file
BLOCK_ROWS = 8192  # rows written at a time
LIMIT_MB = 400  # memory that the training process may allocate

TRAIN = """
import resource, sys, time
import numpy as np
from cmlp import Network
path, mode, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]) << 20
width = {width}
net = Network([width, 64, 10], activation="relu", loss="cross_entropy", seed=0)
if sys.platform.startswith("linux"):  # where the limit covers all private memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
X = np.memmap(path, np.float32, "r").reshape(-1, width)
y = np.arange(len(X), dtype=np.int32) % 10
start = time.perf_counter()
if mode == "mapped":
    net.fit(X, y, epochs=1, batch_size=256)
else:
    def batches():
        with open(path, "rb") as file:
            for first in range(0, len(y), 256):
                x = np.fromfile(file, np.float32, 256 * width).reshape(-1, width)
                yield x, y[first : first + 256]
    net.fit(batches, epochs=1)
seconds = time.perf_counter() - start
own = int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0]) >> 10
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
print(f"{{mode}}: {{len(X):,}} samples in {{seconds:.1f}} s, {{own}} MiB of its own at the end, "
      f"peak with mapped pages {{peak:,}} MiB")
"""


def generate(path, size):
    """Write a file of about `size` bytes: float32 uniform noise with 30% zeros."""
    rng = np.random.default_rng(0)
    block = rng.random((BLOCK_ROWS, WIDTH), dtype=np.float32)
    block[rng.random(block.shape) < 0.3] = 0
    with open(path, "wb") as file:
        for _ in range(max(1, size // block.nbytes)):
            block.tofile(file)


def main():
    """Generate the file and train on it in both modes; each prints its time and memory."""
    options = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    options.add_argument("--gigabytes", type=float, default=4.0)
    options.add_argument("--folder", help="directory of the file; default: a temporary one")
    options = options.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "samples.f4")
        generate(path, int(options.gigabytes * 1e9))
        print(f"{path.stat().st_size / 1e9:.2f} GB on disk; {LIMIT_MB} MB of memory allowed")
        for mode in ("mapped", "read"):
            command = [sys.executable, "-c", TRAIN.format(width=WIDTH), path, mode, str(LIMIT_MB)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

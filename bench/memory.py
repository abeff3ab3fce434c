"""Peak memory while training on a generated file that is larger than what is allowed.

`python -m bench.memory` writes a file of 4 GB (float32 samples of 784), lets a process of its
own have 400 MB beside what it maps, and trains an epoch on it: mapped by `numpy.memmap`, and
read in batches by an iterable.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WIDTH, BLOCK = 784, 8192
LIMIT_MB = 400

TRAIN = """
import resource, sys, time
import numpy as np
from cmlp import Network
path, way, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]) << 20
width = {width}
net = Network([width, 64, 10], activation="relu", loss="cross_entropy", seed=0)
if sys.platform.startswith("linux"):  # where it counts all memory of its own
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
X = np.memmap(path, np.float32, "r").reshape(-1, width)
y = np.arange(len(X), dtype=np.int32) % 10
start = time.perf_counter()
if way == "mapped":
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
print(f"{{way}}: {{len(X):,}} samples in {{seconds:.1f}} s, {{own}} MiB of its own at the end, "
      f"peak with mapped pages {{peak:,}} MiB")
"""


def generate(path, size):
    """Write float32 noise, most of it zero, of about so many bytes."""
    rng = np.random.default_rng(0)
    block = rng.random((BLOCK, WIDTH), dtype=np.float32)
    block[rng.random(block.shape) < 0.3] = 0
    with open(path, "wb") as file:
        for _ in range(max(1, size // block.nbytes)):
            block.tofile(file)


def main():
    """Generate, train both ways, print what was taken."""
    options = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    options.add_argument("--gigabytes", type=float, default=4.0)
    options.add_argument("--folder", help="where the file is written; default: a temporary one")
    options = options.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "samples.f4")
        generate(path, int(options.gigabytes * 1e9))
        print(f"{path.stat().st_size / 1e9:.2f} GB on disk; {LIMIT_MB} MB of memory allowed")
        for way in ("mapped", "read"):
            command = [sys.executable, "-c", TRAIN.format(width=WIDTH), path, way, str(LIMIT_MB)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

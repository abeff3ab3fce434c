"""Fuzz the readers with atheris (`pip install atheris`).

``python -m fuzz --seconds 20`` runs every target for 20 seconds, each in a process of its own;
``python -m fuzz onnx --seconds 3600`` one of them for an hour. An input that shows a fault is
written to ``fuzz/crashes``: minimize it, fix the fault, and add it to
``fuzz/regressions/<target>``.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from fuzz.targets import HERE, TARGETS

# Of an input, of the memory of a process, and of the time for one input.
MAX_INPUT_BYTES, MEMORY_MIB, TIMEOUT_SECONDS = 1 << 16, 2048, 25


def main():
    """Run the targets, one for each CPU at a time; return 1 if one of them found a fault."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.split("\n", 1)[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    def run_target(name):
        print(f"== {name}, {options.seconds} s", flush=True)
        command = [sys.executable, "-m", "fuzz.one", name, str(options.seconds), str(options.seed)]
        return subprocess.run(command, cwd=HERE.parent).returncode

    names = options.targets or list(TARGETS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = list(pool.map(run_target, names))
    failed = [name for name, code in zip(names, codes, strict=True) if code]
    print(f"faults in: {', '.join(failed)}" if failed else "no faults", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

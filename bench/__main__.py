"""Times cmlp against its peers on the same jobs.

The peers take turns within one run, each in a process of its own, so that what slows the
machine slows all of them; a ratio is that of the medians. What is timed is `fit` as a
whole, conversion, shuffle and set-up included; JAX gets its batches laid out beforehand.
"""

import argparse
import sys

from bench import report, roofline, runner, scaling
from bench.jobs import JOBS
from bench.peers import PEERS
from cmlp import __version__
from cmlp.threads import available


def parser():
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    top.add_argument("--jobs", nargs="*", choices=JOBS, default=["reference"], metavar="JOB",
                     help=f"of {', '.join(JOBS)}; default: reference")  # fmt: skip
    top.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS], metavar="PEER",
                     help=f"of {', '.join(PEERS)}; default: all")  # fmt: skip
    top.add_argument("--rounds", type=int, default=5)
    top.add_argument("--cores", default="1", choices=["1", "all", "both"])
    top.add_argument("--isa", choices=["avx2"], help="hold cmlp and JAX to this ISA")
    top.add_argument("--roofline", action="store_true", help="also the limits of the core")
    top.add_argument("--scaling", action="store_true", help="also time against width and batch")
    top.add_argument("--all", action="store_true", help="every job, both core counts, all reports")
    top.add_argument("--save", nargs="?", const="bench/results", metavar="FOLDER",
                     help="write JSON, Markdown, plots; default: bench/results")  # fmt: skip
    return top


def main():
    """Take the times, print the tables, write the files."""
    options = parser().parse_args()
    everything = options.all
    names = [*JOBS] if everything else options.jobs
    peers = [*dict.fromkeys(["cmlp", *options.peers])]
    counts = {"1": [1], "all": [available()], "both": [1, available()]}[
        "both" if everything else options.cores
    ]
    results = {"machine": report.cpu_model(), "version": __version__, "jobs": []}
    print(f"{results['machine']}, cmlp {__version__}\n", flush=True)
    for cores in dict.fromkeys(counts):
        for name in names:
            result = runner.time_job(JOBS[name], cores, options.rounds, options.isa, peers)
            results["jobs"].append(result)
            print(report.job_table(result), "\n", flush=True)
    results["roofline"] = roofline.report() if everything or options.roofline else None
    results["scaling"] = scaling.report() if everything or options.scaling else None
    if results["roofline"]:
        print(report.roofline_table(results["roofline"]), "\n", flush=True)
    if results["scaling"]:
        print(report.scaling_table(results["scaling"]), "\n", flush=True)
    if options.save:
        print(report.save(options.save, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())

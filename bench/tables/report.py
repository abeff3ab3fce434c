"""Markdown tables of the results of `bench.tabular`."""

import numpy as np

from bench.tables.peers import PEERS
from bench.tables.scores import (
    adjust_p_values,
    collect_errors,
    compare,
    compute_mean_ranks,
    compute_p_on_table,
    compute_shifted_mean,
)
from bench.tables.sources import CLASSIFICATION, REGRESSION

# Name of a classification measure -> its title, and a function from a result to an error.
CLASSIFICATION_MEASURES = {
    "error": ("error rate", lambda result: result["error"]),
    "auc": ("1 - AUC", lambda result: 1 - result["auc"]),
    "log_loss": ("log loss", lambda result: result["log_loss"]),
}
DETAILS = {
    CLASSIFICATION: ("error", "log_loss", "auc"),
    REGRESSION: ("rmse", "nrmse", "mae", "r2"),
}
TIMES = ("fit_seconds", "fit_cpu_seconds", "predict_seconds", "predict_cpu_seconds")


def format_row(*cells):
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def choose_reference(peers, reference):
    """Return `reference` if it has results, else the first peer that has."""
    return reference if reference in peers else peers[0]


def get_error(result, measure):
    """Return the error of a result: a classification measure, or nRMSE."""
    if result["task"] == CLASSIFICATION:
        return CLASSIFICATION_MEASURES[measure][1](result)
    return result["nrmse"]


def format_report(results, reference="cmlp-td", measure="error", has_details=False):
    """Return all tables.

    Parameters
    ----------
    results : list of dict
        From `runs.read_results`.
    reference : str
        The peer with which the others are compared.
    measure : str
        A key of `CLASSIFICATION_MEASURES`; regression is always compared by nRMSE.
    has_details : bool
        Whether to add a table with all measures and times of each data set.

    Returns
    -------
    str
    """
    sections = []
    fits = [result for result in results if "fit_seconds" in result]
    for cores in sorted({result["cores"] for result in fits}):
        selected = [result for result in fits if result["cores"] == cores]
        peers = [peer for peer in PEERS if any(r["peer"] == peer for r in selected)]
        base = choose_reference(peers, reference)
        title = "one core" if cores == 1 else f"{cores} cores"
        sections.append(f"# {title}\n\n{format_versions(selected)}")
        sections += format_summaries(selected, peers, base, measure)
        sections.append(format_errors(selected, peers, base, measure))
        sections.append(format_omitted(selected, peers))
        if has_details:
            sections.append(format_details(selected, peers))
    sections.append(format_missing(results))
    return "\n\n".join(section for section in sections if section)


def format_versions(results):
    """Return a line with the versions of the packages."""
    versions = sorted({(PEERS[r["peer"]].package, r["version"]) for r in results})
    return ", ".join(f"{package} {version}" for package, version in versions)


def format_summaries(results, peers, reference, measure):
    """Return the summaries over classification, over regression, and over all data sets."""
    errors = collect_errors(results, peers, lambda result: get_error(result, measure))
    tasks = {result["table"]: result["task"] for result in results}
    title = CLASSIFICATION_MEASURES[measure][0]
    groups = [
        (f"Classification, {title}", CLASSIFICATION, True),
        ("Regression, nRMSE", REGRESSION, True),
        ("All data sets", None, False),
    ]
    sections = []
    for name, task, has_mean in groups:
        tables = [table for table in errors.by_table if task in (None, tasks[table])]
        if tables:
            chosen = errors.select(tables)
            sections.append(format_summary(name, chosen, reference, results, has_mean))
    return sections


def format_summary(name, errors, reference, results, has_mean):
    """Return one summary: aggregates, comparisons with the reference, ranks and times."""
    others = [peer for peer in errors.peers if peer != reference]
    found = {peer: compare(errors, peer, reference) for peer in others}
    adjusted = adjust_p_values([found[peer].p_value for peer in others])
    p_values = dict(zip(others, adjusted, strict=True))
    means, ranks = errors.means, compute_mean_ranks(errors.means)
    aggregates = compute_shifted_mean(means)
    counts = sorted({values.shape[1] for values in errors.by_table.values()})
    splits = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lines = [
        f"**{name}**, data sets: {means.shape[1]}, splits: {splits}",
        "",
        format_row(
            "", "shifted mean", f"ratio to {PEERS[reference].title}", "95 %", "p", "mean rank",
            "better", "worse", "fit, s", "all fits, s", "CPU, s", "predict, ms",
        ),
        "|---|" + "---:|" * 11,
    ]  # fmt: skip
    for i in np.argsort(ranks, kind="stable"):
        peer = errors.peers[i]
        cells = ["1", "", "", "", ""]
        if peer != reference:
            c = found[peer]
            cells = [
                f"{c.ratio:.3f}", f"{c.interval[0]:.3f} to {c.interval[1]:.3f}",
                f"{p_values[peer]:.2g}", f"{c.better} ({c.clearly_better})",
                f"{c.worse} ({c.clearly_worse})",
            ]  # fmt: skip
        aggregate = f"{aggregates[i]:.4f}" if has_mean else ""
        lines.append(format_row(
            PEERS[peer].title, aggregate, *cells[:3], f"{ranks[i]:.2f}", *cells[3:],
            *format_times(results, errors, peer),
        ))  # fmt: skip
    return "\n".join(lines)


def format_times(results, errors, peer):
    """Return a peer's times on the compared splits.

    Those are the geometric mean of a fit over data sets, the sums over all fits of wall-clock and
    CPU seconds, and the geometric mean of the milliseconds of predicting a test set.
    """
    by_table = {}
    for result in results:
        if result["peer"] == peer and result["table"] in errors.by_table:
            by_table.setdefault(result["table"], []).append([result[name] for name in TIMES])
    means = np.array([np.mean(times, 0) for times in by_table.values()])
    fit, _, predict, _ = np.exp(np.log(np.maximum(means, 1e-6)).mean(0))
    total, total_cpu = np.sum([row for times in by_table.values() for row in times], 0)[:2]
    return f"{fit:.2f}", f"{total:.0f}", f"{total_cpu:.0f}", f"{predict * 1e3:.1f}"


def format_errors(results, peers, reference, measure):
    """Return a table of the mean errors, one row for each data set.

    The lowest error is bold; + and - mark errors that are lower or higher than the reference's with
    p < 0.05 on this data set.
    """
    errors = collect_errors(results, peers, lambda result: get_error(result, measure))
    sizes = {r["table"]: (r["n_train"] + r["n_test"], r["n_columns"]) for r in results}
    r = peers.index(reference)
    lines = [
        f"**Errors**: mean over splits; + better, - worse than {PEERS[reference].title} (p < 0.05)",
        "",
        format_row("", "rows", "columns", *(PEERS[peer].title for peer in peers)),
        "|---|" + "---:|" * (2 + len(peers)),
    ]
    for table in sorted(errors.by_table):
        values = errors.by_table[table]
        means, cells = values.mean(1), []
        for i in range(len(peers)):
            cell = f"{means[i]:.4f}"
            cell = f"**{cell}**" if means[i] == means.min() else cell
            is_clear = i != r and compute_p_on_table(values[i], values[r], 0.25) < 0.05
            cells.append(cell + ("+" if means[i] < means[r] else "-") * is_clear)
        lines.append(format_row(table, f"{sizes[table][0]:,}", sizes[table][1], *cells))
    return "\n".join(lines)


def format_omitted(results, peers):
    """Return a line with the data sets that have no split with results of all peers, if any."""
    compared = collect_errors(results, peers, lambda result: get_error(result, "error")).by_table
    omitted = sorted({result["table"] for result in results} - set(compared))
    return f"Omitted, as not all peers have results: {', '.join(omitted)}" if omitted else ""


def format_details(results, peers):
    """Return tables with all measures and times, one row for each data set and peer."""
    sections = []
    for task, measures in DETAILS.items():
        names = (*measures, *TIMES)
        lines = [format_row("", "peer", "splits", *names), "|---|---|" + "---:|" * (1 + len(names))]
        for table in sorted({r["table"] for r in results if r["task"] == task}):
            for peer in peers:
                rows = [
                    [r[name] for name in names]
                    for r in results
                    if (r["table"], r["peer"]) == (table, peer)
                ]
                if rows:
                    cells = [f"{mean:.4g}" for mean in np.mean(rows, 0)]
                    lines.append(format_row(table, PEERS[peer].title, len(rows), *cells))
        if len(lines) > 2:
            sections.append("\n".join(lines))
    return "\n\n".join(sections)


def format_missing(results):
    """Return a list of the peers and data sets without results, with reasons, and failed fits."""
    fits = [result for result in results if "fit_seconds" in result]
    done = {(r["table"], r["peer"], r["split"]) for r in fits}
    lines = {}
    for result in results:
        if "missing" in result and not any(r["peer"] == result["peer"] for r in fits):
            lines[f"{PEERS[result['peer']].title}: missing: {result['missing']}"] = None
        if "no_data" in result and not any(r["table"] == result["table"] for r in fits):
            lines[f"{result['table']}: missing: {result['no_data']}"] = None
        if "failed" in result and (result["table"], result["peer"], result["split"]) not in done:
            key = f"{PEERS[result['peer']].title} on {result['table']}, split {result['split']}"
            lines[f"{key}: failed: {result['failed']}"] = None
    return "\n".join(f"- {line}" for line in lines)

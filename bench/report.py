"""Results as JSON, Markdown tables and plots."""

import json
from pathlib import Path

from bench.peers import UNSUPPORTED


def format_job(result):
    """Return a job's times, a dict from `runner.time_job`, as a Markdown table."""
    cores = "one core" if result["cores"] == 1 else f"{result['cores']} cores"
    isa = f", {result['isa'].upper()} only" if result["isa"] else ""
    lines = [
        f"**{result['title']}**, {cores}{isa}",
        "",
        "| | µs a step | from | to | times cmlp |",
        "|---|---:|---:|---:|---:|",
    ]
    for peer, median in sorted(result["medians"].items(), key=lambda pair: pair[1]):
        times, ratio = result["times"][peer], median / result["medians"]["cmlp"]
        lines.append(
            f"| {peer} | {median:,.2f} | {min(times):,.2f} | {max(times):,.2f} | {ratio:.2f} |"
        )
    for peer, reason in result["missing"].items():
        if reason != UNSUPPORTED:
            lines.append(f"| {peer} | missing: {reason} | | | |")
    return "\n".join(lines)


def format_roofline(found):
    """Return the result of `roofline.measure` as a Markdown table."""
    bandwidths = ", ".join(
        f"{size >> 10:,} KiB at {rate:.0f} GB/s" for size, rate in found["read_gb_per_s"].items()
    )
    lines = [
        f"**Roofline**, one core, {found['isa']}: float32 peak "
        f"{found['peak_float32_gflops']:.1f} GFLOP/s, float64 peak "
        f"{found['peak_float64_gflops']:.1f}; reads {bandwidths}",
        "",
        "| kernel | batch x inputs x outputs | float32 GFLOP/s | of peak | float64 | of peak |",
        "|---|---|---:|---:|---:|---:|",
    ]
    rows = {}
    for k in found["kernels"]:
        rows.setdefault((k["kernel"], tuple(k["shape"])), {})[k["dtype"]] = k
    for (kernel, shape), by_dtype in rows.items():
        cells = [
            f"{by_dtype[dtype]['gflops']:.1f} | {by_dtype[dtype]['of_peak']:.0%}"
            for dtype in ("float32", "float64")
        ]
        lines.append(f"| {kernel} | {' x '.join(map(str, shape))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_scaling(found):
    """Return the result of `scaling.measure` as a Markdown table and a list of cliffs."""
    counts = list(found["points"][0]["microseconds"])
    titles = " | ".join(f"{threads} thread{'s' * (threads > 1)}, µs" for threads in counts)
    lines = ["**Scaling**: width-width-10, relu, dense input", "", f"| width | batch | {titles} |",
             "|---:|---:|" + "---:|" * len(counts)]  # fmt: skip
    for p in found["points"]:
        cells = " | ".join(f"{p['microseconds'][threads]:,.1f}" for threads in counts)
        lines.append(f"| {p['width']} | {p['batch']} | {cells} |")
    lines += ["", f"Cliffs: {found['cliffs'] or 'none'}"]
    return "\n".join(lines)


def save(folder, results):
    """Write results.json, results.md and, if Matplotlib is installed, the plots.

    Parameters
    ----------
    folder : str or os.PathLike
        The directory; it is created if it does not exist.
    results : dict
        All results of a run.

    Returns
    -------
    str
        A line that names the directory and the kinds of files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(format_all(results) + "\n")
    try:
        import matplotlib
    except ImportError:
        return f"{folder}: JSON and Markdown; plots need pip install 'cmlp[bench]'"
    matplotlib.use("Agg")
    plot_jobs(results["jobs"], folder / "speed.png")
    if results["scaling"]:
        plot_scaling(results["scaling"], folder / "scaling.png")
    return f"{folder}: JSON, Markdown and plots"


def format_all(results):
    """Return all results of a run as Markdown."""
    sections = [f"{results['machine']}, cmlp {results['version']}"]
    sections += [format_job(result) for result in results["jobs"]]
    if results["roofline"]:
        sections.append(format_roofline(results["roofline"]))
    if results["scaling"]:
        sections.append(format_scaling(results["scaling"]))
    return "\n\n".join(sections)


def plot_jobs(jobs, path):
    """Draw each peer's time relative to cmlp's on one core, one group of bars per job."""
    from matplotlib import pyplot as plt

    drawn = [job for job in jobs if job["cores"] == 1 and not job["isa"]]
    peers = list(dict.fromkeys(peer for job in drawn for peer in job["medians"]))
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.95 * len(drawn)), layout="constrained")
    height = 0.8 / len(peers)
    for p, peer in enumerate(peers):
        positions = [j + p * height for j, job in enumerate(drawn) if peer in job["medians"]]
        ratios = [
            job["medians"][peer] / job["medians"]["cmlp"] for job in drawn if peer in job["medians"]
        ]
        bars = axes.barh(positions, ratios, height, label=peer)
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    axes.set_yticks([j + 0.4 for j in range(len(drawn))], [job["title"] for job in drawn], size=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time per step, cmlp = 1, one core")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_scaling(found, path):
    """Draw time per step against width, one line per batch size and number of threads."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for b, batch in enumerate(dict.fromkeys(p["batch"] for p in found["points"])):
        points = [p for p in found["points"] if p["batch"] == batch]
        for threads in points[0]["microseconds"]:
            axes.plot(
                [p["width"] for p in points], [p["microseconds"][threads] for p in points],
                color=f"C{b}", linestyle="-" if threads == 1 else "--",
                label=f"batch {batch}" if threads == 1 else None,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="µs per step",
             title="width-width-10; solid: one thread, dashed: more")  # fmt: skip
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)

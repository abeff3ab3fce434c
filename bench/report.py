"""Results as JSON, Markdown tables and plots."""

import json
import platform
from pathlib import Path


def cpu_model():
    """Return what the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    about = dict(line.split("\t: ", 1) for line in lines if "\t: " in line.replace("\t\t", "\t"))
    about = {name.strip(): value for name, value in about.items()}
    return (
        f"{about.get('model name', platform.machine())}, family {about.get('cpu family', '?')} "
        f"model {about.get('model', '?')}"
    )


def job_table(result):
    """Return a job's times as a Markdown table."""
    cores = "one core" if result["cores"] == 1 else f"{result['cores']} cores"
    narrow = f", {result['isa'].upper()} only" if result["isa"] else ""
    lines = [
        f"**{result['title']}**, {cores}{narrow}",
        "",
        "| | µs a step | from | to | times cmlp |",
        "|---|---:|---:|---:|---:|",
    ]
    for peer, median in sorted(result["medians"].items(), key=lambda pair: pair[1]):
        taken, ratio = result["times"][peer], median / result["medians"]["cmlp"]
        lines.append(
            f"| {peer} | {median:,.2f} | {min(taken):,.2f} | {max(taken):,.2f} | {ratio:.2f} |"
        )
    for peer, why in result["missing"].items():
        if why != "does no such job":
            lines.append(f"| {peer} | missing: {why} | | | |")
    return "\n".join(lines)


def roofline_table(found):
    """Return the limits of the core and the parts that the kernels reach."""
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
    for (kernel, shape), by in rows.items():
        cells = [
            f"{by[dtype]['gflops']:.1f} | {by[dtype]['of_peak']:.0%}"
            for dtype in ("float32", "float64")
        ]
        lines.append(f"| {kernel} | {' x '.join(map(str, shape))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def scaling_table(found):
    """Return the times of the grid, and the cliffs."""
    teams = list(found["points"][0]["microseconds"])
    heads = " | ".join(f"{team} thread{'s' * (team > 1)}, µs" for team in teams)
    lines = ["**Scaling**: width-width-10, relu, dense input", "", f"| width | batch | {heads} |",
             "|---:|---:|" + "---:|" * len(teams)]  # fmt: skip
    for p in found["points"]:
        cells = " | ".join(f"{p['microseconds'][team]:,.1f}" for team in teams)
        lines.append(f"| {p['width']} | {p['batch']} | {cells} |")
    lines += ["", f"Cliffs: {found['cliffs'] or 'none'}"]
    return "\n".join(lines)


def save(folder, results):
    """Write results.json, results.md and, where matplotlib is, speed.png and scaling.png."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results) + "\n")
    try:
        import matplotlib
    except ImportError:
        return f"{folder}: JSON and Markdown; plots need pip install 'cmlp[bench]'"
    matplotlib.use("Agg")
    plot_jobs(results["jobs"], folder / "speed.png")
    if results["scaling"]:
        plot_scaling(results["scaling"], folder / "scaling.png")
    return f"{folder}: JSON, Markdown and plots"


def markdown(results):
    """Return all tables."""
    parts = [f"{results['machine']}, cmlp {results['version']}"]
    parts += [job_table(result) for result in results["jobs"]]
    if results["roofline"]:
        parts.append(roofline_table(results["roofline"]))
    if results["scaling"]:
        parts.append(scaling_table(results["scaling"]))
    return "\n\n".join(parts)


def plot_jobs(jobs, path):
    """Draw how many times cmlp's time each peer takes, a group of bars a job."""
    from matplotlib import pyplot as plt

    drawn = [job for job in jobs if job["cores"] == 1 and not job["isa"]]
    peers = list(dict.fromkeys(peer for job in drawn for peer in job["medians"]))
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.95 * len(drawn)), layout="constrained")
    height = 0.8 / len(peers)
    for p, peer in enumerate(peers):
        places = [j + p * height for j, job in enumerate(drawn) if peer in job["medians"]]
        ratios = [
            job["medians"][peer] / job["medians"]["cmlp"] for job in drawn if peer in job["medians"]
        ]
        bars = axes.barh(places, ratios, height, label=peer)
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    axes.set_yticks([j + 0.4 for j in range(len(drawn))], [job["title"] for job in drawn], size=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time of a step, cmlp = 1, one core")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_scaling(found, path):
    """Draw time against width, a line for each batch and number of threads."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for b, batch in enumerate(dict.fromkeys(p["batch"] for p in found["points"])):
        points = [p for p in found["points"] if p["batch"] == batch]
        for team in points[0]["microseconds"]:
            axes.plot(
                [p["width"] for p in points], [p["microseconds"][team] for p in points],
                color=f"C{b}", linestyle="-" if team == 1 else "--",
                label=f"batch {batch}" if team == 1 else None,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="µs a step",
             title="width-width-10; solid: one thread, dashed: more")  # fmt: skip
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)

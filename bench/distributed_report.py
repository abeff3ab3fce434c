"""The tables of `bench.distributed`, as Markdown."""

from bench.network_model import Line, find_errors


def format_sizes(sizes):
    """Return the layer sizes of a network."""
    return "-".join(map(str, sizes))


def format_bytes(size):
    """Return a number of bytes with a unit."""
    if size < 10_000:
        return f"{size:,} B"
    return f"{size / 1e3:,.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def format_seconds(seconds):
    """Return a time in us, or from 10 ms on in ms."""
    return f"{seconds * 1e6:,.1f} us" if seconds < 0.01 else f"{seconds * 1e3:,.1f} ms"


def format_steps(sizes, size, batches, times):
    """Return the times per step of a network.

    Parameters
    ----------
    sizes : sequence of int
    size : int
        Bytes of the gradient.
    batches : sequence of int
    times : list of dict
        For each batch size: mode -> (seconds, share of communication).
    """
    lines = [f"**{format_sizes(sizes)}, gradient of {format_bytes(size)}**: time per step; the "
             "batch counts the samples of all ranks; in parentheses the share of communication, in "
             "which the wait for the other rank is included", "",
             "| | " + " | ".join(f"batch {batch:,}" for batch in batches) + " |",
             "|---|" + "---:|" * len(batches)]  # fmt: skip
    for mode in times[0]:
        cells = []
        for found in times:
            seconds, share = found[mode]
            cells.append(format_seconds(seconds) + (f" ({share:.0%})" if share else ""))
        lines.append(f"| {mode} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_line(title, line, counts, sizes, seconds):
    """Return the fitted latency and bandwidth, and the relative errors at the measured points."""
    errors = find_errors(line, counts, sizes, seconds)
    points = ", ".join(
        f"{format_bytes(size)} {format_seconds(time)} ({error:+.0%})"
        for size, time, error in zip(sizes, seconds, errors, strict=True)
    )
    return (f"{title}: latency {line.latency * 1e6:,.2f} us, {line.bandwidth / 1e9:,.3f} GB/s. "
            f"Measured (error of the fit): {points}")  # fmt: skip


def format_exchange(sizes, found, predicted):
    """Return the times of sums among two ranks, and the model's."""
    lines = ["**Sum of a gradient over two ranks** that have nothing else to do", "",
             "| bytes | one message | tree | plain Allreduce | tree / Allreduce | model of the "
             "tree | error |", "|" + "---:|" * 7]  # fmt: skip
    for size, times, model in zip(sizes, found, predicted, strict=True):
        tree, plain = times["tree"], times["Allreduce"]
        lines.append(
            f"| {size:,} | {format_seconds(times['messages'])} | {format_seconds(tree)} | "
            f"{format_seconds(plain)} | {tree / plain:.2f} | {format_seconds(model)} | "
            f"{model / tree - 1:+.0%} |"
        )
    return "\n".join(lines)


def format_links(batch, rows):
    """Return the steps on limited links, measured and predicted."""
    lines = [f"**Two ranks on a limited link**, batch {batch}, one thread each; predicted: the "
             "step of half the batch alone, and the modeled exchange", "",
             "| Mbit/s | ms added | network | gradient | alone | measured | predicted | error |",
             "|---:|---:|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for rate, delay, sizes, size, alone, both, predicted in rows:
        lines.append(
            f"| {rate:,} | {delay:g} | {format_sizes(sizes)} | {format_bytes(size)} | "
            f"{format_seconds(alone)} | {format_seconds(both)} | {format_seconds(predicted)} | "
            f"{predicted / both - 1:+.1%} |"
        )
    return "\n".join(lines)


def make_fabric(latencies, efficiency):
    """Return the assumed links, Gbit/s -> `Line`.

    Parameters
    ----------
    latencies : dict from int to float
        Gbit/s -> microseconds of a message.
    efficiency : float
        Fraction of the rate that messages reach.
    """
    return {
        rate: Line(microseconds * 1e-6, rate * 1e9 / 8 * efficiency)
        for rate, microseconds in latencies.items()
    }


def format_assumptions(fabric, efficiency, local, cores):
    """Return the assumptions of the predictions."""
    links = "; ".join(
        f"{rate} Gbit/s: {line.latency * 1e6:g} us, {line.bandwidth / 1e9:.3f} GB/s"
        for rate, line in fabric.items()
    )
    return (
        "**MODEL, not measured.** Assumed for each message: "
        f"{links} ({efficiency:.0%} of the rate). Measured on this machine, and assumed of each "
        f"node: its time of a step without communication, with {cores} cores, one shard and dense "
        f"input, against the batch size; local work of an exchange, {local.latency * 1e6:.1f} us "
        f"per message and additions at {local.bandwidth / 1e9:.1f} GB/s. Not in the model: "
        "contention in the network, nodes that are late, and communication while computing, which "
        "cmlp does not do."
    )


def format_scaling(sizes, batch, is_weak, found):
    """Return predicted steps.

    Parameters
    ----------
    sizes : sequence of int
    batch : int
    is_weak : bool
    found : dict from int to list of Prediction
        Gbit/s -> predictions.
    """
    kind = f"weak scaling, batch {batch:,} per node" if is_weak else (
        f"strong scaling, batch {batch:,} of all nodes")  # fmt: skip
    lines = [f"**MODEL: {format_sizes(sizes)}, {kind}**; time of a step, in it communication, "
             f"samples per second relative to one node", "",
             "| nodes | " + " | ".join(f"{rate} Gbit/s" for rate in found) + " |",
             "|---:|" + "---:|" * len(found)]  # fmt: skip
    for row in zip(*found.values(), strict=True):
        cells = [f"{format_seconds(p.seconds)}, {p.share:.0%}, {p.gain:,.2f} times" for p in row]
        lines.append(f"| {row[0].nodes:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)

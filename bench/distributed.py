"""Measure what training on several ranks costs, and predict it for more nodes.

`steps` times training steps of one process, of ranks of MPI and of PyTorch's
DistributedDataParallel with gloo. `exchange` times the sum of a gradient among two ranks that have
nothing else to do, and fits latency and bandwidth of their messages. `links` checks that model on
links of limited rate and greater latency, between two network namespaces. `model` predicts weak and
strong scaling. Without a command, all of them run. All inputs are dense.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

from bench import distributed_report as report
from bench import links
from bench.distributed_worker import TIMED_EPOCHS, choose_steps, count_bytes
from bench.network_model import (
    ComputeTimes,
    count_added_bytes,
    count_messages,
    fit_line,
    predict_exchange,
    predict_scaling,
)
from cmlp import __version__
from cmlp._bench.jobs import DEEP, LARGE, SMALL
from cmlp._bench.machine import read_cpu_model
from cmlp._utils.threads import count_available_cpus

COMMANDS = ("steps", "exchange", "links", "model")
NETWORKS = {"30": SMALL, "512-256": DEEP, "2048-2048": LARGE}
BATCHES = (64, 256, 1024)
EXCHANGE_BYTES = (256, 4096, 32_768, 65_536, 262_144, 1 << 20, 4 << 20, 16 << 20)
# Sums of these sizes are timed without messages, for the local work of an exchange.
LOCAL_BYTES = (256, 32_768, 65_536, 262_144, 2 << 20, 8 << 20, 24 << 20)
LINK_BYTES = (64, 4096, 16_384, 65_536, 262_144, 1 << 20, 4 << 20)
COMPUTE_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
NODES = tuple(1 << i for i in range(11))
# Gbit/s -> microseconds of a message, assumed: TCP, TCP on a fast network, RDMA.
LATENCIES = {1: 50.0, 25: 10.0, 100: 2.0}
PEER = Path(__file__).with_name("peers") / "torch_ddp.py"


def find_mpiexec():
    """Return the path of mpiexec: beside the interpreter, or on PATH."""
    path = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    path = path or shutil.which("mpiexec")
    if not path or not importlib.util.find_spec("mpi4py"):
        raise SystemExit(
            "bench.distributed requires mpiexec and mpi4py; install them with: "
            "pip install 'cmlp[mpi]' mpich"
        )
    return path


def run_process(command, **options):
    """Run a command; return the last line of its output, parsed as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:6]))} ... failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def make_command(command, arguments):
    """Return the command line of `bench.distributed_worker`."""
    return [sys.executable, "-m", "bench.distributed_worker", command, json.dumps(arguments)]


def run_worker(command, ranks=0, **arguments):
    """Return the result of a command of `bench.distributed_worker`, on ranks of MPI if any."""
    launcher = [find_mpiexec(), "-n", str(ranks)] if ranks else []
    return run_process(launcher + make_command(command, arguments))


def take_medians(rounds):
    """Return the medians over rounds of nested lists and dicts of numbers of one structure."""
    first = rounds[0]
    if isinstance(first, dict):
        return {key: take_medians([found[key] for found in rounds]) for key in first}
    if isinstance(first, (list, tuple)):
        return [take_medians(list(values)) for values in zip(*rounds, strict=True)]
    return statistics.median(rounds)


def has_torch(python):
    """Return whether an interpreter has PyTorch with gloo."""
    check = "import torch.distributed as d; assert d.is_gloo_available()"
    with contextlib.suppress(OSError):
        return subprocess.run([python, "-c", check], capture_output=True).returncode == 0
    return False


def run_torch(python, cases, ranks):
    """Return PyTorch's seconds per step of each case, on one process or with gloo."""
    arguments = [(sizes, batch, choose_steps(sizes, batch), TIMED_EPOCHS) for sizes, batch in cases]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environment = {"OMP_NUM_THREADS": "1" if ranks > 1 else "2", "GLOO_SOCKET_IFNAME": "lo"}
    return run_process(
        [python, *(launcher if ranks > 1 else []), str(PEER), json.dumps(arguments)],
        env={**os.environ, **environment},
    )


def time_steps(cases, rounds, torch_python):
    """Time the steps of all cases; the programs take turns.

    Returns
    -------
    list of dict
        For each case: mode -> [seconds, share of communication or None].
    """
    found = []
    for _ in range(rounds):
        parts = [run_worker("alone", cases=cases, threads=[1, 2])]
        for ranks in (1, 2):
            times = run_worker("ranks", ranks, cases=cases)
            if ranks == 1:
                times = [{"tree, 8 shards": t["tree, 8 shards"]} for t in times]
            name = f"{ranks} rank{'s' * (ranks > 1)}: "
            parts.append([{name + mode: pair for mode, pair in t.items()} for t in times])
        if torch_python:
            for ranks, name in ((1, "PyTorch, 2 threads"), (2, "PyTorch DDP, 2 ranks")):
                times = run_torch(torch_python, cases, ranks)
                parts.append([{name: (seconds, 0.0)} for seconds in times])
        found.append([
            {mode: pair for part in parts for mode, pair in part[i].items()}
            for i in range(len(cases))
        ])  # fmt: skip
    return take_medians(found)


def measure_local(rounds):
    """Return the `Line` of the local work of exchanges, and its points for the report."""
    seconds = take_medians([run_worker("local", sizes=LOCAL_BYTES) for _ in range(rounds)])
    counts = [count_messages(size, 2)[0] for size in LOCAL_BYTES]
    added = [count_added_bytes(size, 2) for size in LOCAL_BYTES]
    return fit_line(counts, added, seconds), (counts, added, seconds)


def run_steps(options, state):
    """Time training steps, and print them."""
    cases = [(NETWORKS[name], batch) for name in options.networks for batch in options.batches]
    python = options.torch_python if has_torch(options.torch_python) else None
    if not python:
        print("PyTorch is not measured: it is not installed; see --torch-python\n")
    times = time_steps(cases, options.rounds, python)
    for name in options.networks:
        sizes = NETWORKS[name]
        own = [found for case, found in zip(cases, times, strict=True) if case[0] == sizes]
        print(report.format_steps(sizes, count_bytes(sizes), options.batches, own), "\n")


def run_exchange(options, state):
    """Time messages and sums among two ranks on this machine, and print the model's fit."""
    found = take_medians(
        [run_worker("exchange", 2, sizes=EXCHANGE_BYTES) for _ in range(options.rounds)]
    )
    local, points = state.get("local") or measure_local(options.rounds)
    state["local"] = local, points
    counts, messages = [1] * len(found), [times["messages"] for times in found]
    link = fit_line(counts, EXCHANGE_BYTES, messages)
    print(report.format_line("Local work, per message and per byte added", local, *points), "\n")
    print(report.format_line("Messages between two ranks of MPI on this machine", link, counts,
                             EXCHANGE_BYTES, messages), "\n")  # fmt: skip
    predicted = [predict_exchange(size, 2, link, local) for size in EXCHANGE_BYTES]
    print(report.format_exchange(EXCHANGE_BYTES, found, predicted), "\n")


def time_link(rate, options):
    """Return the times of `bench.distributed_worker.run_link` on a link of a rate in Mbit/s."""
    arguments = {
        "address": links.ADDRESSES[0], "port": links.PORT, "sizes": LINK_BYTES,
        "cases": [(NETWORKS[name], options.link_batch) for name in options.networks],
        "delays": [delay / 1000 for delay in options.delays], "rate": rate * 1e6 / 8,
    }  # fmt: skip
    with links.LinkedNamespaces(rate * 10**6) as pair:
        return json.loads(pair.run_pair(
            [make_command("link", {**arguments, "rank": rank}) for rank in (0, 1)]
        ))  # fmt: skip


def run_links(options, state):
    """Check the model on links between network namespaces, and print its errors."""
    obstacle = links.find_obstacle()
    if obstacle:
        print(f"Links are not measured: {obstacle}\n")
        return
    local, _ = state["local"] = state.get("local") or measure_local(options.rounds)
    try:
        rounds = [
            {rate: time_link(rate, options) for rate in options.rates}
            for _ in range(options.link_rounds)
        ]
    except (OSError, RuntimeError) as error:
        print(f"Links are not measured: {error}\n")
        return
    rows = []
    for rate, found in take_medians(rounds).items():
        for delay, times in zip(options.delays, found, strict=True):
            counts = [1] * len(LINK_BYTES)
            link = fit_line(counts, LINK_BYTES, times["messages"])
            title = f"Messages, {rate:,} Mbit/s, {delay:g} ms added"
            print(report.format_line(title, link, counts, LINK_BYTES, times["messages"]), "\n")
            if not delay:
                state["efficiency"] = link.bandwidth * 8 / (rate * 1e6)
            for name, (alone, both) in zip(options.networks, times["cases"], strict=True):
                size = count_bytes(NETWORKS[name])
                predicted = alone + predict_exchange(size, 2, link, local)
                rows.append((rate, delay, NETWORKS[name], size, alone, both, predicted))
    print(report.format_links(options.link_batch, rows), "\n")


def run_model(options, state):
    """Print the predicted scaling."""
    local, _ = state["local"] = state.get("local") or measure_local(options.rounds)
    cores = count_available_cpus()
    batches = sorted({*COMPUTE_BATCHES, options.weak_batch, options.strong_batch})
    networks = [NETWORKS[name] for name in options.networks]
    seconds = take_medians([
        run_worker("compute", networks=networks, batches=batches, threads=cores)
        for _ in range(options.rounds)
    ])  # fmt: skip
    efficiency = options.efficiency or state.get("efficiency") or 0.94
    fabric = report.make_fabric(LATENCIES if not options.latencies else
                                dict(zip(LATENCIES, options.latencies, strict=True)),
                                efficiency)  # fmt: skip
    print(report.format_assumptions(fabric, efficiency, local, cores), "\n")
    for sizes, times in zip(networks, seconds, strict=True):
        compute = ComputeTimes(dict(zip(batches, times, strict=True)))
        for is_weak, batch in ((True, options.weak_batch), (False, options.strong_batch)):
            found = {
                rate: predict_scaling(compute, count_bytes(sizes), batch, NODES, link, local,
                                      is_weak)
                for rate, link in fabric.items()
            }  # fmt: skip
            print(report.format_scaling(sizes, batch, is_weak, found), "\n", flush=True)


def build_parser():
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m bench.distributed", description=__doc__)
    add = top.add_argument
    add("command", nargs="?", choices=COMMANDS, help="default: all")
    add("--rounds", type=int, default=5, help="runs of each program; default: 5")
    add("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS], metavar="NAME",
        help=f"hidden sizes, of {', '.join(NETWORKS)}")  # fmt: skip
    add("--batches", nargs="+", type=int, default=BATCHES, metavar="N",
        help="batch sizes of all ranks together, for steps")  # fmt: skip
    add("--torch-python", default=sys.executable, metavar="PATH",
        help="an interpreter with PyTorch; default: this one")  # fmt: skip
    add("--rates", nargs="+", type=int, default=[100, 1000], metavar="MBIT",
        help="Mbit/s of links; default: 100 1000")  # fmt: skip
    add("--delays", nargs="+", type=float, default=[0.0, 1.0], metavar="MS",
        help="milliseconds added to each message of links; default: 0 1")  # fmt: skip
    add("--link-rounds", type=int, default=3, help="runs on each link; default: 3")
    add("--link-batch", type=int, default=256, help="batch size on links; default: 256")
    add("--weak-batch", type=int, default=256, metavar="N",
        help="model: batch size of each node with weak scaling; default: 256")  # fmt: skip
    add("--strong-batch", type=int, default=1024, metavar="N",
        help="model: batch size of all nodes with strong scaling; default: 1024")  # fmt: skip
    add("--latencies", nargs=3, type=float, metavar="US",
        help="model: us of a message at 1, 25 and 100 Gbit/s; default: 50 10 2")  # fmt: skip
    add("--efficiency", type=float, metavar="FRACTION",
        help="model: fraction of the rate that messages reach; default: as the links "
             "measured do, else 0.94")  # fmt: skip
    return top


def main():
    """Run the commands, and print their tables."""
    options = build_parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that namespaces are deleted
    sys.stdout.reconfigure(line_buffering=True)
    print(f"{read_cpu_model()}, cmlp {__version__}\n", flush=True)
    state = {}
    for command in [options.command] if options.command else COMMANDS:
        {"steps": run_steps, "exchange": run_exchange, "links": run_links, "model": run_model}[
            command
        ](options, state)
    return 0


if __name__ == "__main__":
    sys.exit(main())

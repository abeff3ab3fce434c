"""All fits of a comparison, one process after another, and the file with their results.

The file has one JSON object per line. A run that was interrupted goes on with the fits that the
file does not have.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from cmlp._bench.runner import make_environment

# These four fields identify a fit.
KEY = ("table", "peer", "split", "cores")


def read_results(path):
    """Return the results in a file, a list of dict; none if it does not exist.

    A last line that was cut off when a run was interrupted is left out.
    """
    path = Path(path)
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def append_result(path, result):
    """Write a result as the last line of a file, over a line that was cut off."""
    with open(path, "ab+") as file:
        file.seek(0)
        complete = file.read().rfind(b"\n") + 1
        file.truncate(complete)
        file.write(json.dumps(result).encode() + b"\n")


def get_key(result):
    """Return the values of `KEY`."""
    return tuple(result[name] for name in KEY)


def start_fit(table, peer, split, cores):
    """Run a fit in a process of its own with a limited number of threads; return its answer.

    Parameters
    ----------
    table, peer : str
        Keys of `TABLES` and `PEERS`.
    split, cores : int

    Returns
    -------
    dict
        See `bench.tables.fits`.
    """
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    environment = {**make_environment(cores), "CMLP_NUM_THREADS": str(cores)}
    process = subprocess.run(
        [sys.executable, "-m", "bench.tables.fits", table, peer, str(split), str(cores)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )  # fmt: skip
    if not process.stdout:
        return {"failed": f"its process ended with code {process.returncode}"}
    return json.loads(process.stdout)


def list_fits(tables, peers, splits, cores, results):
    """Return the fits that have no result, each a value of `KEY`.

    Splits are the outermost loop, so that an interrupted run has results of all data sets; peers
    take turns, so that other load on the machine slows all of them. A failed fit is tried again.
    """
    done = {get_key(result) for result in results if "fit_seconds" in result}
    keys = [(t, p, s, cores) for s in range(splits) for t in tables for p in peers]
    return [key for key in keys if key not in done]


def run_fits(keys, path, start=start_fit, show=print):
    """Run fits and append their results to a file.

    Parameters
    ----------
    keys : list
        From `list_fits`.
    path : str or os.PathLike
    start : callable
        Takes a key's values and returns a fit's answer.
    show : callable
        Takes a line about each fit.

    Returns
    -------
    missing, no_data : dict of str to str
        Peer, or data set -> why it is missing. A line of the file has the same, once in a run, and
        the next run tries it again.
    """
    missing, no_data = {}, {}
    for number, key in enumerate(keys):
        table, peer, split, _ = key
        if peer in missing or table in no_data:
            continue
        answer = start(*key)
        if "missing" in answer:
            missing[peer] = answer["missing"]
            append_result(path, {"peer": peer, **answer})
            show(f"{peer} is missing: {answer['missing']}")
        elif "no_data" in answer:
            no_data[table] = answer["no_data"]
            append_result(path, {"table": table, **answer})
            show(f"{table} is missing: {answer['no_data']}")
        else:
            append_result(path, {**dict(zip(KEY, key, strict=True)), **answer})
            show(f"{number + 1}/{len(keys)} {table}, split {split}, {peer}: {describe(answer)}")
    return missing, no_data


def describe(answer):
    """Return a fit's answer in a few words."""
    if "failed" in answer:
        return f"failed: {answer['failed']}"
    measure = "error" if "error" in answer else "nrmse"
    return f"{measure} {answer[measure]:.4f}, fit {answer['fit_seconds']:.1f} s"

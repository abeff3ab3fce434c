"""The process of one peer, which does jobs on request.

``python -m cmlp._bench.worker MODULE JOB...`` imports a peer's module and writes one line of JSON
for each job: ``{"steps": N}``, the number of steps in a run, or ``{"missing": REASON}`` if the peer
cannot do the job. Then, for each line on standard input, it runs the job that the line names and
writes ``{"seconds": S}``.
"""

import importlib
import json
import sys
import time

# Repetitions of a prediction of one row per measurement: one is too short to be timed. Predictions
# of more rows are repeated less often, and those of slow peers not for longer than MAX_SECONDS.
ROW_REPEATS, MAX_SECONDS = 20_000, 0.3


def main():
    """Answer requests until standard input ends."""
    module, *names = sys.argv[1:]
    # Peers may print: only answers go to the standard output.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    runs = {}
    for name in names:
        run, fields = prepare(module, name)
        runs[name] = run, fields.get("repeats", 1)
        answer(**{key: value for key, value in fields.items() if key != "repeats"})
    for line in sys.stdin:
        run, repeats = runs[line.strip()]
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        answer(seconds=time.perf_counter() - start)


def prepare(module, name):
    """Return a function that does a job, and a dict with ``steps`` and ``repeats`` or ``missing``.

    Parameters
    ----------
    module : str
        The peer's.
    name : str
        The job's.
    """
    from cmlp._bench.jobs import JOBS, QUICK_JOBS, load_data
    from cmlp._bench.peers import UNSUPPORTED

    job = {**JOBS, **QUICK_JOBS}[name]
    try:
        peer = importlib.import_module(module)
        X, y = load_data(job, peer.FRACTION)
        run = peer.prepare(job, X, y)
    except ImportError as error:
        return None, {"missing": str(error)}
    if run is None:
        return None, {"missing": UNSUPPORTED}
    run()  # not timed: compilation and allocation at the first use
    if job.epochs:
        return run, {"steps": job.epochs * (len(X) // job.batch)}
    start = time.perf_counter()
    run()
    limit = int(MAX_SECONDS / (time.perf_counter() - start))
    repeats = max(1, min(limit, ROW_REPEATS // len(X)))
    return run, {"steps": repeats, "repeats": repeats}


if __name__ == "__main__":
    main()

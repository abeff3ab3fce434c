"""The process of one peer, which does one job on request.

``python -m bench.worker MODULE JOB`` loads ``bench.peers.MODULE`` and writes one line of JSON:
``{"steps": N}``, the number of steps in a run, or ``{"missing": REASON}`` if the peer cannot do
the job. Then, for each line on standard input, it runs the job and writes ``{"seconds": S}``.
"""

import importlib
import json
import sys
import time

# Repetitions of a single-row prediction per measurement: one is too short to be timed. Predictions
# of more rows are repeated less often.
ROW_REPEATS = 20_000


def main():
    """Answer requests until standard input ends."""
    module, name = sys.argv[1:]
    # Peers may print: only answers go to the standard output.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    from bench.jobs import JOBS, load_data
    from bench.peers import UNSUPPORTED

    job = JOBS[name]
    try:
        peer = importlib.import_module(f"bench.peers.{module}")
        X, y = load_data(job, peer.FRACTION)
        run = peer.prepare(job, X, y)
    except ImportError as error:
        answer(missing=str(error))
        return
    if run is None:
        answer(missing=UNSUPPORTED)
        return
    run()  # not timed: compilation and allocation at the first use
    repeats, steps = 1, job.epochs * (len(X) // job.batch)
    if not job.epochs:
        repeats = steps = max(1, ROW_REPEATS // len(X))
    answer(steps=steps)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        answer(seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main()

"""A peer in a process of its own: does one job as often as it is told to.

``python -m bench.worker MODULE JOB`` writes a line of JSON when it is ready, with the
steps of a run, or why it cannot be; then, for each line that it reads, does the job and
writes how many seconds it took.
"""

import importlib
import json
import sys
import time


def main():
    """Answer until the input ends."""
    module, name = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # peers print what they like

    def answer(**what):
        print(json.dumps(what), file=answers, flush=True)

    from bench.jobs import JOBS, data

    job = JOBS[name]
    try:
        peer = importlib.import_module(f"bench.peers.{module}")
        X, y = data(job, peer.SHARE)
        run = peer.prepare(job, X, y)
    except ImportError as error:
        answer(missing=str(error))
        return
    if run is None:
        answer(missing="does no such job")
        return
    run()  # what is compiled or allocated at first use is not counted
    # A single row takes too short a time to be taken alone.
    repeats, steps = (1, job.epochs * (len(X) // job.batch)) if job.epochs else (20_000, 20_000)
    answer(steps=steps)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        answer(seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main()

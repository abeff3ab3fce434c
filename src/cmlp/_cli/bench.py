"""``cmlp bench``: training steps and predictions, timed beside other libraries."""

from cmlp._utils.validation import check_integer


def run_bench(options):
    """Time training steps and the prediction of one row.

    cmlp takes turns with the pure NumPy reference and, if they are installed, scikit-learn and
    PyTorch, each in a process of its own. Medians of the rounds are printed.
    """
    # Imported here because no other command needs it.
    from cmlp._bench.jobs import QUICK_JOBS
    from cmlp._bench.machine import read_cpu_model
    from cmlp._bench.peers import PEERS, UNSUPPORTED
    from cmlp._bench.runner import time_jobs
    from cmlp.config import describe_machine

    check_integer("--threads", options.threads)
    check_integer("--rounds", options.rounds)
    machine = describe_machine()
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    print(f"cmlp {machine['cmlp']}, {read_cpu_model()}\nISA {machine['isa']}, {threads}\n")
    jobs = list(QUICK_JOBS.values())
    first = max(len(job.title) for job in jobs) + 1
    print(
        f"{'microseconds a step':<{first}}" + "".join(f"{peer:>17}" for peer in PEERS), flush=True
    )
    absent = {}
    for result in time_jobs(jobs, options.threads, options.rounds, PEERS):
        medians, missing = result["medians"], result["missing"]
        absent |= {p: why for p, why in missing.items() if why != UNSUPPORTED}
        cells = [f"{medians[peer]:,.1f}" if peer in medians else "" for peer in PEERS]
        print(f"{result['title']:<{first}}" + "".join(f"{cell:>17}" for cell in cells), flush=True)
    for peer, reason in absent.items():
        print(f"{peer} is missing: {reason}")

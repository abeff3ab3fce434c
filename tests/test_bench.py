"""The benchmarks run and say what they found; how long anything takes is not tested."""

import json
import subprocess
import sys
from pathlib import Path

from bench import report, roofline

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_a_run_writes_what_it_prints(tmp_path):
    shown = run("bench", "--jobs", "row", "--peers", "cmlp", "--rounds", "2", "--save", tmp_path)
    assert "| cmlp |" in shown
    results = json.loads((tmp_path / "results.json").read_text())
    [job] = results["jobs"]
    assert (job["job"], job["cores"], len(job["times"]["cmlp"])) == ("row", 1, 2)
    assert report.job_table(job) in (tmp_path / "results.md").read_text()


def test_a_missing_peer_is_named():
    answer = json.loads(run("bench.worker", "nothing_", "row"))
    assert "nothing_" in answer["missing"]
    result = {"title": "a job", "cores": 1, "isa": None, "times": {"cmlp": [1.0]},
              "medians": {"cmlp": 1.0}, "missing": {"Peer": "No module named 'peer'"}}  # fmt: skip
    assert "| Peer | missing: No module named 'peer' |" in report.job_table(result)


def test_the_probe_counts_its_multiply_adds():
    assert roofline.peak(4) > 0
    assert roofline.read_bandwidth(1 << 14) > 0
    assert set(roofline.product_times("float64", 5, 7, 16)) == {"forward", "backward", "update"}

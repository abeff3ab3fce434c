"""The benchmarks run and print their results; the times themselves are not tested."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import bits, report, roofline
from cmlp._core import kernels

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
    assert report.format_job(job) in (tmp_path / "results.md").read_text()


def test_a_missing_peer_is_named():
    answer = json.loads(run("cmlp._bench.worker", "nothing_", "row"))
    assert "nothing_" in answer["missing"]
    result = {"title": "a job", "cores": 1, "isa": None, "times": {"cmlp": [1.0]},
              "medians": {"cmlp": 1.0}, "missing": {"Peer": "No module named 'peer'"}}  # fmt: skip
    assert "| Peer | missing: No module named 'peer' |" in report.format_job(result)


@pytest.mark.parametrize("cost", [1e-4, 0.03])
def test_the_time_of_a_call_is_measured_over_several_calls(monkeypatch, cost):
    now = 0.0

    def call():
        nonlocal now
        now += cost

    monkeypatch.setattr(roofline.time, "perf_counter", lambda: now)
    assert roofline.time_call(call) == pytest.approx(cost)
    assert now >= 5 * max(cost, 0.02)


def test_rates_follow_from_the_times(monkeypatch, isa):
    def half_a_second(call):
        call()
        return 0.5

    monkeypatch.setattr(roofline, "time_call", half_a_second)
    for itemsize in (4, 8):
        lanes = kernels.get_vector_bytes() // itemsize
        count = kernels.multiply_adds(itemsize, 10)
        assert count == 10 * kernels.multiply_adds(itemsize, 1)
        assert count % (10 * lanes) == 0
        assert count > 10 * lanes, "one chain of multiply-adds measures latency"
        assert roofline.measure_peak(itemsize) == pytest.approx(2 * count * 1e5 / 0.5 * 1e-9)
    assert roofline.measure_bandwidth(1 << 14) == pytest.approx((1 << 14) / 0.5 * 1e-9)
    times = roofline.time_products("float64", 5, 7, 16)
    assert times == {"forward": 0.5, "backward": 0.5, "update": 0.5}


def test_equal_builds_have_equal_hashes():
    shown = run("bench.bits", "fit_many", "max_norm")
    lines = [re.fullmatch(r"(.+?) +[0-9a-f]{16}", line)[1] for line in shown.splitlines()]
    assert lines == ["normalization: mixed, dropout, max_norm", "max_norm", "fit_many"]
    assert run("bench.bits", "fit_many", "max_norm") == shown
    names = [name for name, _ in bits.CASES]
    assert len(set(names)) == len(names)

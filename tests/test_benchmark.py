"""What scripts/benchmark.py says of its figures; the figures themselves are no test."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stnlab.runs.directory import RunDirectory

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmark_cases import comparison, finished_runs

    return comparison, finished_runs


def test_a_goal_is_reached_or_missed_by_the_ratio_or_by_ours_alone(cases):
    comparison, _ = cases
    fast = comparison.Comparison("a", "images/s", 30.0, 10.0, at_least=3)
    assert (fast.ratio, fast.reached) == (3, True)
    assert comparison.Comparison("a", "images/s", 29.0, 10.0, at_least=3).reached is False
    slow = comparison.Comparison("b", "s", 0.6, 0.2, at_most=0.5, of="ours")
    assert slow.reached is False
    assert "ours <= 0.5 MISSED" in slow.line()
    assert comparison.Comparison("c", "images", None, None, note="missing").reached is None


def test_time_to_error_takes_runs_of_enough_seeds_and_says_which_are_missing(cases, tmp_path: Path):
    _, finished_runs = cases
    choices = {"data": "mnist_rotated", "placement": "none", "recipe": "fast", "backbone": "cnn_400k"}
    for seed, error in enumerate((0.011, 0.012, 0.0125)):
        run = RunDirectory(tmp_path / f"run-s{seed}")
        run.start({"choices": choices, "seed": seed}, {})
        run.write_metrics({"test/error": error, "test/ece": 0.0})
        for name in ("predictions.npz", "evaluation.npz"):
            np.savez(run.path / name)
        run.update(state="done", parameters=396_000, images_seen=330_000)
    cnn, transformer = finished_runs.time_to_error(tmp_path)
    assert (cnn.ours, cnn.reference, cnn.reached) == (330_000, 150_000 * 256, True)
    assert "error 1.18% of 3 seeds" in cnn.note
    assert transformer.ours is None
    assert "0 of 3 seeds are there" in transformer.note
    run.write_metrics({"test/error": 0.02, "test/ece": 0.0})
    assert "NOT reached" in finished_runs.time_to_error(tmp_path)[0].note


def test_an_unknown_case_names_those_there_are():
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "benchmark.py"), "sampling"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such case: sampling (choices: sampler, pipeline, loop" in done.stderr

"""What scripts/benchmark.py says of its figures; the figures themselves are no test."""

import itertools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from stnlab.compose import compose
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
    paired = comparison.side_by_side("d", "images/s", [2.0, 8.0, 3.0], [1.0, 2.0, 1.0], at_least=3.5)
    assert (paired.ours, paired.reference, paired.ratio, paired.reached) == (3, 1, 3, False)
    assert paired.note == "median 3.000 of 3 ratios, half of them within 2.000 and 4.000"


def test_time_to_error_takes_runs_that_differ_in_three_seeds_and_says_which_are_missing(cases, tmp_path: Path):
    _, finished_runs = cases

    as_printed = compose("train", ["data=mnist_rotated"])["data"]

    def finish(
        name: str,
        seed: int,
        lr: float,
        errors: tuple[float, float],
        data: Mapping[str, Any] = as_printed,
        backbone: str = "cnn_400k",
    ) -> None:
        choices = {"data": "mnist_rotated", "placement": "none", "recipe": "fast", "backbone": backbone}
        run = RunDirectory(tmp_path / f"{name}-s{seed}")
        run.start({"choices": choices, "data": data, "recipe": {"lr": lr}, "seed": seed}, {})
        run.write_metrics({"val/error": errors[0], "test/error": errors[1], "test/ece": 0.0})
        for file in ("predictions.npz", "evaluation.npz"):
            np.savez(run.path / file)
        run.update(state="done", parameters=396_000, images_seen=330_000 + seed)

    finish("a", 0, 0.01, (0.012, 0.011))
    finish("again", 0, 0.01, (0.012, 0.011))
    finish("a", 1, 0.01, (0.012, 0.012))
    assert "2 of 3 seeds are there" in finished_runs.time_to_error(tmp_path)[0].note
    easier = compose("train", ["data=mnist_rotated", "data.distortion.rotation=[-45,45]"])["data"]
    finish("easier", 2, 0.01, (0.001, 0.001), easier)
    assert "2 of 3 seeds are there" in finished_runs.time_to_error(tmp_path)[0].note
    for seed in range(3):
        finish("fully connected", seed, 0.01, (0.001, 0.001), backbone="fcn_400k")
    assert "2 of 3 seeds are there" in finished_runs.time_to_error(tmp_path)[0].note
    finish("a", 2, 0.01, (0.012, 0.0125))
    cnn, transformer = finished_runs.time_to_error(tmp_path)
    assert (cnn.ours, cnn.reference, cnn.reached) == (330_002, 150_000 * 256, True)
    assert "error 1.18% of 3 seeds" in cnn.note
    assert transformer.ours is None
    assert "0 of 3 seeds are there" in transformer.note
    for seed in range(3):
        finish("better on validation", seed, 0.02, (0.011, 0.02))
    cnn = finished_runs.time_to_error(tmp_path)[0]
    assert "error 2.00% of 3 seeds, printed 1.2%: NOT reached with 330,002 images" in cnn.note
    assert cnn.ours is None


def test_cases_that_train_in_this_process_compare_the_same_work(
    cases, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    from benchmark_cases import sampling, stacking, training

    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    few = [*training.ONE_EPOCH, "backbone.channels=[4,4]", "data.train_size=690", "recipe.batch_size=32"]
    monkeypatch.setattr(training, "ONE_EPOCH", few)
    monkeypatch.setattr(training, "REPEATS", 1)
    trained: dict[str, list[int]] = {"sum": [], "mean": []}  # ours, and as a script would write it
    order = []
    entropy = training.F.cross_entropy

    def noted(logits: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
        if logits.requires_grad:
            trained[reduction].append(len(label))
            order.append(reduction)
        return entropy(logits, label, reduction=reduction)

    monkeypatch.setattr(training.F, "cross_entropy", noted)
    assert training.loop()[0].ratio > 0
    assert sum(trained["mean"]) == 4 * 690
    assert trained["sum"] == trained["mean"]
    turns = [steps * [side] for steps in (10, 10, 2) for side in ("sum", "mean")]
    turns += [steps * [side] for steps in (10, 10, 2) for side in ("mean", "sum")]
    assert order == 2 * list(itertools.chain(*turns))

    monkeypatch.setattr(sampling, "SHAPES", ((2, 1, 28, 28),))
    monkeypatch.setattr(sampling, "SECONDS", 0.0)
    monkeypatch.setattr(sampling, "REPEATS", 1)
    names = [one.case for one in sampling.sampler() if one.ratio > 0]
    assert len(names) == 4 + 9
    for name, small in {"SECONDS": 0.0, "SEEDS": [2], "REPEATS": 1}.items():
        monkeypatch.setattr(stacking, name, small)
    assert [one.ratio > 0 for one in stacking.stacked()] == [True, True]


@pytest.mark.parametrize("starts", [True, False])
def test_the_clock_stands_between_turns(starts: bool, cases, monkeypatch: pytest.MonkeyPatch):
    from benchmark_cases import clocks

    time, calls = 0.0, []
    monkeypatch.setattr(clocks, "now", lambda: time)
    clock, nothing = clocks.TrainingClock(), None

    def between() -> None:
        nonlocal time
        calls.append(time)
        time += 100.0

    monkeypatch.setattr(clocks.TrainingClock, "between", between)
    monkeypatch.setattr(clocks.TrainingClock, "starts", starts)
    trainer: Any = SimpleNamespace(global_step=0)
    clock.on_train_start()
    for trainer.global_step in range(1, 26):
        time += 1.0
        clock.on_train_batch_end(trainer, nothing)
    clock.on_train_end()
    assert clock.seconds == 25.0
    assert calls == ([10.0, 120.0] if starts else [0.0, 110.0, 220.0])


def test_an_unknown_case_names_those_there_are():
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "benchmark.py"), "sampling"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such case: sampling (choices: sampler, pipeline, loop" in done.stderr

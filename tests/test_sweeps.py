"""Sweeps that are taken up again: by resume, beside another process, and as status shows them."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from stnlab import resume, status
from stnlab.compose import to_config
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.sweeps import sweeps
from stnlab.sweeps import compose_jobs
from stnlab.train import main, train
from stnlab.training import devices

QUICK = ["recipe=smoke", "recipe.steps=2", "callbacks=quiet", "logger=none", "trainer=cpu"]
QUICK += ["data.train_size=300", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    monkeypatch.setenv("COLUMNS", "200")


def test_resume_trains_what_is_left_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sweep = ["-m", *QUICK, "study=mine", "placement=none", "seed=0,1"]
    main(sweep)
    main([*sweep, "fresh=true"])
    main([*QUICK, "study=mine", "placement=none", "seed=7"])
    assert [len(one.arguments) for one in sweeps(Path("runs/mine"))] == [len(sweep)]
    runs = find_runs(Path("runs/mine"))
    results = [(run.path / "metrics.json").read_bytes() for run in runs]
    interrupted, failed, finished = runs[0], runs[2], runs[1]
    for run, state in ((interrupted, "running"), (failed, "failed")):
        run.update(state=state, error="RuntimeError: made for this test")
        (run.path / "metrics.json").unlink()
    before = finished.info

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    assert resume.main(["../runs/mine"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("../runs/mine: nothing is left to do")
    monkeypatch.chdir(tmp_path)
    assert {run.state for run in runs} == {"done"}
    assert [(run.path / "metrics.json").read_bytes() for run in runs] == results
    assert finished.info == before
    with pytest.raises(StnlabError, match="no such study"):
        resume.main(["runs/other"])


def test_status_tells_the_running_from_the_interrupted(capsys: pytest.CaptureFixture[str]):
    main(["-m", *QUICK, "study=mine", "placement=none", "seed=0,1,2,3"])
    runs = find_runs(Path("runs/mine"))
    for run in runs[1:3]:
        run.update(state="running")
    runs[3].fail("ValueError: one line", "all of\nthe traceback")
    assert runs[3].error_log.read_text() == "all of\nthe traceback"
    with runs[1].lock():
        assert [status.activity(run) for run in runs] == ["done", "running", "interrupted", "failed"]
        capsys.readouterr()
        status.main(["runs/mine"])
    out = capsys.readouterr().out
    for words in ("4 runs: 1 done, 1 running, 1 interrupted, 1 failed", "ValueError: one line", "test error"):
        assert words in out
    status.main(["runs/mine", "--watch"])
    with pytest.raises(StnlabError, match="no such option"):
        status.main(["runs/mine", "--wach"])


def test_a_second_process_waits_for_a_busy_run_or_skips_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [*QUICK, "study=mine", "placement=none"]
    main(command)
    (run,) = find_runs(Path("runs/mine"))
    run.update(state="running")
    other = RunDirectory(run.path)
    locked, release = threading.Event(), threading.Event()

    def train_elsewhere() -> None:
        with other.lock():
            locked.set()
            release.wait(60)
            other.update(state="done")

    thread = threading.Thread(target=train_elsewhere)
    thread.start()
    locked.wait(60)
    capsys.readouterr()
    main([*command, "busy=skip"])
    assert "another process is training this run; skipped" in capsys.readouterr().out
    threading.Timer(1.0, release.set).start()
    stamp = run.last_checkpoint.stat().st_mtime_ns
    main(command)
    thread.join()
    said = capsys.readouterr().out
    assert "waiting for it" in said
    assert ": starts" not in said
    assert run.last_checkpoint.stat().st_mtime_ns == stamp


def test_jobs_side_by_side_skip_and_fail_as_those_in_turn_do(capfd: pytest.CaptureFixture[str]):
    sweep = ["-m", *QUICK, "study=mine", "hydra/launcher=parallel", "placement=deep", "seed=0"]
    main([*sweep, "placement.depth=1"])
    (alone,) = find_runs(Path("runs/mine"))
    stamp = alone.last_checkpoint.stat().st_mtime_ns
    with pytest.raises(StnlabError, match="one job failed as told above"):
        main([*sweep, "placement.depth=1,2,9"])
    said = capfd.readouterr()
    assert "3 jobs: 1 done, 1 skipped, 1 failed\nfailed: placement.depth=9: placement.depth=9: there is no" in said.out
    assert alone.last_checkpoint.stat().st_mtime_ns == stamp
    with pytest.raises(StnlabError, match=r"hydra.launcher.n_jobs=0: should be a whole number of at least 1"):
        main([*sweep, "hydra.launcher.n_jobs=0"])


def test_each_process_takes_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    taken = []
    for _ in range(4):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        monkeypatch.setattr(devices, "_claimed", [])
        devices.claim_device(jobs_per_device=2)
        devices.claim_device(jobs_per_device=2)  # the next job of the same process
        taken.append((os.environ["CUDA_VISIBLE_DEVICES"], devices._claimed))
    assert [name for name, _ in taken] == ["4", "6", "4", "6"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(devices, "_claimed", [])
    with pytest.raises(StnlabError, match=r"all places on the 2 GPUs here are taken; give hydra.launcher.n_jobs=4"):
        devices.claim_device(jobs_per_device=2)


def test_a_diverged_run_fails_with_the_step_and_keeps_its_last_good_checkpoint():
    jump = "+recipe.schedule={_target_: stnlab.training.recipe.staircase, _partial_: true, parts: 2, factor: 1e30}"
    with pytest.raises(StnlabError, match=r"loss is NaN or infinite at step [4-6]: the learning rate .* is likely"):
        main([*QUICK, "study=mine", "placement=none", "recipe.steps=null", "recipe.epochs=2", "~recipe.schedule", jump])
    (run,) = find_runs(Path("runs/mine"))
    assert run.state == "failed"
    assert run.info["error"].startswith("StnlabError: loss is NaN or infinite at step")
    assert "Traceback" in run.error_log.read_text()
    assert len(run.history) == 1
    state = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    assert all(bool(values.isfinite().all()) for values in state.values())


def test_jobs_are_composed_together_as_each_would_be_alone(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def compare(launch: object, loader: Any, master: Any, jobs: Any, first: int) -> list[Any]:
        def plain(config: Any) -> dict[str, Any]:
            return {key: value for key, value in to_config(config).items() if key != "overrides"}

        together = [plain(config) for config in compose_jobs(loader, master, jobs)]
        alone = [plain(loader.load_sweep_config(master, list(job))) for job in jobs]
        assert together == alone
        seen.extend(together)
        return []

    monkeypatch.setattr("stnlab.sweeps.launch_unfinished", compare)
    values = ["seed=0,1", "+backbone.more=1", "~recipe.eval_batch_size", "logger=[csv,tensorboard]", "study=s${seed}"]
    main(["-m", *QUICK, *values, "placement=deep,shared", "placement.depth=1,2"])
    assert len(seen) == 8
    assert seen[-1]["study"] == "s1"


def test_an_interrupted_sweep_says_what_is_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def train_two(config: dict[str, Any]) -> None:
        if config["seed"] == 2:
            raise KeyboardInterrupt
        train(config)

    monkeypatch.setattr("stnlab.train.train", train_two)
    sweep = ["-m", *QUICK, "study=mine", "placement=none", "seed=0,1,2,3"]
    with pytest.raises(KeyboardInterrupt):
        main(sweep)
    assert capsys.readouterr().out.rstrip().endswith("4 jobs: 2 done, 0 skipped, 0 failed, 2 left")

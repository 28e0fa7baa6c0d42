"""Sweeps that are taken up again: by resume, beside another process, and as status shows them."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.utils import JobReturn

from stnlab import resume, status, sweeps
from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.runs import files
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.identity import normalise
from stnlab.runs.plan import Planned, change_plan, read_plan
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
    runs = find_runs(Path("runs/mine"))
    assert read_plan(Path("runs/mine")).keys() == {run.name for run in runs[:2]}
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
    assert capsys.readouterr().out.rstrip().endswith("../runs/mine: 2 of 2 unfinished runs trained")
    assert resume.main(["../runs/mine"]) == 0
    assert capsys.readouterr().out == "../runs/mine: 0 of 0 unfinished runs trained\n"
    monkeypatch.chdir(tmp_path)
    assert {run.state for run in runs} == {"done"}
    assert [(run.path / "metrics.json").read_bytes() for run in runs] == results
    assert finished.info == before
    with pytest.raises(StnlabError, match="no such study"):
        resume.main(["runs/other"])


def test_what_is_damaged_is_made_again_without_a_plan_or_named(capsys: pytest.CaptureFixture[str]):
    main([*QUICK, "study=mine", "placement=none", "seed=0"])
    main([*QUICK, "study=mine", "placement=none", "seed=1"])
    cut, garbage = (run.path for run in find_runs(Path("runs/mine")))
    arrays, state = cut / "predictions.npz", garbage / "run.json"
    before = arrays.read_bytes()
    arrays.write_bytes(before[:100])
    state.write_text("{")
    with pytest.raises(StnlabError, match=r"run\.json: cannot be read as JSON"):
        resume.main(["runs/mine"])
    assert capsys.readouterr().out.rstrip().endswith("1 of 2 unfinished runs trained")
    assert arrays.read_bytes() == before


def test_a_job_stays_planned_that_another_machine_could_train(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "count_gpus", lambda: 0)
    sweep = ["-m", *QUICK, "study=mine", "placement=none"]
    for choice in ("trainer.accelerator=gpu", "backbone.kernels=[0,1]", "+trainer.gpus=2"):
        with pytest.raises(StnlabError, match="one job failed"):
            main([*sweep, choice])
    (planned,) = read_plan(Path("runs/mine")).values()
    assert "trainer.accelerator=gpu" in planned.arguments
    with pytest.raises(StnlabError, match="finds no GPU here"):
        resume.main(["runs/mine"])
    assert len(read_plan(Path("runs/mine"))) == 1
    assert resume.main(["runs/mine", "trainer.accelerator=cpu"]) == 0


def test_a_fault_of_the_users_code_is_no_wrong_choice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "count_gpus", lambda: 0)
    monkeypatch.setattr("stnlab.training.components.build_components", lambda _: 1 / 0)
    with pytest.raises(StnlabError, match="one job failed"):
        main(["-m", *QUICK, "study=mine", "placement=none", "trainer.accelerator=gpu"])
    assert len(read_plan(Path("runs/mine"))) == 1


def test_results_stay_where_a_fresh_start_came_to_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "count_gpus", lambda: 0)
    sweep = ["-m", *QUICK, "study=mine", "placement=none"]
    main(sweep)
    (run,) = find_runs(Path("runs/mine"))
    with run.lock():
        subprocess.run([sys.executable, "-m", "stnlab.train", *sweep, "fresh=true", "busy=skip"], check=True)
    assert run.finished
    with pytest.raises(StnlabError, match="one job failed"):
        main([*sweep, "fresh=true", "trainer.accelerator=gpu"])
    assert run.finished


def test_after_a_killed_process_a_run_that_failed_before_is_tried():
    runs = [RunDirectory(Path("runs/mine") / name) for name in ("new", "old")]
    runs[1].start({"choices": {}}, {})
    runs[1].fail("disk full", "yesterday")
    launched = []

    def launch(jobs: Any, *_: Any) -> list[JobReturn]:
        launched.append(list(jobs))
        if len(jobs) > 1:
            raise BrokenProcessPool
        return [JobReturn()]

    before = {number: sweeps._ended_at(run) for number, run in enumerate(runs)}
    sweeps._launched(launch, [["seed=0"], ["seed=1"]], before, runs, 0)
    assert launched == [[["seed=0"], ["seed=1"]], [["seed=0"]], [["seed=1"]]]


def test_status_tells_the_running_from_the_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    main(["-m", *QUICK, "study=mine", "placement=none", "seed=0,1,2,3"])
    runs = find_runs(Path("runs/mine"))
    for run in runs[1:3]:
        run.update(state="running")
    files.write_json(runs[1].path / "run.json", {k: v for k, v in runs[1].info.items() if k != "train_seconds"})
    runs[3].fail("ValueError: one line", "all of\nthe traceback")
    assert runs[3].error_log.read_text() == "all of\nthe traceback"
    change_plan(Path("runs/mine"), {"never-started": Planned([], "")})
    with runs[1].lock():
        assert [status.activity(run) for run in runs] == ["done", "running", "interrupted", "failed"]
        capsys.readouterr()
        status.main(["runs/mine"])
    out = capsys.readouterr().out
    for words in (
        "5 runs: 1 done, 1 running, 1 waiting, 1 interrupted, 1 failed",
        "2 of 2 steps",
        "ValueError: one line",
        "test error",
    ):
        assert words in out
    (runs[0].path / "run.json").write_text("{")
    monkeypatch.setattr(status, "PATIENCE", 0.0)
    monkeypatch.setattr(status, "EVERY", 0.0)
    status.main(["runs/mine", "--watch"])
    assert "damaged" in capsys.readouterr().out
    with pytest.raises(StnlabError, match="no such option"):
        status.main(["runs/mine", "--wach"])


def test_a_watch_waits_for_the_jobs_of_a_cluster(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    run = RunDirectory(Path("runs/mine/a-run"))
    change_plan(Path("runs/mine"), {run.name: Planned([], "")})
    Path("runs/.hydra/mine/submitit").mkdir(parents=True)
    files.write_json(Path("runs/.hydra/mine/submitit/jobs.json"), {str(run.path.absolute()): "7_0"})
    looks = []

    def interrupt_at_last(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "PATIENCE", -1.0)
    monkeypatch.setattr(status.time, "sleep", interrupt_at_last)
    with pytest.raises(KeyboardInterrupt):
        status.main(["runs/mine", "--watch"])
    Path("runs/.hydra/mine/submitit/jobs.json").unlink()
    status.main(["runs/mine", "--watch"])
    assert len(looks) == 3, "without a cluster nothing is waited for any longer"


def test_a_second_process_waits_for_a_busy_run_or_skips_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
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
    told: list[str] = []

    def tell(text: str, flush: bool) -> None:
        told.append(text)
        release.set()

    monkeypatch.setattr("stnlab.runs.directory.print", tell, raising=False)
    stamp = run.last_checkpoint.stat().st_mtime_ns
    main(command)
    thread.join()
    assert "waiting for it" in told[0]
    assert ": starts" not in capsys.readouterr().out
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
    with pytest.raises(StnlabError, match=r"hydra.launcher.n_jobs=0: should be greater than or equal to 1"):
        main([*sweep, "hydra.launcher.n_jobs=0"])


def test_a_damaged_run_fails_alone(capsys: pytest.CaptureFixture[str]):
    sweep = ["-m", *QUICK, "study=mine", "placement=none"]
    main([*sweep, "seed=0"])
    (run,) = find_runs(Path("runs/mine"))
    (run.path / "run.json").write_text("{")
    with pytest.raises(StnlabError, match="one job failed as told above"):
        main([*sweep, "seed=0,1"])
    assert "2 jobs: 1 done, 0 skipped, 1 failed" in capsys.readouterr().out


def test_a_later_sweep_of_the_same_interpreter_trains_in_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        main(["-m", *QUICK, "study=mine", "hydra/launcher=parallel", "placement=none", "seed=0,1"])
        assert "2 jobs: 2 done, 0 skipped, 0 failed" in capfd.readouterr().out
        assert len(find_runs(Path("runs/mine"))) == 2


def test_a_killed_process_fails_its_own_job_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "deadly.py").write_text(
        "import os\n"
        "from stnlab.models.backbones import cnn\n"
        "def backbone(input_shape: tuple[int, ...], outputs: int, deadly: bool):\n"
        "    if deadly:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return cnn(input_shape, outputs, [4, 4], [9, 7])\n"
    )
    quick = [one for one in QUICK if not one.startswith("backbone")]
    (tmp_path / "conf" / "backbone").mkdir(parents=True)
    (tmp_path / "conf" / "backbone" / "deadly.yaml").write_text("_target_: deadly.backbone\ndeadly: false\n")
    sweep = ["-m", "--config-dir=conf", *quick, "study=mine", "placement=none", "hydra/launcher=parallel"]
    done = subprocess.run(
        [sys.executable, "-m", "stnlab.train", *sweep, "backbone=deadly", "backbone.deadly=false,true", "seed=0,1"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "4 jobs: 2 done, 0 skipped, 2 failed" in done.stdout
    assert "its process was killed" in done.stdout


def test_sigterm_to_a_sweep_lets_each_job_at_work_finish_its_step(tmp_path: Path):
    (tmp_path / "slow.py").write_text(
        "import time, pytorch_lightning as pl\n"
        "class Slow(pl.Callback):\n"
        "    def on_train_batch_end(self, *_): time.sleep(0.5)\n"
    )
    choices = [*QUICK, "recipe.steps=500", "study=mine", "placement=none", "checkpoint_seconds=2"]
    choices += ["+callbacks.slow._target_=slow.Slow"]
    # Of four processes two train, one waits for a run, for which no time is given, and one has nothing to do.
    sweep = ["-m", *choices, "seed=0,1,2", "hydra/launcher=parallel", "hydra.launcher.n_jobs=4"]
    elsewhere = RunDirectory.of(Path("runs/mine"), normalise(compose("train", [*choices, "seed=0"])))
    printed, said = tmp_path / "printed", tmp_path / "said"
    with elsewhere.lock(), printed.open("w") as out, said.open("w") as err:
        command = subprocess.Popen(
            [sys.executable, "-m", "stnlab.train", *sweep],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            while len(kept := list(tmp_path.glob("runs/mine/*/checkpoints/last.ckpt"))) < 2:
                assert command.poll() is None
                time.sleep(0.1)
            told = time.time()
            command.terminate()
            command.wait(timeout=30)
        finally:
            if command.poll() is None:
                os.killpg(command.pid, signal.SIGKILL)
    assert "another process is training this run" in printed.read_text()
    assert command.returncode == 130
    assert said.read_text().rstrip().endswith("interrupted: the same command goes on from the last checkpoint")
    assert all(path.stat().st_mtime > told for path in kept)
    runs = [RunDirectory(path.parents[1]) for path in kept]
    assert {run.state for run in runs} == {"running"}
    assert not any(run.busy for run in runs)  # a lock is held by a living process alone


def test_tasks_of_ray_skip_and_fail_as_those_in_turn_do():
    pytest.importorskip("ray", reason="hydra/launcher=ray_tasks needs ray")
    main([*QUICK, "study=mine", "placement=deep", "placement.depth=1"])
    (alone,) = find_runs(Path("runs/mine"))
    stamp = alone.last_checkpoint.stat().st_mtime_ns
    sweep = ["-m", "hydra/launcher=ray_tasks", *QUICK, "study=mine", "placement=deep", "placement.depth=1,2,9"]
    done = subprocess.run(  # Ray and its workers end with the process
        [sys.executable, "-m", "stnlab.train", *sweep], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert (
        "3 jobs: 1 done, 1 skipped, 1 failed\nfailed: placement.depth=9: placement.depth=9: there is no" in done.stdout
    )
    assert alone.last_checkpoint.stat().st_mtime_ns == stamp
    assert {run.state for run in find_runs(Path("runs/mine"))} == {"done"}


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


MEMORY = """
import sys, weakref
import stnlab.sweeps
from stnlab.train import main
from stnlab.training.classifier import Classifier

alive = weakref.WeakSet()
make, free = Classifier.__init__, stnlab.sweeps._free_memory


def noted(self, *args, **options):
    make(self, *args, **options)
    alive.add(self)


def freed():
    assert len(alive) == 1
    free()
    assert not alive


Classifier.__init__, stnlab.sweeps._free_memory = noted, freed
main(sys.argv[1:])
"""


def test_nothing_of_a_job_is_in_memory_when_the_next_one_starts():
    jobs = ["-m", *QUICK, "seed=0,1", "logger=wandb", "logger.wandb.mode=offline"]  # imported in the first job
    subprocess.run([sys.executable, "-c", MEMORY, *jobs], check=True)


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

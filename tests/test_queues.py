"""Jobs that outlive the command that started them: on this machine, and what needs no SLURM of the other queue."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.stnlab_launchers.queued_job import QueuedJob
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.train import main

QUICK = ["recipe=smoke", "recipe.steps=2", "callbacks=quiet", "logger=none", "trainer=cpu"]
QUICK += ["data.train_size=300", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_jobs_of_the_local_queue_fail_alone_and_survive_ctrl_c(capfd: pytest.CaptureFixture[str]):
    sweep = ["-m", *QUICK, "study=mine", "hydra/launcher=local_queue", "placement=deep", "placement.depth=1,2,9"]
    command = subprocess.Popen(
        [sys.executable, "-m", "stnlab.train", *sweep, "recipe.steps=10"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "0 of 3 jobs ended, 2 running, 1 waiting\n"
    os.killpg(command.pid, signal.SIGINT)  # what a terminal does
    said, _ = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "2 jobs go on; python -m stnlab.status runs/mine --watch" in said
    deadline = time.monotonic() + 300
    while not finished(Path("runs/mine")) and time.monotonic() < deadline:
        time.sleep(0.2)
    capfd.readouterr()
    with pytest.raises(StnlabError, match="one job failed as told above"):
        main([*sweep, "recipe.steps=10"])
    said_now = capfd.readouterr()
    assert "3 jobs: 0 done, 2 skipped, 1 failed\nfailed: placement.depth=9: placement.depth=9: there is no" in (
        said_now.out
    )
    assert "placement.depth=9: there is no such stage" in said_now.err


def finished(study: Path) -> bool:
    return [run.state for run in find_runs(study, empty=True)] == ["done", "done"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["local_queue", "n_jobs=0"], r"^hydra\.launcher\.n_jobs=0: should be greater than or equal to 1$"),
        (["local_queue", "minutes=1.5"], r"^hydra\.launcher\.minutes=1\.5: should be a valid integer$"),
        (["slurm", "gpus=-1"], r"^hydra\.launcher\.gpus=-1: should be greater than or equal to 0$"),
        (
            ["slurm", "minutes=2"],
            r"^hydra\.launcher\.warning_seconds=120: should be less than the time limit of 2 min$",
        ),
        (["slurm", "sbatch=qos"], r"^hydra\.launcher\.sbatch=qos: should be a valid dictionary$"),
        (["slurm"], r"^hydra/launcher=slurm: there is no sbatch here; give the command where SLURM is$"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    launcher, *values = options
    with pytest.raises(StnlabError, match=line):
        main(["-m", *QUICK, f"hydra/launcher={launcher}", *(f"hydra.launcher.{value}" for value in values)])
    assert not Path("runs").exists()


def warned_by(number: signal.Signals) -> JobReturn:
    signal.raise_signal(number)
    time.sleep(10)  # the handler comes first
    raise AssertionError("the job went on")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGUSR1, 144), (signal.SIGUSR2, 144), (signal.SIGTERM, 130)])
def test_a_warned_job_goes_back_into_the_queue_and_an_ended_one_does_not(
    number: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "1")
    with pytest.raises(SystemExit) as left:
        QueuedJob(lambda overrides: warned_by(number))([], None, None)
    assert left.value.code == status  # 144: what submitit's local queue starts again


def test_a_job_that_only_ever_reaches_its_time_limit_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    returned = QueuedJob(lambda overrides: warned_by(signal.SIGUSR2), max_restarts=2)([], None, None)
    assert returned.status is JobStatus.FAILED
    with pytest.raises(StnlabError, match="reached its time limit 3 times; the same command goes on"):
        _ = returned.return_value


def test_a_requeued_job_throws_away_only_what_was_there_before(tmp_path: Path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.update(state="running", id="old")
    seen: list[list[str]] = []

    def job(overrides: list[str]) -> JobReturn:
        seen.append(overrides)
        return JobReturn()

    for name in ("old", "new"):
        run.update(id=name)
        QueuedJob(job)(["seed=1", "fresh=true"], run.path, "old")
    assert seen == [["seed=1", "fresh=true"], ["seed=1", "fresh=false"]]

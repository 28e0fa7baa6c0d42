"""A run of several processes of which one dies, and several such runs side by side."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from stnlab.errors import StnlabError
from stnlab.runs.directory import find_runs
from stnlab.train import main
from stnlab.training import worker

RUN = ["recipe=smoke", "recipe.steps=null", "recipe.epochs=3", "recipe.batch_size=32", "callbacks=quiet", "logger=none"]
RUN += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.threads=1", "placement=none", "backbone.channels=[4,4]"]
RUN += ["checkpoint_seconds=0.1", "data.train_size=2000", "data.test_size=100"]
RUN += ["data.validation_size=1"]  # one of the processes has none
RUN += ["evaluation.images=10", "evaluation.rotations=2", "evaluation.scales=3", "+trainer.accumulate_grad_batches=2"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def workers(folder: Path) -> dict[str, int]:
    """Rank -> pid of the living processes, zombies too, of runs that a command in this folder started."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").resolve() == folder and "stnlab.training.worker" in (
                command := (process / "cmdline").read_text()
            ):
                entries = (process / "environ").read_text().split("\0")
                ranks = [entry.removeprefix("RANK=") for entry in entries if entry.startswith("RANK=")]
                found[ranks[0] if ranks else f"torchrun {command[:10]}"] = int(process.name)
        except (OSError, ValueError):
            continue
    return found


def kill_when_training(folder: Path, rank: str) -> None:
    while not list(folder.glob("runs/killed/*/checkpoints/last.ckpt")):
        time.sleep(0.05)
    os.kill(workers(folder)[rank], signal.SIGKILL)


@pytest.mark.parametrize("gone", ["the command", "torchrun"])
def test_a_process_does_not_outlive_those_that_it_works_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str):
    def ended(status: int) -> None:
        raise SystemExit(status)

    ended_command = subprocess.Popen(["true"])
    ended_command.wait()
    parents = iter([5, 5, 1])
    monkeypatch.setattr(worker.os, "getppid", lambda: next(parents) if gone == "torchrun" else 5)
    monkeypatch.setattr(worker.os, "_exit", ended)
    monkeypatch.setattr(worker, "WATCH", 0)
    with pytest.raises(SystemExit):
        worker.end_with(os.getpid() if gone == "torchrun" else ended_command.pid, tmp_path / "stop")


def test_a_dead_process_ends_the_run_as_failed_and_it_goes_on_later(tmp_path: Path):
    killer = threading.Thread(target=kill_when_training, args=(tmp_path, "1"), daemon=True)
    killer.start()
    with pytest.raises(StnlabError, match="a process of this run failed"):
        main([*RUN, "study=killed"])
    killer.join()
    assert workers(tmp_path) == {}
    (run,) = find_runs(Path("runs/killed"))
    assert run.state == "failed"
    assert not run.busy
    steps = run.history[-1]["step"] if run.history else 0

    main(["-m", *RUN, "study=killed"])
    main(["-m", *RUN, "study=whole,beside", "hydra/launcher=parallel"])
    (whole,), (beside,) = (find_runs(Path("runs") / study) for study in ("whole", "beside"))
    assert steps < whole.history[-1]["step"]
    assert run.metrics == whole.metrics == beside.metrics
    assert run.history == whole.history
    assert workers(tmp_path) == {}

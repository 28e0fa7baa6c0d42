"""A sweep on a SLURM cluster of one node, of which every job is disturbed in another way."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from hydra_plugins.stnlab_launchers import slurm
from stnlab.errors import StnlabError
from stnlab.runs.directory import find_runs
from stnlab.train import main

pytestmark = pytest.mark.slurm
SMALL = ["recipe=smoke", "recipe.steps=300", "recipe.batch_size=32", "callbacks=quiet", "logger=none", "trainer=cpu"]
SMALL += ["data.train_size=9600", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]
SMALL += ["placement=none", "checkpoint_seconds=10000", "+callbacks.slow={_target_: slow.Slow}"]
SMALL += ["evaluation.images=50", "evaluation.rotations=4", "evaluation.scales=3"]
SMALL += ["trainer.threads=1"]  # results depend on it, and jobs get one thread for each of their cores
SLURM = ["-m", "hydra/launcher=slurm", "hydra.launcher.cpus=1", "hydra.launcher.memory_gib=2"]
SLOW = """
import time
from pathlib import Path
import pytorch_lightning as pl

class Slow(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if Path("slow").exists():
            Path("-".join(Path(trainer.default_root_dir).parts[-2:]) + ".training").touch()
            time.sleep(0.3)
"""
started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, in which a file `slow` makes each step last 0.3 s. Whatever happens, nothing goes on."""
    if shutil.which("scontrol") is None or "= stnlab" not in ask("scontrol", "show", "config"):
        pytest.skip("there is no SLURM for tests: scripts/slurm_single_node.sh start, and export what it says")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in {"STNLAB_DATA": mnist_root, "OMP_NUM_THREADS": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slow").touch()
    yield
    for command in started:
        command.kill()
        command.wait()
    for end in (["--full", "--signal=KILL"], []):
        subprocess.run(["scancel", "--user=root", *end], check=False)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def queue() -> dict[str, str]:
    return dict(line.split("|") for line in ask("squeue", "--noheader", "--array", "--format=%i|%T").split())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, queue()
        assert all(command.poll() in (None, -signal.SIGKILL) for command in started)
        time.sleep(0.3)


def logs(study: str) -> list[str]:
    return [log.read_text() for log in sorted(Path(f"runs/.hydra/{study}/submitit").glob("*log.out"))]


def start(*command: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "stnlab.train", *SLURM, *SMALL, *command]
    started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
    return started[-1]


def start_at_once(jobs: Collection[str]) -> None:
    """SLURM would let a requeued job wait for two minutes."""
    for job in jobs:
        ask("scontrol", "update", f"jobid={job}", "StartTime=now")


def kept_and_requeued(study: str, jobs: Collection[str]) -> bool:
    """A job that was told to stop before its training began has nothing to keep: it tries again."""
    kept = [run.last_checkpoint.exists() for run in find_runs(Path("runs", study), empty=True)]
    requeued = ["Restarts=0" not in ask("scontrol", "show", "job", "--oneliner", job) for job in jobs]
    if all(requeued) and sum(kept) < len(jobs):
        start_at_once(jobs)
    return all(requeued) and sum(kept) == len(jobs)


def test_pre_empted_warned_and_timed_out_jobs_end_as_undisturbed_ones_do():
    warned_early = ["hydra.launcher.minutes=1", "hydra.launcher.warning_seconds=5", "hydra.launcher.partition=steady"]
    two_of_six_cores = ["hydra.launcher.cpus=2", "hydra.launcher.array_parallelism=2"]  # three more displace one job
    limited = start("study=limited", "seed=2", *warned_early)
    first = start("study=disturbed", "seed=0,1", *two_of_six_cores)
    wait_for(lambda: len(list(Path().glob("disturbed*.training"))) == 2)
    (timed_out,) = ask("squeue", "--noheader", "--partition=steady", "--format=%i").split()
    jobs = [job for job in queue() if job != timed_out]
    ask("sbatch", "--partition=urgent", "--cpus-per-task=3", "--mem=100", "--wrap=true")
    wait_for(lambda: sum("DUE TO PREEMPTION" in log for log in logs("disturbed")) == 1)
    (warned,) = (job for job in jobs if queue()[job] == "RUNNING")
    ask("scancel", "--batch", "--signal=USR1", warned)

    first.kill()  # the jobs go on, and the same command finds them
    first.wait()
    second = start("study=disturbed", "seed=0,1", *two_of_six_cores)
    wait_for(lambda: kept_and_requeued("disturbed", jobs))
    wait_for(lambda: kept_and_requeued("limited", [timed_out]))
    Path("slow").unlink()
    start_at_once([*jobs, timed_out])
    main([*SMALL, "-m", "study=undisturbed", "seed=0,1,2"])
    said, _ = second.communicate(timeout=240)
    assert second.returncode == 0, said
    assert said.count("in the queue already, as job") == 2
    assert said.endswith("2 of 2 jobs ended, 0 running, 0 waiting\n2 jobs: 2 done, 0 skipped, 0 failed\n")
    said, _ = limited.communicate(timeout=240)
    assert limited.returncode == 0, said

    disturbed = find_runs(Path("runs/disturbed")) + find_runs(Path("runs/limited"))
    for run, whole in zip(disturbed, find_runs(Path("runs/undisturbed")), strict=True):
        assert run.name == whole.name
        for name in ("metrics.json", "metrics.csv"):
            assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    (script,) = Path("runs/.hydra/disturbed/submitit").glob("[0-9]*submission.sh")
    assert "#SBATCH --array=0-1%2\n" in script.read_text()
    for log in (*logs("disturbed"), *logs("limited")):
        assert ": goes on" in log


def test_what_slurm_refuses_or_ends_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setattr(slurm.Slurm, "patience", 1.0)
    monkeypatch.setattr(slurm, "ASK", 0.5)
    command = [*SLURM, *SMALL, "study=mine", "seed=0"]
    with pytest.raises(StnlabError, match=r"the jobs were refused: invalid partition specified: nowhere; "):
        main([*command, "hydra.launcher.partition=nowhere"])
    with pytest.raises(StnlabError, match=r"the jobs were refused: .*Invalid generic resource"):
        main([*command, "hydra.launcher.gpus=1"])
    capfd.readouterr()
    main([*command, "hydra.launcher.wait=false", "hydra.launcher.account=ours", "+hydra.launcher.sbatch.comment=why"])
    (script,) = Path("runs/.hydra/mine/submitit").glob("[0-9]*submission.sh")
    for option in ("account=ours", "comment=why", "mem=2GB", "cpus-per-task=1", "time=240", "signal=B:USR2@120"):
        assert f"#SBATCH --{option}\n" in script.read_text()
    assert "1 jobs: 0 done, 0 skipped, 0 failed, 1 queued" in capfd.readouterr().out
    (job,) = queue()
    threading.Timer(3, ask, ["scancel", job]).start()
    with pytest.raises(StnlabError, match="one job failed as told above"):
        main(command)
    assert f"SLURM ended job {job}: CANCELLED (log: " in capfd.readouterr().err

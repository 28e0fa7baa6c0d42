"""Jobs of a SLURM cluster, by submitit."""

import math
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from hydra_plugins.stnlab_launchers.options import check_options
from hydra_plugins.stnlab_launchers.queue import Jobs, Queue

if TYPE_CHECKING:
    import submitit

    from stnlab.runs.directory import RunDirectory

ASK = 10.0
"""Seconds between two questions to SLURM."""
NOTES = "jobs.json"


class Slurm(Queue):
    """One job array for the jobs of a sweep that are not finished. The options are explained in `slurm.yaml`.

    A job whose time limit is near keeps its work, goes back into the queue and goes on from there; so does one that
    SLURM pre-empts or requeues.
    """

    name = "slurm"
    patience = 20.0

    def __init__(
        self,
        minutes: Annotated[int, Ge(1)],
        partition: str | None,
        account: str | None,
        cpus: Annotated[int, Ge(1)],
        gpus: Annotated[int, Ge(0)],
        memory_gib: Annotated[float, Gt(0)] | None,
        array_parallelism: Annotated[int, Ge(1)],
        warning_seconds: Annotated[int, Ge(1)],
        max_restarts: Annotated[int, Ge(0)],
        wait: bool,
        sbatch: dict[str, Any],
    ) -> None:
        from stnlab.errors import StnlabError

        sbatch = OmegaConf.to_container(sbatch) if OmegaConf.is_config(sbatch) else sbatch  # type: ignore[assignment]
        check_options(self, locals())
        if warning_seconds >= 60 * minutes:
            raise StnlabError(
                f"hydra.launcher.warning_seconds={warning_seconds}: should be less than the time limit of {minutes} min"
            )
        super().__init__(array_parallelism)
        if shutil.which("sbatch") is None:
            raise StnlabError("hydra/launcher=slurm: there is no sbatch here; give the command where SLURM is")
        self.wait, self.max_restarts = wait, max_restarts
        self.parameters: dict[str, Any] = {
            "timeout_min": minutes,
            "cpus_per_task": cpus,
            "gpus_per_node": gpus or None,
            "mem_gb": memory_gib,
            "slurm_partition": partition,
            "slurm_account": account,
            "slurm_array_parallelism": array_parallelism,
            "name": "stnlab",
            "stderr_to_stdout": True,
            # Without srun the job is one process, and only it gets the warning: the workers of its data, torchrun and
            # W&B's process would die of it. The shell is replaced because the warning goes to the script's process.
            "slurm_use_srun": False,
            "slurm_setup": [f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cpus}}}"],
            "slurm_additional_parameters": {"signal": f"B:USR2@{warning_seconds}", "requeue": True, **sbatch},
        }
        self._asked, self._known = -math.inf, dict[str, str]()

    @property
    def how_to_end(self) -> str:
        return " shows them, scancel ends them"

    def executor(self, folder: Path) -> "submitit.Executor":
        import submitit

        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_python=f"exec {shlex.quote(sys.executable)}")
        executor.update_parameters(**self.parameters)
        return executor

    def states(self, jobs: Jobs) -> Mapping[int, str]:
        if time.monotonic() - self._asked > ASK:
            answer, self._asked = _queue(), time.monotonic()
            self._known = self._known if answer is None else answer  # empty: all have left
        return {
            number: "waiting" if self._known[job.job_id] == "PENDING" else "running"
            for number, job in jobs.items()
            if job.job_id in self._known
        }

    def reason(self, job: "submitit.Job[JobReturn]") -> str:
        asked = ["scontrol", "show", "job", "--oneliner", job.job_id]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        state = next((word.partition("=")[2] for word in said.split() if word.startswith("JobState=")), "")
        return f"SLURM ended job {job.job_id}: {state or 'it is not known any more'}"

    def queued_before(self, folder: Path, runs: Sequence["RunDirectory | None"]) -> Jobs:
        import submitit

        notes = _notes(folder)
        jobs = {
            number: submitit.SlurmJob[Any](folder, notes[str(run.path.absolute())])
            for number, run in enumerate(runs)
            if run is not None and str(run.path.absolute()) in notes
        }
        still = self.states(jobs)
        return {number: job for number, job in jobs.items() if number in still}

    def note(self, folder: Path, runs: Sequence["RunDirectory | None"], jobs: Jobs) -> None:
        from stnlab.runs import files

        self._asked = -math.inf  # the answer is older than these jobs
        known = _queue() or {}
        notes = {run: job for run, job in _notes(folder).items() if job in known}
        notes |= {
            str(run.path.absolute()): jobs[number].job_id
            for number, run in enumerate(runs)
            if run is not None and number in jobs
        }
        files.write_json(folder / NOTES, notes)


def _notes(folder: Path) -> dict[str, str]:
    """Run -> its job, of all that were submitted."""
    from stnlab.runs import files

    remedy = "remove it; jobs that are in the queue now are then submitted again, and wait for each other"
    return files.read_json(folder / NOTES, remedy) if (folder / NOTES).exists() else {}


def _queue() -> dict[str, str] | None:
    """Job -> its state, of all jobs of this user; None if SLURM does not answer, which is told."""
    asked = ["squeue", "--me", "--noheader", "--array", "--format=%i|%T"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"SLURM does not answer: {done.stderr.strip()}", file=sys.stderr, flush=True)
        return None
    return dict(line.split("|") for line in done.stdout.split())

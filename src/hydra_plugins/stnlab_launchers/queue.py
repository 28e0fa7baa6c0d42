"""What launchers have in common whose jobs outlive the command: submitting by submitit, waiting, telling."""

import contextlib
import importlib.util
import io
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.stnlab_launchers.queued_job import QueuedJob

if TYPE_CHECKING:
    import submitit

    from stnlab.runs.directory import RunDirectory

Jobs = Mapping[int, "submitit.Job[JobReturn]"]
LOOK = 0.5
"""Seconds between two looks for results."""


class Queue(Launcher):
    """Jobs that are not finished go into a queue, and are waited for unless `wait` is false.

    name: of the launcher's file. at_once: how many may be in the queue at a time; None: all. patience: seconds that a
    job's result may take to appear after it has left the queue.
    """

    name: str
    at_once: int | None = None
    patience = 2.0
    wait = True
    max_restarts: int | None = None

    def __init__(self, side_by_side: int) -> None:
        from stnlab.errors import StnlabError

        if importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None:
            raise StnlabError(
                f"hydra/launcher={self.name}: needs hydra-submitit-launcher; "
                "pip install '<path to the clone>[submitit]'"
            )
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

        self.side_by_side = side_by_side
        self.inner: Any = BaseSubmititLauncher()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.inner.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stnlab.sweeps import launch_unfinished

        return launch_unfinished(
            self._launch,
            self.hydra_context.config_loader,
            self.config,
            job_overrides,
            initial_job_idx,
            self.side_by_side,
        )

    @abstractmethod
    def executor(self, folder: Path) -> "submitit.Executor":
        """submitit's, with all options."""

    @abstractmethod
    def states(self, jobs: Jobs) -> Mapping[int, str]:
        """`running` or `waiting` for each job that is in the queue."""

    @abstractmethod
    def reason(self, job: "submitit.Job[JobReturn]") -> str:
        """Why a job left the queue without a result."""

    def queued_before(self, folder: Path, runs: Sequence["RunDirectory | None"]) -> Jobs:
        """Jobs of an earlier command that are still in the queue, by the number of the run."""
        return {}

    def note(self, folder: Path, runs: Sequence["RunDirectory | None"], jobs: Jobs) -> None:
        """Make `queued_before` find these jobs later."""

    @property
    def how_to_end(self) -> str:
        return ""

    def _launch(
        self, overrides: Sequence[Sequence[str]], first: int, runs: Sequence["RunDirectory | None"]
    ) -> list[JobReturn]:
        import filelock

        from hydra_plugins.stnlab_launchers.watch import Watch
        from stnlab.sweeps import names_of

        folder = Path(self.config.hydra.sweep.dir).absolute() / "submitit"
        folder.mkdir(parents=True, exist_ok=True)
        executor, fresh = self.executor(folder), bool(self.config.fresh)
        arguments = [
            (list(own), run and run.path.absolute(), run.known_id if fresh and run else None, "hydra.sweep.dir", number)
            for number, (own, run) in enumerate(zip(overrides, runs, strict=True), start=first)
        ]
        with filelock.FileLock(folder / ".lock"):  # another command of the same study may submit now
            queued = {} if fresh else dict(self.queued_before(folder, runs))
            for number, job in queued.items():
                run = runs[number]
                print(f"{run and run.path}: in the queue already, as job {job.job_id}", flush=True)
            todo = [number for number in range(len(runs)) if number not in queued]
            batch, todo = todo[: self.at_once], todo[self.at_once or len(todo) :]
            queued |= self._submit(executor, batch, arguments)
            self.note(folder, runs, queued)
        watch = Watch(self, names_of(overrides), runs)
        try:
            while queued and self.wait:
                time.sleep(LOOK)
                ended = watch.look(queued, len(todo))
                queued = {number: job for number, job in queued.items() if number not in ended}
                batch, todo = todo[: len(ended)], todo[len(ended) :]
                queued |= self._submit(executor, batch, arguments)
        except KeyboardInterrupt:
            study = next((run.path.parent for run in runs if run is not None), folder)
            print(f"{len(queued)} jobs go on; python -m stnlab.status {study} --watch{self.how_to_end}", flush=True)
            raise
        return [watch.returned.get(number) or JobReturn() for number in range(len(runs))]  # unknown: still queued

    def _submit(
        self, executor: "submitit.Executor", batch: Sequence[int], arguments: Sequence[tuple[Any, ...]]
    ) -> Jobs:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from stnlab.errors import StnlabError

        if not batch:
            return {}
        chosen = [(*arguments[number], f"job {number}", Singleton.get_state()) for number in batch]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it then raises
                jobs = executor.map_array(QueuedJob(self.inner, self.max_restarts), *zip(*chosen, strict=True))
        except (FailedJobError, FailedSubmissionError) as error:
            said = "; ".join(line.removeprefix("sbatch: error: ") for line in str(error).strip().splitlines())
            raise StnlabError(f"hydra/launcher={self.name}: the jobs were refused: {said}") from error
        return dict(zip(batch, jobs, strict=True))

"""Jobs side by side on one machine, by joblib."""

import importlib.util
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.stnlab_launchers.options import check_options

if TYPE_CHECKING:
    from stnlab.runs.directory import RunDirectory

PATIENCE = 60.0
"""Seconds for jobs to finish their step and keep it."""
PER_DEVICE = "STNLAB_JOBS_PER_DEVICE"
"""Environment variable of a worker: how many jobs may share a GPU."""


class Parallel(Launcher):
    """hydra-joblib-launcher, for the jobs that are not finished.

    n_jobs: processes. CPU threads are divided among them (by joblib). With GPUs each process takes one for itself,
    or shares it with jobs_per_device - 1 others.
    """

    def __init__(self, n_jobs: Annotated[int, Ge(1)], jobs_per_device: Annotated[int, Ge(1)] = 1) -> None:
        from stnlab.errors import StnlabError

        check_options(self, locals())
        if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
            raise StnlabError(
                "hydra/launcher=parallel: needs hydra-joblib-launcher; pip install '<path to the clone>[parallel]'"
            )
        from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

        self.n_jobs, self.jobs_per_device = n_jobs, jobs_per_device
        self.inner: Any = JoblibLauncher(n_jobs=n_jobs)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from joblib.externals.loky import get_reusable_executor

        # the processes of an earlier sweep of this interpreter work in its folder, with its environment
        get_reusable_executor(reuse=True).shutdown(wait=True)
        self.config, self.hydra_context = config, hydra_context
        self.inner.setup(hydra_context=hydra_context, task_function=_surviving(task_function), config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stnlab.sweeps import launch_unfinished

        os.environ[PER_DEVICE] = str(self.jobs_per_device)
        try:
            return launch_unfinished(
                self._launch,
                self.hydra_context.config_loader,
                self.config,
                job_overrides,
                initial_job_idx,
                self.n_jobs,
            )
        finally:
            del os.environ[PER_DEVICE]

    def _launch(
        self, jobs: Sequence[Sequence[str]], first: int, runs: "Sequence[RunDirectory | None]"
    ) -> Sequence[JobReturn]:
        """SIGTERM is passed on to the processes that train: they would outlive this one, or be killed in the middle of
        a step. Not to those that wait: if one of them dies, joblib kills the others."""
        from joblib.externals.loky import reusable_executor

        from stnlab.command import leaving_at_sigterm

        def keep_the_step() -> None:
            ours = set(getattr(reusable_executor._executor, "_processes", None) or ())
            at_work = {run: run.trained_by or 0 for run in runs if run is not None and run.trained_by in ours}
            for process in at_work.values():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and any(
                run.trained_by == process and run.busy for run, process in at_work.items()
            ):
                time.sleep(0.1)

        with leaving_at_sigterm(before=keep_the_step):
            returned: Sequence[JobReturn] = self.inner.launch(jobs, first)
        return returned


def _surviving(task: TaskFunction) -> TaskFunction:
    """A job whose process lives on when SIGTERM comes before the first step or after the last, when nothing handles it
    yet or any more."""

    def job(config: DictConfig) -> Any:
        from stnlab.command import leaving_at_sigterm

        with leaving_at_sigterm():
            return task(config)

    return job

"""One job after another, in this process."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Sequential(BasicLauncher):
    """Hydra's own launcher, for the jobs that are not finished."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from stnlab.compose import JobLoader

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        loader = JobLoader.of(hydra_context.config_loader)  # jobs are launched by what has planned them
        self.hydra_context = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stnlab.sweeps import launch_unfinished

        assert self.hydra_context is not None
        assert self.config is not None
        launch = super().launch
        return launch_unfinished(
            lambda jobs, first, _: launch(jobs, first),
            self.hydra_context.config_loader,
            self.config,
            job_overrides,
            initial_job_idx,
        )

"""One job after another, in this process."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from hydra.types import HydraContext


class Sequential(BasicLauncher):
    """Hydra's own launcher, for the jobs that are not finished."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stnlab.compose import JobLoader
        from stnlab.sweeps import launch_unfinished

        assert self.hydra_context is not None
        assert self.config is not None
        loader = JobLoader.of(self.hydra_context.config_loader)
        self.hydra_context = HydraContext(config_loader=loader, callbacks=self.hydra_context.callbacks)
        launch = super().launch
        return launch_unfinished(
            lambda jobs, first, _: launch(jobs, first), loader, self.config, job_overrides, initial_job_idx
        )

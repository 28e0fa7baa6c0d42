"""Jobs as tasks of Ray."""

import functools
import importlib.util
import os
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class Ray(Launcher):
    """hydra-ray-launcher, for the jobs that are not finished.

    address: of a cluster, whose machines know this folder by the same path; None starts Ray on this machine. num_cpus,
    num_gpus: what each job reserves; Ray starts as many at a time as there is room for. max_retries: of a job whose
    process or machine died.
    """

    def __init__(self, address: str | None, num_cpus: int, num_gpus: float, max_retries: int) -> None:
        from annotated_types import Ge

        from stnlab.choices import check
        from stnlab.errors import StnlabError

        check(address, str | None, "hydra.launcher.address")
        check(num_cpus, Annotated[int, Ge(1)], "hydra.launcher.num_cpus")
        check(num_gpus, Annotated[float, Ge(0)], "hydra.launcher.num_gpus")
        check(max_retries, Annotated[int, Ge(0)], "hydra.launcher.max_retries")
        if importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None:
            raise StnlabError("hydra/launcher=ray: needs hydra-ray-launcher; pip install '<path to the clone>[ray]'")
        from hydra_plugins.hydra_ray_launcher.ray_launcher import RayLauncher

        self.address, self.needs = address, {"CPU": num_cpus, "GPU": num_gpus}
        remote = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}
        self.inner: Any = RayLauncher(ray=OmegaConf.create({"init": {}, "remote": remote}))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context, self.task = config, hydra_context, task_function
        self.inner.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stnlab.sweeps import launch_unfinished

        here = max(1, (os.cpu_count() or 1) // int(self.needs["CPU"]))
        return launch_unfinished(
            self._launch,
            self.hydra_context.config_loader,
            self.config,
            job_overrides,
            initial_job_idx,
            len(job_overrides) if self.address else here,
        )

    def _launch(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

        self._connect()
        own = {name: value for name, value in os.environ.items() if name.startswith("STNLAB_")}
        self.inner.task_function = functools.partial(_as_here, str(Path.cwd()), own, self.task)
        try:
            returned: Sequence[JobReturn] = self.inner.launch(jobs, first)
        except (NodeDiedError, OutOfMemoryError, WorkerCrashedError) as error:
            raise BrokenProcessPool(str(error)) from error  # what a sweep knows a killed process by
        return returned

    def _connect(self) -> None:
        """Raises StnlabError if there is no cluster, or this machine alone has less than a job needs."""
        import ray

        from stnlab.errors import StnlabError

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not ray.is_initialized():
            where = {"address": self.address} if self.address else {"address": "local", "include_dashboard": False}
            try:
                ray.init(**where)
            except (ConnectionError, ValueError) as error:
                reason = str(error).strip().split("\n", maxsplit=1)[0]
                raise StnlabError(f"hydra.launcher.address={self.address}: {reason}") from error
        if self.address is None:
            has = ray.cluster_resources()
            for resource, needed in self.needs.items():
                if needed > has.get(resource, 0):
                    raise StnlabError(
                        f"hydra.launcher.num_{resource.lower()}s={needed}: this machine has {has.get(resource, 0):g}"
                    )


def _as_here(folder: str, environment: Mapping[str, str], task: TaskFunction, config: Any) -> Any:
    """A worker of a cluster starts in a folder and with an environment of its own."""
    os.chdir(folder)
    os.environ.update(environment)
    return task(config)

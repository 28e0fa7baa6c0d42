"""Jobs as tasks of Ray."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.stnlab_launchers.options import check_options


class Ray(Launcher):
    """Jobs side by side on this machine or a cluster.

    address: of a cluster, whose machines know this folder by the same path; None starts Ray on this machine. num_cpus,
    num_gpus: what each job reserves; Ray starts as many at a time as there is room for. max_retries: of a job whose
    process or machine died. hydra-ray-launcher would do for Ray, but wants cloudpickle < 3, and joblib one from 3 on.
    """

    def __init__(
        self,
        address: str | None,
        num_cpus: Annotated[int, Ge(1)],
        num_gpus: Annotated[float, Ge(0)],
        max_retries: Annotated[int, Ge(0)],
    ) -> None:
        from stnlab.errors import StnlabError

        check_options(self, locals())
        if importlib.util.find_spec("ray") is None:
            raise StnlabError("hydra/launcher=ray_tasks: needs ray; pip install '<path to the clone>[ray]'")
        self.address = address
        self.needs = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.master, self.hydra_context, self.task = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stnlab.sweeps import launch_unfinished

        here = max(1, (os.cpu_count() or 1) // int(self.needs["num_cpus"]))
        side_by_side = len(job_overrides) if self.address else here
        loader = self.hydra_context.config_loader
        return launch_unfinished(
            lambda jobs, first, _: self._launch(jobs, first),
            loader,
            self.master,
            job_overrides,
            initial_job_idx,
            side_by_side,
        )

    def _launch(self, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # or Ray takes the end of a second job for a repetition
        import ray
        from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

        from stnlab.sweeps import KILLED, failure

        self._connect()
        start = ray.remote(**self.needs)(job)
        environment = {name: value for name, value in os.environ.items() if name.startswith("STNLAB_")}
        shared = (self.hydra_context, self.task, Singleton.get_state(), str(Path.cwd()), environment)
        started = [start.remote(self._config(list(overrides), first + n), *shared) for n, overrides in enumerate(jobs)]
        returned = []
        for reference in started:
            try:
                returned.append(ray.get(reference))
            except (NodeDiedError, OutOfMemoryError, WorkerCrashedError):
                returned.append(failure(KILLED))
        return returned

    def _config(self, overrides: list[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.master, overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"{config.hydra.job.name}_{number}", number
        return config

    def _connect(self) -> None:
        """Raises StnlabError if there is no cluster, or this machine alone has less than a job needs."""
        import ray

        from stnlab.errors import StnlabError, first_line

        if not ray.is_initialized():
            try:
                if self.address:
                    ray.init(address=self.address, runtime_env={"env_vars": _python_path()})
                else:
                    ray.init(address="local", include_dashboard=False)
            except (ConnectionError, ValueError) as error:
                reason = first_line(error)
                raise StnlabError(f"hydra.launcher.address={self.address}: {reason}") from error
        if self.address is None:
            has = ray.cluster_resources()
            for option, resource in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
                if self.needs[option] > has.get(resource, 0):  # Ray would wait for ever
                    raise StnlabError(
                        f"hydra.launcher.{option}={self.needs[option]}: this machine has {has.get(resource, 0):g}"
                    )


def _python_path() -> dict[str, str]:
    """Where this process finds the user's own modules; processes of a cluster are started elsewhere."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join(str(Path(folder).resolve()) for folder in folders if folder)}


def job(
    config: DictConfig,
    hydra_context: HydraContext,
    task: TaskFunction,
    singletons: Any,
    folder: str,
    environment: Mapping[str, str],
) -> JobReturn:
    """In a worker, which on a cluster has a folder and an environment of its own."""
    os.chdir(folder)
    os.environ.update(environment)
    setup_globals()
    Singleton.set_state(singletons)
    HydraConfig.instance().set_config(config)
    return run_job(
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=hydra_context,
    )

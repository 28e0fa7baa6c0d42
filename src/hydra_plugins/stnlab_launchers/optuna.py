"""A search over values that Optuna proposes."""

import functools
import importlib.util
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf


class Optuna(Sweeper):
    """Trials in batches of n_jobs, each launched as the jobs of any sweep are; `stnlab.tuning` says the rest.

    n_trials: of the whole search, those of earlier commands included. minimize: measures of `metrics.json`.
    storage: URL of a database, None for a file in the study's folder. sampler: node of an Optuna sampler. params: what
    is searched, as on the command line, which comes after it. cells: refused, a study's are no space to search.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        minimize: ListConfig,
        storage: str | None,
        sampler: DictConfig,
        params: DictConfig | None = None,
        cells: DictConfig | None = None,
    ) -> None:
        from stnlab.choices import check
        from stnlab.errors import StnlabError

        if cells:
            raise StnlabError("hydra/sweeper=optuna: cannot search the cells of a study; choose one without, or none")
        if importlib.util.find_spec("optuna") is None:
            raise StnlabError("hydra/sweeper=optuna: needs optuna; pip install '<path to the clone>[optuna]'")
        from stnlab.tuning import Options

        self.options = Options(n_trials, n_jobs, _plain(minimize), storage, _plain(sampler))
        self.params = check(_plain(params), dict[str, Any] | None, "hydra.sweeper.params") or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from stnlab.compose import JobLoader
        from stnlab.errors import StnlabError

        if config.hydra.launcher.get("wait", True) is False:
            raise StnlabError("hydra.launcher.wait=false: a search proposes by results, so it has to wait for them")
        self.master, self.loader = config, JobLoader.of(hydra_context.config_loader)
        plugins = Plugins.instance()
        self.launch = plugins.instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        ).launch

    def sweep(self, arguments: list[str]) -> Any:
        from stnlab.compose import compose_jobs
        from stnlab.search_space import search_space
        from stnlab.tuning import tune

        params = [f"{key}={value}" for key, value in self.params.items()]
        overrides = OverridesParser.create(config_loader=self.loader).parse_overrides([*params, *arguments])
        space = search_space(overrides, self.loader)
        tune(self.options, space, functools.partial(compose_jobs, self.loader, self.master), self.launch)


def _plain(node: Any) -> Any:
    """Whatever the user gave in its place is checked later."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node

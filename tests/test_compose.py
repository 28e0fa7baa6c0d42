"""Configurations of a sweep's jobs: as Hydra composes each, and refused before any is planned."""

from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from stnlab.compose import JobLoader, compose_jobs, to_config
from stnlab.errors import StnlabError
from stnlab.train import main

TINY = ["recipe=smoke", "backbone.channels=[4,4]", "logger=none"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_jobs_are_composed_together_as_hydra_would_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def compare(launch: object, loader: Any, master: Any, jobs: Any, first: int) -> list[Any]:
        assert isinstance(loader, JobLoader)
        loader.load_sweep_config(master, list(jobs[0]))
        folder = master.hydra.sweep.dir  # only now resolved, for all jobs
        together = list(compose_jobs(loader, master, jobs))
        assert len(loader.composed) == 2  # of deep and of shared
        hydras = ConfigLoaderImpl(loader.get_search_path())
        alone = [hydras.load_sweep_config(master, list(job)) for job in jobs]
        assert together == alone  # what Hydra says of the job, too
        assert {one.hydra.sweep.dir for one in together} == {folder}
        seen.extend(map(to_config, together))
        assert seen == list(map(to_config, alone))
        return []

    monkeypatch.setattr("stnlab.sweeps.launch_unfinished", compare)
    (tmp_path / "own" / "size").mkdir(parents=True)
    (tmp_path / "own" / "size" / "large.yaml").write_text("pixels: 60")
    found = [f"hydra.searchpath=[file://{tmp_path}/own]", "+size@recipe.size=large", "hydra.sweep.dir=a${now:%f}"]
    values = ["seed=0,1", "+backbone.more=1", "~recipe.eval_batch_size", "logger=[csv,tensorboard]", "study=s${seed}"]
    values += ["recipe.steps=2", "+recipe={steps: 3}"]  # named as a group, a value all the same
    main(["-m", *TINY, *found, *values, "placement=deep,shared", "placement.depth=1,2"])
    assert len(seen) == 8
    assert (seen[-1]["study"], seen[-1]["recipe"]["steps"], seen[-1]["recipe"]["size"]) == ("s1", 3, {"pixels": 60})


def test_what_a_job_could_not_resolve_is_said_before_any_is_planned():
    with pytest.raises(StnlabError, match=r"key .hydra.runtime.choices.data. not found"):
        main(["-m", *TINY, "seed=0,1", "study=${hydra.runtime.choices.data}"])
    assert not list(Path("runs").rglob("plan.json"))

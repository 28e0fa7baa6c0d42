"""Searches by Optuna: what they choose from, and that nothing a killed one has done is lost or done again."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from stnlab import resume, status
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.search import read_search, search_lock
from stnlab.search_space import search_space
from stnlab.train import main, train

QUICK = ["recipe=smoke", "recipe.steps=2", "callbacks=quiet", "logger=none", "trainer=cpu"]
QUICK += [
    "data.train_size=300",
    "data.validation_size=200",
    "data.test_size=200",
    "backbone.channels=[4,4]",
    "evaluation.images=0",
]
SEARCH = ["-m", "hydra/sweeper=optuna", *QUICK]
RATES = "recipe.optimizer.lr=tag(log,interval(1e-4,1e-1))"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    monkeypatch.setenv("COLUMNS", "200")


def trials(study: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name=study, storage=f"sqlite:///runs/{study}/optuna.db").trials


class NoGroups:
    def get_group_options(self, name: str) -> list[str]:
        return []


def space_of(*overrides: str) -> Any:
    return search_space(OverridesParser.create().parse_overrides(list(overrides)), NoGroups())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("a=interval(1,5)", FloatDistribution(1, 5)),
        ("a=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("a=int(interval(1,5))", IntDistribution(1, 5)),
        ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("a=range(1,4)", IntDistribution(1, 3)),
        ("a=range(9,0,-4)", IntDistribution(1, 9, step=4)),
        ("a=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("a=1,0.5", CategoricalDistribution(["1", "0.5"])),
        ("a=choice(x,[1,2],'y z')", CategoricalDistribution(["x", "[1,2]", "y\\ z"])),
    ],
)
def test_hydras_sweeps_are_optunas_distributions(override: str, distribution: Any):
    space = space_of("b=1", "a=3,4", override)
    assert space.searched == {"a": distribution}
    assert space.job({"a": "[1,2]"}) == ["b=1", "a=[1,2]"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("", "nothing to search; give values to choose from, such as"),
        ("recipe.optimizer.lr=interval(1,0)", "`low <= high` must hold"),
        ("recipe.optimizer.lr=tag(log,interval(0,1))", "`low > 0` must hold"),
        ("recipe.optimizer.lr=tag(log,choice(0.1,0.2))", "log is for interval"),
        ("recipe.optimizer.lr=tag(lin,interval(0,1))", "tag lin means nothing here; log does"),
        ("recipe.epochs=range(3,3)", "holds no value"),
        ("seed=shuffle(range(3))", "leave out shuffle"),
        ("study=a,b", "study changes no result"),
        ("data.root=a,b", "data.root changes no result"),
        ("recipe.optimizer.lrr=interval(0,1)", "no such key; did you mean lr?"),
        ("placement=none,deep placement.depth=range(1,3)", "placement.depth: no such key"),
        ("placement=none,dep", "did you mean deep?"),
        ("seed=0,1 hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials=0: should be greater than or equal to 1"),
        ("seed=0,1 hydra.sweeper.n_trialss=3", "no such key; did you mean n_trials?"),
        ("seed=0,1 hydra.sweeper.minimize=val/error", "should be a valid list"),
        ("seed=0,1 hydra.sweeper.minimize=[test/error]", "choose by measures of validation; did you mean val/error?"),
        ("seed=0,1 hydra.sweeper.sampler._target_=optuna.samplers.TPE", "cannot be imported"),
        ("seed=0,1 +hydra.sweeper.sampler.n_startup_trials=few", "n_startup_trials=few: should be a valid integer"),
        ("seed=0,1 hydra.sweeper.storage=sqlite:////nowhere/a.db", "unable to open database file"),
    ],
)
def test_a_wrong_search_is_one_line(overrides: str, line: str):
    with pytest.raises(StnlabError) as caught:
        main([*SEARCH, *overrides.split()])
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(Path().glob("runs/*/*/run.json"))


@pytest.mark.parametrize(
    ("package", "option"), [("optuna", "hydra/sweeper=optuna"), ("ray", "hydra/launcher=ray_tasks")]
)
def test_a_missing_package_is_named(package: str, option: str, monkeypatch: pytest.MonkeyPatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(
        StnlabError, match=rf"{option}: needs {package}; pip install '<path to the clone>\[{package}\]'"
    ):
        main(["-m", option, "seed=0,1"])


def test_a_killed_search_goes_on_as_if_it_had_not_been(capsys: pytest.CaptureFixture[str]):
    """The oracle is the same search, undisturbed: the same values proposed, the same results to the last bit."""
    search = [*SEARCH, RATES, "placement=none,input", "hydra.sweeper.n_trials=3"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "stnlab.train", *search, "study=mine"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(runs := list(Path("runs").glob("mine/*/run.json"))) < 2:
        assert killed.poll() is None
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(runs) == 2
    assert [trial.state for trial in trials("mine")] == [TrialState.COMPLETE, TrialState.RUNNING]
    (finished,) = [run for run in find_runs(Path("runs/mine")) if run.state == "done"]
    stamp = finished.last_checkpoint.stat().st_mtime_ns

    main([*search, "study=mine"])
    main([*search, "study=whole"])
    capsys.readouterr()
    assert [trial.state for trial in trials("mine")] == [TrialState.COMPLETE] * 3
    assert finished.last_checkpoint.stat().st_mtime_ns == stamp
    for one, other in zip(trials("mine"), trials("whole"), strict=True):
        assert (one.params, one.values) == (other.params, other.values)
        run, same = (RunDirectory(Path("runs", study, one.user_attrs["run"])) for study in ("mine", "whole"))
        assert (run.path / "metrics.json").read_bytes() == (same.path / "metrics.json").read_bytes()
        assert one.value == run.metrics["val/error"]

    main([*search, "study=mine"])
    assert "job" not in capsys.readouterr().out.partition("best")[0]
    main([*search, "study=mine", "hydra.sweeper.n_trials=4"])
    assert len(trials("mine")) == 4


def test_failed_trials_stop_no_other_and_are_tried_again(capsys: pytest.CaptureFixture[str]):
    search = [*SEARCH, "study=mine", "placement=deep", "placement.depth=1,9", "hydra.sweeper.n_trials=4"]
    with pytest.raises(StnlabError, match=r"jobs? failed as told above; the same command tries again"):
        main([*search, "hydra.sweeper.n_jobs=2"])
    assert "failed: placement.depth=9" in capsys.readouterr().out
    first = {trial.number: (trial.params["placement.depth"], trial.state) for trial in trials("mine")}
    assert set(first.values()) == {("1", TrialState.COMPLETE), ("9", TrialState.FAIL)}
    assert len(first) == 4
    assert len(find_runs(Path("runs/mine"))) == 1  # the same values are the same run, trained once
    failed = [number for number, (_, state) in first.items() if state is TrialState.FAIL]

    with pytest.raises(StnlabError, match="failed as told above"):
        main([*search, "hydra/launcher=parallel"])
    again = trials("mine")[4:]
    assert [trial.user_attrs["repeats"] for trial in again] == failed
    assert {(trial.params["placement.depth"], trial.state) for trial in again} == {("9", TrialState.FAIL)}


def test_an_interrupted_search_is_told_by_status_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    trained: list[str] = []

    def train_one(config: dict[str, Any]) -> None:
        if trained:
            raise KeyboardInterrupt
        trained.append(config["study"])
        train(config)

    with monkeypatch.context() as patched:
        patched.setattr("stnlab.train.train", train_one)
        with pytest.raises(KeyboardInterrupt):
            main([*SEARCH, RATES, "study=mine", "placement=none", "hydra.sweeper.n_trials=3"])
    capsys.readouterr()
    status.main(["runs/mine"])
    assert "2 runs: 1 done, 1 waiting; search: 1 of 3 trials done" in capsys.readouterr().out
    with search_lock(Path("runs/mine"), wait=False):
        main([*SEARCH, RATES, "study=mine", "placement=none", "busy=skip"])
    assert "another process is at work on this search; skipped" in capsys.readouterr().out

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume.main(["../runs/mine"]) == 0
    monkeypatch.chdir(tmp_path)
    search = read_search(Path("runs/mine"))
    assert search is not None
    assert (search.done, search.trials) == (3, 3)
    assert [trial.state for trial in trials("mine")] == [TrialState.COMPLETE] * 3
    assert len(find_runs(Path("runs/mine"))) == 3


def test_a_study_holds_one_search_and_its_database_can_be_made_again(capsys: pytest.CaptureFixture[str]):
    search = [*SEARCH, "study=mine", "placement=none", RATES, "hydra.sweeper.n_trials=2"]
    main(search)
    for other, line in (
        (["recipe.steps=3"], "which this command would not; runs/mine holds another search"),
        (["recipe.optimizer.lr=0.1,0.2"], "recipe.optimizer.lr: other choices than earlier trials had"),
        (["hydra.sweeper.minimize=[val/nll]"], "a search that minimises val/error"),
    ):
        with pytest.raises(StnlabError, match=line):
            main([*search, *other])
    before, runs = trials("mine"), find_runs(Path("runs/mine"))
    stamps = [run.last_checkpoint.stat().st_mtime_ns for run in runs]
    database = Path("runs/mine/optuna.db")
    database.write_text("no database")
    with pytest.raises(StnlabError, match=r"optuna.db: Optuna's database: .*; without this file, the same command"):
        main(search)
    assert database.read_text() == "no database"

    database.unlink()
    main(search)
    assert [(trial.params, trial.values) for trial in trials("mine")] == [
        (trial.params, trial.values) for trial in before
    ]
    assert [run.last_checkpoint.stat().st_mtime_ns for run in runs] == stamps
    main([*search, "fresh=true"])
    assert len(trials("mine")) == 2
    assert [run.last_checkpoint.stat().st_mtime_ns for run in runs] != stamps


def test_several_measures_and_a_sampler_that_comes_to_an_end(capsys: pytest.CaptureFixture[str]):
    sampler = "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler"
    main([*SEARCH, sampler, "study=mine", "placement=none", "seed=0,1", "hydra.sweeper.minimize=[val/error,val/ece]"])
    out = capsys.readouterr().out
    assert {trial.params["seed"] for trial in trials("mine")} == {"0", "1"}
    front = optuna.load_study(study_name="mine", storage="sqlite:///runs/mine/optuna.db").best_trials
    assert out.count("best: trial") == len(front)
    for trial in front:
        run = RunDirectory(Path("runs/mine", trial.user_attrs["run"]))
        assert trial.values == [run.metrics["val/error"], run.metrics["val/ece"]]
    search = read_search(Path("runs/mine"))
    assert search is not None
    assert (search.done, search.trials) == (2, 2)

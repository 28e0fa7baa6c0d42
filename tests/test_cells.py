"""Sweeps whose jobs are no product: named cells, some of them, and what the command line may say of them."""

from pathlib import Path
from typing import Any

import pytest

from stnlab import resume, status
from stnlab.errors import StnlabError
from stnlab.runs.directory import find_runs
from stnlab.runs.plan import read_plan
from stnlab.train import main

CONF = """\
# @package _global_
# Cells for a test
study: mine
backbone: {channels: [4, 4]}
hydra:
  mode: MULTIRUN
  sweeper:
    params: {seed: "0,1", placement: none}
    cells:
      plain: {}
      moved: {placement: "input,deep", transform: rotation}
      wide: {backbone.channels: "[5, 5]"}
      alike: {placement: none, transform: affine}
"""
QUICK = ["recipe=smoke", "recipe.steps=2", "callbacks=quiet", "logger=none", "trainer=cpu", "evaluation.images=0"]
QUICK += ["data.train_size=200", "data.validation_size=100", "data.test_size=100"]
CELLS = ["--config-dir=conf", "ablation=cells"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "ablation").mkdir(parents=True)
    (tmp_path / "conf" / "ablation" / "cells.yaml").write_text(CONF)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of all jobs that a command makes; none is run."""
    jobs: list[list[str]] = []

    def note(launch: Any, loader: Any, master: Any, found: Any, first: int) -> list[Any]:
        jobs.extend([one for one in job if not one.startswith("ablation=")] for job in found)
        return []

    monkeypatch.setattr("stnlab.sweeps.launch_unfinished", note)
    return jobs


def test_each_cell_is_multiplied_with_the_params_it_does_not_set(launched: list[list[str]]):
    main(CELLS)
    assert [" ".join(job) for job in launched] == [
        "cells=[plain] seed=0 placement=none",
        "cells=[plain] seed=1 placement=none",
        "cells=[moved] seed=0 placement=input transform=rotation",
        "cells=[moved] seed=0 placement=deep transform=rotation",
        "cells=[moved] seed=1 placement=input transform=rotation",
        "cells=[moved] seed=1 placement=deep transform=rotation",
        "cells=[wide] seed=0 placement=none backbone.channels=[5,5]",
        "cells=[wide] seed=1 placement=none backbone.channels=[5,5]",
        "cells=[alike] seed=0 placement=none transform=affine",
        "cells=[alike] seed=1 placement=none transform=affine",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["cells=[wide,plain]", "seed=7"], ["wide seed=7", "plain seed=7"]),
        (["cells=wide,plain", "seed=7"], ["wide seed=7", "plain seed=7"]),
        (["cells=plain", "seed=7", "transform=scale,affine"], ["plain transform=scale", "plain transform=affine"]),
        (["placement=deep", "seed=7"], ["plain deep", "moved deep", "wide deep"]),
        (
            ["transform=affine", "placement=input,none", "seed=7"],
            ["plain input", "plain none", "wide", "wide", "alike"],
        ),
        (["backbone.channels=[5,5]", "placement=none", "seed=7"], ["plain [5,5]", "wide [5,5]", "alike [5,5]"]),
        (["backbone.channels=[6,6]", "placement=none", "seed=7"], ["plain [6,6]", "alike [6,6]"]),
        (
            ["cells=[plain,moved]", "transform=choice(rotation,affine)", "seed=7"],
            ["plain seed=7 placement=none", "moved input transform=rotation", "moved deep transform=rotation"],
        ),
        (
            ["cells=[plain,wide]", "transform=choice(scale)", "seed=7"],
            ["plain transform=scale", "wide transform=scale"],
        ),
    ],
)
def test_the_command_line_replaces_params_and_selects_among_what_cells_say(
    given: list[str], expected: list[str], launched: list[list[str]]
):
    main([*CELLS, *given])
    lines = [" ".join(job) for job in launched]
    assert len(lines) == len(expected)
    for line, words in zip(lines, expected, strict=True):
        assert all(word in line for word in words.split()), line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*CELLS, "cells=[plane]"], r"^cells=plane: no such cell; did you mean plain\? \(choices: alike, moved, "),
        (
            [*CELLS, "cells=[moved]", "placement=shared"],
            r"^placement=shared: no cell of this study is that; its cells ",
        ),
        (["-m", "cells=[plain]"], r"^cells=\[plain\]: this sweep has no named cells; studies in conf/ablation have"),
        ([*CELLS, "hydra/sweeper=optuna"], r"^hydra/sweeper=optuna: cannot search the cells of a study; choose one "),
        (["cells=[plain]"], r"^cells: one run has none of them; choose a study of some, ablation="),
        ([*CELLS, "hydra.sweeper.cells.plain=3"], r"^hydra.sweeper.cells.plain=3: give its values, such as "),
        ([*CELLS, "+hydra.sweeper.cells.bad={seed: '(1'}"], r"^seed=\(1: cannot be read; write key=value"),
    ],
)
def test_wrong_cells_are_one_line(arguments: list[str], message: str):
    with pytest.raises(StnlabError, match=message):
        main(arguments)
    assert not Path("runs").exists() or not list(Path("runs").glob("mine/*/run.json"))


def test_cells_are_trained_once_resumed_and_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """By any launcher: this one composes in processes of its own. `alike` is `plain`: without a transformer its
    transform is no choice."""
    command = [*CELLS, *QUICK, "seed=0", "cells=[plain,wide,alike]"]
    main([*command, "hydra/launcher=parallel"])
    assert "3 jobs: 2 done, 1 skipped, 0 failed" in capsys.readouterr().out
    runs = find_runs(Path("runs/mine"))
    assert sorted(run.config["backbone"]["channels"] for run in runs) == [[4, 4], [5, 5]]
    assert all("cells" not in run.config for run in runs)
    assert read_plan(Path("runs/mine")).keys() == {run.name for run in runs}

    results = [(run.path / "metrics.json").read_bytes() for run in runs]
    runs[0].update(state="running")
    (runs[0].path / "metrics.json").unlink()
    monkeypatch.setenv("COLUMNS", "200")
    status.main(["runs/mine"])
    assert "2 runs: 1 done, 1 interrupted" in capsys.readouterr().out
    assert resume.main(["runs/mine", "--config-dir=conf"]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 unfinished runs trained" in said
    assert "job 1 of 1" in said
    assert [(run.path / "metrics.json").read_bytes() for run in find_runs(Path("runs/mine"))] == results

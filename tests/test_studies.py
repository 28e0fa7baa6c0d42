"""The studies in `conf/ablation/`: each cell composes and looks at an image, some train, sizes are what is said."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stnlab.compose import compose_jobs, conf_directory, to_config
from stnlab.data.house_numbers import SvhnNumbers
from stnlab.data.raw import RawImages
from stnlab.reports.baselines import fits
from stnlab.reports.cells import Cell
from stnlab.reports.claims import sets_of
from stnlab.reports.papers import read_papers
from stnlab.runs.directory import find_runs
from stnlab.runs.identity import digest, normalise
from stnlab.train import check_settings, main
from stnlab.training.components import build_components

FILES = sorted((conf_directory() / "ablation").glob("*.yaml"))
STUDIES = [path.stem for path in FILES]
WITH_CELLS = [path.stem for path in FILES if "cells:" in path.read_text()]
TINY = [
    "recipe=smoke",
    "recipe.steps=2",
    "callbacks=quiet",
    "logger=none",
    "trainer=cpu",
    "evaluation.images=0",
    "seed=0",
]
TINY += ["data.validation_size=8", "data.test_size=8", "recipe.batch_size=8", "recipe.eval_batch_size=8"]
SOME = {
    "calibration": ["placement=shared", "transform=attention", "data.test_distortion=choice({rotation: [-180, 180]})"],
    "generalisation": ["placement=deep", "transform=rotation", "data.distortion.rotation=[-30,30],[-60,60]"],
    "jaderberg_addition": ["cells=[cnn,one,two]", "transform=projective"],
    "jaderberg_cluttered": ["cells=[fcn,st_cnn]"],
    "jaderberg_svhn": ["cells=[single,multi]", "data.distortion.size=64", "backbone.units=[8,8]"],
    "jaderberg_table1": ["cells=[st_fcn_thin_plate,st_cnn_projective]", "data=mnist_rts,mnist_elastic"],
    "localizer_lr": ["cells=moving", "transform=scale", "transform.lr_multiplier=3.0", "recipe.epochs=null"],
    "measures": ["cells=[identity,wider_28,wider_42]"],
    "placement": [
        "data=mnist_translated",
        "cells=[shared,separate]",
        "placement.depth=choice(4)",
        "placement.iterations=2",
    ],
    "rotation_scale": [
        "data=mnist_rotated",
        "data.train_size=1000,5000",
        "cells=[input]",
        "transform=scale,similarity",
    ],
}
"""At most four jobs of each study with cells."""


@cache
def jobs(study: str, *more: str, most: int | None = None) -> list[dict[str, Any]]:
    """The configurations of the jobs of a study, of all or the first few, none of which is run."""
    found: list[dict[str, Any]] = []

    def note(launch: Any, loader: Any, master: Any, overrides: Any, first: int) -> list[Any]:
        found.extend(to_config(composed) for composed in compose_jobs(loader, master, overrides[:most]))
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stnlab.sweeps.launch_unfinished", note)
        main([f"ablation={study}", *more])
    return found


def parameters(config: dict[str, Any]) -> int:
    return sum(parameter.numel() for parameter in build_components(config).module.network.parameters())


def fully(config: dict[str, Any]) -> Cell:
    return Cell({}, normalise(config), [])


@pytest.mark.parametrize("study", STUDIES)
def test_every_cell_composes_and_looks_at_an_image(study: str):
    """Networks that are alike look once."""
    seen = set()
    for config in jobs(study, "seed=0"):
        check_settings(config)
        assert config["study"] == study
        parts = [normalise(config).get(group) for group in ("backbone", "placement", "transform", "localizer")]
        size = [config["data"]["dataset"], config["data"]["distortion"]["size"]]
        key = json.dumps([parts, size])
        if key not in seen:
            seen.add(key)
            components = build_components(config)
            network = components.module.network.eval()
            with torch.no_grad():
                logits = network(torch.zeros(1, *components.data.image_shape)).logits
            assert logits.isfinite().all()


@pytest.mark.parametrize("study", [path.stem for path in FILES if "Images a run sees" in path.read_text()])
def test_a_study_says_how_many_images_a_run_sees(study: str):
    said = re.findall(r"([\d,]+) with recipe=(\w+)", (conf_directory() / "ablation" / f"{study}.yaml").read_text())
    assert said
    for count, recipe in said:
        (config,) = jobs(study, "seed=0", f"recipe={recipe}", most=1)
        components = build_components(config)
        chosen, data = components.module.recipe, components.data
        images = data.train_size or data.dataset.sizes[0] - data.validation_size
        seen = chosen.steps * chosen.batch_size if chosen.steps else chosen.epochs * images
        assert f"{seen:,}" == count, recipe


def test_every_study_with_cells_says_so():
    assert {path.stem for path in FILES if "Images a run sees" in path.read_text()} >= set(WITH_CELLS)
    assert set(SOME) == set(WITH_CELLS)


@pytest.mark.parametrize(
    ("study", "total"),
    [("jaderberg_table1", 400_000), ("jaderberg_cluttered", 400_000), ("jaderberg_addition", 1_000_000)],
)
def test_networks_of_jaderbergs_studies_are_of_one_size(study: str, total: int):
    for config in jobs(study, "seed=0"):
        assert parameters(config) == pytest.approx(total, rel=0.03), config["overrides"]


@pytest.mark.parametrize("study", ["measures", "placement", "rotation_scale", "calibration", "generalisation"])
def test_a_wider_network_has_as_many_parameters_as_one_with_a_transformer(study: str):
    sizes = {}
    for config in jobs(study, "seed=0"):
        (cell,) = config["cells"]
        if cell.startswith("wider"):
            sizes[config["choices"]["data"]] = parameters(config)
    assert sizes.keys() == {config["choices"]["data"] for config in jobs(study, "seed=0")}
    for config in jobs(study, "seed=0"):
        if config["choices"]["placement"] == "input" and config["choices"]["transform"] == "affine":
            assert parameters(config) == pytest.approx(sizes[config["choices"]["data"]], rel=0.02)


def test_the_wider_house_number_networks_too():
    by_cell = {
        (config["cells"][0], config["data"]["distortion"]["size"]): config
        for config in jobs("jaderberg_svhn", "seed=0")
    }
    for size in (64, 128):
        single, wider = (parameters(by_cell[cell, size]) for cell in ("single", f"wider_{size}"))
        assert single == pytest.approx(wider, rel=0.005)
        assert by_cell["cnn", size]["data"]["dataset"]["expand"] == {64: 1.3, 128: 2.6}[size]


def test_measures_keeps_the_runs_that_it_had_before_it_had_cells():
    """Digests of runs trained from the commands that the study replaces."""
    digests = {digest(normalise(config)) for config in jobs("measures")}
    assert digests >= {"eeb45196", "4fe11380", "1c308431", "b14f0886", "76c8ef60", "88bb7256"}  # identity
    assert digests >= {"ac74e9e7", "4a472121", "244406bf", "39b22a85", "eca34b44", "7c1eee00"}  # wider
    assert digests >= {"abd2ea27", "ff54d938", "efe977ee", "2df2cdb3", "25387222"}
    assert len(digests) == 42


@pytest.mark.parametrize("study", ["jaderberg_table1", "jaderberg_cluttered", "jaderberg_addition", "jaderberg_svhn"])
def test_every_printed_number_is_about_one_cell_of_its_study(study: str):
    """And each cell has one, but for our controls and two that the transcription has not."""
    cells = [(config, fully(config)) for config in jobs(study, "seed=0")]
    data = {config["choices"]["data"] for config, _ in cells}
    printed = [one for paper in read_papers() for one in paper.printed if one.wanted["data"] in data]
    assert printed
    matched = [[config for config, cell in cells if fits(cell, one.wanted)] for one in printed]
    assert all(len(found) == 1 for found in matched)
    without = [config for config, _ in cells if not any(config in found for found in matched)]
    controls = [one for one in without if one["choices"].get("transform") == "identity" or "wider" in one["cells"][0]]
    assert len(without) - len(controls) == (2 if study == "jaderberg_addition" else 0)
    assert len(printed) == len(cells) - len(without)


def test_a_changed_distortion_or_fewer_images_are_no_cell_of_the_paper():
    printed = [one.wanted for paper in read_papers() for one in paper.printed]
    (config,) = jobs("jaderberg_table1", "cells=[cnn]", "data=mnist_rotated", "seed=0", "recipe=paper")
    assert sum(fits(fully(config), wanted) for wanted in printed) == 1
    for other in ("data.train_size=1000", "data.distortion.rotation=[-45,45]", "data.test_distortion={scale: [1, 2]}"):
        (config,) = jobs("jaderberg_table1", "cells=[cnn]", "data=mnist_rotated", "seed=0", other)
        assert not any(fits(fully(config), wanted) for wanted in printed), other


@pytest.mark.parametrize(
    ("paper", "studies"),
    [
        ("Jaderberg et al. 2015", ["jaderberg_table1", "jaderberg_cluttered", "jaderberg_addition", "jaderberg_svhn"]),
        ("Finnveden et al. 2021", ["placement"]),
        ("stnlab", ["rotation_scale", "measures"]),
        ("stnlab, poses beyond training", ["generalisation", "calibration"]),
    ],
)
def test_every_claim_is_about_cells_of_its_studies(paper: str, studies: list[str]):
    found = {}
    for study in studies:
        cells = list(
            {digest(cell.config): cell for config in jobs(study, "seed=0") for cell in [fully(config)]}.values()
        )
        for claim in (claim for one in read_papers() if one.name == paper for claim in one.claims):
            found[claim.says] = found.get(claim.says, 0) + len(sets_of(claim, cells))
    assert found
    assert all(found.values()), found
    if paper.startswith("Finnveden"):
        assert found["A transformer on the input errs less than one on features (R)"] == 4  # depths


@pytest.mark.parametrize("study", SOME)
def test_some_cells_of_each_study_train(study: str, tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    def random_numbers(self: SvhnNumbers, root: Path) -> tuple[RawImages, RawImages]:
        generator = np.random.default_rng(0)
        shape = (40, 3, self.pixels, self.pixels)
        splits = [(generator.integers(0, 256, shape, np.uint8), generator.integers(0, 11, (40, 5))) for _ in range(2)]
        return RawImages(*splits[0]), RawImages(*splits[1])

    monkeypatch.setattr(SvhnNumbers, "load", random_numbers)  # the files are nobody's to give
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    given = SOME[study]
    sizes = [] if any(one.startswith("data.train_size") for one in given) else ["data.train_size=16"]
    main([f"ablation={study}", *TINY, *sizes, *given])
    runs = find_runs(Path("runs") / study)
    assert 1 <= len(runs) <= 4
    assert {run.state for run in runs} == {"done"}
    assert all(0 <= run.metrics["test/error"] <= 1 for run in runs)

"""Every file a user may choose composes and builds."""

import re
import textwrap
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from stnlab import gallery
from stnlab.choices import build, locate
from stnlab.compose import compose, conf_directory
from stnlab.errors import StnlabError
from stnlab.manual import description
from stnlab.models.backbones import Backbone
from stnlab.train import check_settings
from stnlab.training.components import build_components

CONF = conf_directory()
FILES = sorted(CONF.glob("*/*.yaml"))
HYDRAS = sorted(CONF.glob("hydra/*/*.yaml"))
UNTRAINED = ["backbone.pretrained=false", "localizer.pretrained=false"]
GIVEN = {
    "data=folder": ["data.dataset.name=mine"],
    "experiment=birds_2x": UNTRAINED,
    "experiment=birds_4x": UNTRAINED,
}
"""What nobody but the user can say, and what would be fetched."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_choice_composes_builds_and_is_described(file: Path):
    choice = f"{file.parent.name}={file.stem}"
    config = compose("train", [choice, *GIVEN.get(choice, [])])
    check_settings(config)
    build_components(config)
    assert description(file)


@pytest.mark.parametrize("file", HYDRAS, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_launcher_and_sweeper_composes_and_is_there(file: Path):
    """`launcher=parallel` needs joblib only when it launches."""
    config = compose("train", [f"hydra/{file.parent.name}={file.stem}"])
    check_settings(config)
    node = HydraConfig.get()[file.parent.name]
    assert callable(locate(node["_target_"], f"hydra.{file.parent.name}"))
    assert description(file)


def test_every_choice_is_among_those_that_are_tested():
    files = {file for file in CONF.rglob("*") if file.is_file()}
    assert files == {*FILES, *HYDRAS, *(CONF / f"{name}.yaml" for name in ("train", "gallery", "evaluate"))}


def test_the_gallerys_and_the_evaluations_files_compose_and_build():
    config = compose("gallery", [])
    gallery.check_settings(config)
    build(config["data"], "data", training_seed=0, batch_size=1, eval_batch_size=1)
    evaluation = compose("evaluate", [])
    assert isinstance(evaluation["root"], str)
    assert evaluation["trainer"]["_target_"]


def test_a_folder_without_a_name_is_one_line():
    """Its path is no part of a run's identity: two folders would be one run."""
    with pytest.raises(StnlabError, match=r"^data\.dataset\.name: is missing; give data\.dataset\.name=\.\.\. "):
        build_components(compose("train", ["data=folder"]))


def test_the_readmes_own_backbone_works_as_it_stands_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (Path(__file__).parents[1] / "README.md").read_text()
    code, choice = (
        textwrap.dedent(found[1])
        for found in (
            re.search(r"```python\n(  from torch import nn\n.*?)  ```", text, re.DOTALL),
            re.search(r"```yaml\n(  # Three plain stages\n.*?)  ```", text, re.DOTALL),
        )
        if found
    )
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "plain.yaml").write_text(choice)
    monkeypatch.syspath_prepend(tmp_path)
    own = f"hydra.searchpath=['file://{tmp_path}']"
    config = compose("train", [own, "backbone=plain", "backbone.widths=[8,16]", "placement=deep", "placement.depth=2"])
    network = build_components(config).module.network
    assert isinstance(network.backbone, Backbone)
    assert network.backbone.shapes == [(1, 28, 28), (8, 14, 14), (16, 7, 7)]

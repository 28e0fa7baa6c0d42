"""Every file a user may choose composes and builds."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
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
    assert evaluation["root"] is None  # where each run found its images
    assert evaluation["trainer"]["_target_"]


def test_a_folder_without_a_name_is_one_line():
    """Its path is no part of a run's identity: two folders would be one run."""
    with pytest.raises(StnlabError, match=r"^data\.dataset\.name: is missing; give data\.dataset\.name=\.\.\. "):
        build_components(compose("train", ["data=folder"]))


def test_the_readmes_own_transform_backbone_and_dataset_work_as_they_stand_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    section = (Path(__file__).parents[1] / "README.md").read_text().partition("## Your own transform")[2]
    blocks = re.findall(r"^( *)```(python|yaml)\n(.*?)^\1```", section, re.DOTALL | re.MULTILINE)
    code = [textwrap.dedent(text) for _, language, text in blocks if language == "python"]
    choices = [textwrap.dedent(text) for _, language, text in blocks if language == "yaml"]
    (tmp_path / "mine.py").write_text("\n\n".join(code))
    for name, choice in zip(("transform/shift", "backbone/plain", "data/blobs"), choices, strict=True):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(choice)
    for split, count in (("train", 8), ("test", 4)):
        images = np.full((count, 1, 20, 20), 200, dtype=np.uint8)
        np.savez(tmp_path / f"{split}.npz", x=images, y=np.arange(count) % 2)
    monkeypatch.syspath_prepend(tmp_path)
    own = f"hydra.searchpath=['file://{tmp_path}']"
    mine = ["data=blobs", "transform=shift", "backbone=plain", "backbone.widths=[8,16]"]
    chosen = [*mine, f"data.root={tmp_path}", "data.validation_size=2", "placement=deep", "placement.depth=2"]
    components = build_components(compose("train", [own, *chosen]))
    data, network = components.data, components.module.network
    assert isinstance(network.backbone, Backbone)
    assert network.backbone.shapes == [(1, 28, 28), (8, 14, 14), (16, 7, 7)]
    data.setup()
    prediction = network(data.distort(next(iter(data.loader("test")))).image)
    assert prediction.logits.shape == (4, 1, 2)
    assert prediction.warps[0](torch.zeros(1, 2)).tolist() == [[[0, 0]]] * 4

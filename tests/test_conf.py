"""Every file a user may choose composes and builds."""

from pathlib import Path

import pytest

from stnlab.compose import compose, conf_directory
from stnlab.manual import description
from stnlab.train import check_settings
from stnlab.training.components import build_components

FILES = sorted(conf_directory().glob("*/*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_choice_composes_builds_and_is_described(file: Path):
    config = compose("train", [f"{file.parent.name}={file.stem}"])
    check_settings(config)
    build_components(config)
    assert description(file)

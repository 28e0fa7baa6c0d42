"""The page of all choices is what `conf/` says today."""

import runpy
from pathlib import Path

from stnlab.compose import conf_directory

ROOT = Path(__file__).parents[1]


def test_the_page_of_choices_is_current():
    page = runpy.run_path(str(ROOT / "scripts" / "choices.py"))["page"](conf_directory())
    assert (ROOT / "docs" / "choices.md").read_text() == page, "run python scripts/choices.py"


def test_it_has_every_file_a_user_may_choose():
    text = (ROOT / "docs" / "choices.md").read_text()
    for path in conf_directory().glob("*/*.yaml"):
        assert f"`{path.stem}`" in text, path

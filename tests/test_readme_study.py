"""The study and the claim that the README writes down work as they stand there; what it cites is this version."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from stnlab.reports.papers import read_papers
from stnlab.train import main

ROOT = Path(__file__).parents[1]
YAML = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_the_study_of_the_readme_has_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (text,) = [text for text in YAML if "study: mine" in text]
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    jobs: list[Any] = []
    monkeypatch.setattr("stnlab.sweeps.launch_unfinished", lambda *given: jobs.extend(given[3]) or [])
    main([f"--config-dir={tmp_path}", "ablation=mine"])
    assert len(jobs) == 3 * (2 * (1 + 4 + 1) + 1)


def test_the_claim_of_the_readme_is_read(tmp_path: Path):
    (text,) = [text for text in YAML if "claims:" in text]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "claims.yaml").write_text(text)
    (claim,) = [claim for paper in read_papers(tmp_path) if paper.name == "mine" for claim in paper.claims]
    assert claim.free == {"transform"}


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version("stnlab")
    assert citation["title"] and citation["authors"]

"""Studies and claims that README and docs write down work as they stand there; what is cited is this version."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from stnlab.reports.papers import read_papers
from stnlab.train import main

ROOT = Path(__file__).parents[1]
TEXTS = [(ROOT / name).read_text() for name in ("README.md", "docs/ablation.md")]
YAML = [found for text in TEXTS for found in re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


@pytest.mark.parametrize(("study", "jobs"), [("mine", 3 * (2 * (1 + 4 + 1) + 1)), ("few_digits", 3 * 5)])
def test_a_written_study_has_its_jobs(study: str, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (text,) = [text for text in YAML if f"study: {study}\n" in text]
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation" / f"{study}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    found: list[Any] = []
    monkeypatch.setattr("stnlab.sweeps.launch_unfinished", lambda *given: found.extend(given[3]) or [])
    main([f"--config-dir={tmp_path}", f"ablation={study}"])
    assert len(found) == jobs


def test_written_claims_are_read(tmp_path: Path):
    texts = [text for text in YAML if "claims:" in text]
    found = []
    for text in texts:
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / "claims.yaml").write_text(text)
        found.append([claim for paper in read_papers(tmp_path) if paper.name == "mine" for claim in paper.claims])
    assert [[sorted(claim.free) for claim in claims] for claims in found] == [
        [["transform"]],
        [["transform"], ["backbone.channels", "placement", "transform"]],
    ]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version("stnlab")
    assert citation["title"] and citation["authors"]

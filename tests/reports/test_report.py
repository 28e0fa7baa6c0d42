"""The files a report writes and what the terminal shows."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from stnlab.reports import print_report, write_report
from stnlab.reports.cells import ABSENT


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def report(study):
    return write_report(study)


def test_csv_holds_every_cell_to_the_last_digit(report):
    rows = list(csv.DictReader(io.StringIO((report.folder / "results.csv").read_text())))
    assert [(row["placement"], row["transform"], row["seeds"]) for row in rows] == [
        ("none", ABSENT, "0 1"),
        ("input", "affine", "0 1"),
        ("input", "rotation_scale", "0"),
        ("deep", "affine", "0"),
        ("deep", "rotation_scale", ""),
    ]
    for line, row in zip(rows[1:3], report.rows[1:3], strict=True):
        assert float(line["error"]) == row.cell.mean("error")
        assert float(line["difference_high"]) == row.comparison.high
        assert line["baseline"] == "none"
    assert rows[3]["problems"] == "seed 1: failed: RuntimeError: loss is NaN after 412 steps"
    assert rows[4]["error"] == ""


def test_markdown_has_table_findings_and_what_is_missing(report):
    text = (report.folder / "results.md").read_text()
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 5
    assert len({line.count("|") for line in table}) == 1
    assert sum(line.startswith("- `") for line in lines) == 3 + 2
    assert "over test images only where n = 1" in text


class Page(HTMLParser):
    """Tags that are open, and everything a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "link", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(report):
    text = (report.folder / "index.html").read_text()
    page = Page(text)
    assert not page.open
    assert all(source.startswith("data:") for source in page.loads)
    assert len(page.loads) == 1 + 4 + 3 + 1  # icon, reliability, views, curves
    assert not re.search(r"url\(|@import|https?://", text)
    assert "failed: RuntimeError: loss is NaN" in text
    assert "python -m stnlab.train -m data=mnist_rotated backbone=cnn placement=none" in text


def test_figures_lie_beside_the_page(report):
    names = sorted(path.name for path in (report.folder / "figures").iterdir())
    stems = [f"reliability-{name}" for name in ("deep-affine", "input-affine", "input-rotation_scale", "none")]
    stems += [f"views-{name}" for name in ("deep-affine", "input-affine", "input-rotation_scale")]
    assert names == sorted(f"{stem}.{kind}" for stem in ["curves", *stems] for kind in ("png", "svg"))


def test_the_same_runs_give_the_same_bytes_and_old_figures_go(make_study):
    study = make_study({"placement": "none"})
    folder = write_report(study).folder
    before = contents(folder)
    (folder / "figures" / "views-gone.svg").write_text("of a cell that is no more")
    (folder / "notes.txt").write_text("mine")
    write_report(study)
    after = contents(folder)
    assert after.pop("notes.txt") == b"mine"
    assert after == before


def test_names_are_escaped(make_study):
    plan = {"placement": "none", "end": "failed", "environment": {"device": "<script>alert(1)</script>"}}
    page = (write_report(make_study(plan)).folder / "index.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


def test_a_study_without_results_is_reported(make_study):
    report = write_report(make_study({"placement": "none", "end": "failed"}, {"placement": "deep", "end": "running"}))
    page = (report.folder / "index.html").read_text()
    assert "No run of this study has results yet." in page
    assert "loss is NaN" in page


def test_pictures_that_cannot_be_read_are_named(make_study):
    path = make_study({"placement": "none"}, {"placement": "input", "transform": "affine"})
    (next(path.glob("*input*")) / "evaluation.npz").unlink()
    page = (write_report(path).folder / "index.html").read_text()
    assert "input affine is not drawn" in page


@pytest.mark.parametrize(("width", "whole"), [(80, False), (120, True)])
def test_terminal_keeps_to_its_width_and_names_every_cell(report, width, whole):
    out = io.StringIO()
    print_report(report, Console(file=out, width=width, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines[:-1]) <= width
    text = "\n".join(lines)
    assert all(word in text for word in ("none", "rotation_scale", "significantly better", "failed: RuntimeError"))
    assert ("Brier" in text.partition("n: seeds")[0]) == whole
    assert lines[-1] == f"page: {report.folder / 'index.html'}"

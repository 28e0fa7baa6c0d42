"""What the terminal shows of a report."""

import io
import re

import pytest
from rich.console import Console

from stnlab.reports import Options, print_report, wording, write_report
from stnlab.reports.options import DEFAULT_MEASURES


@pytest.fixture(scope="module")
def report(study):
    return write_report(study)


@pytest.mark.parametrize(("width", "whole"), [(80, False), (150, True)])
def test_terminal_keeps_to_its_width_and_names_every_cell(report, width, whole):
    out = io.StringIO()
    print_report(report, Console(file=out, width=width, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines[:-1]) <= width
    text = "\n".join(lines)
    assert all(word in text for word in ("none", "rotation_scale", "likely better", "failed: RuntimeError"))
    minus = "\N{MINUS SIGN}"
    ends = re.findall(rf"[+{minus}]?\d\.\d\d([^\d\s.{minus}+]+)[+{minus}]?\d\.\d\d", text)
    assert set(ends) == {"\N{HORIZONTAL ELLIPSIS}"}
    assert ("Brier" in text.partition("n: seeds")[0]) == whole
    assert lines[-1] == f"page: {report.folder / 'index.html'}"


@pytest.mark.parametrize(
    ("asked", "heads"),
    [
        ({}, []),
        ({"columns": ("transform",)}, ["error %, columns: transform", "ECE %, columns: transform"]),
        ({"rows": ("transform", "placement"), "measures": ("test/nll",)}, ["NLL"]),
        ({"measures": ("test/brier",)}, ["Brier, columns: transform"]),
    ],
)
def test_what_was_asked_for_is_laid_out_in_the_terminal_too(report, asked, heads):
    out = io.StringIO()
    print_report(report, Console(file=out, width=150), Options(**asked))
    titles = re.findall(r"^study [^:\n]+: (.*?) *$", out.getvalue(), re.MULTILINE)
    assert titles == heads
    if "test/nll" in asked.get("measures", ()):
        assert all(f"{row.cell.mean('nll'):.3f}" in out.getvalue() for row in report.rows if row.cell.finished)


def test_a_grid_too_wide_is_laid_out_in_blocks_that_cut_no_number(make_study):
    data = [f"mnist_of_a_long_name_{letter}" for letter in "abcdef"]
    plans = [{"placement": "none", "data": one} for one in data]
    plans += [{"placement": "input", "transform": "affine", "data": one} for one in data]
    options = Options(rows=("placement",), columns=("data",))
    report, out = write_report(make_study(*plans), options), io.StringIO()
    print_report(report, Console(file=out, width=80, force_terminal=True, color_system=None), options)
    grids = out.getvalue().partition("ECE %, columns")[0]
    assert max(map(len, grids.splitlines())) <= 80
    spans = [wording.span(row.error.low, row.error.high) for row in report.rows]
    assert all(text.replace(" to ", "\N{HORIZONTAL ELLIPSIS}") in grids for text in (*data, *spans))


def test_measures_are_shown_where_no_grid_is_compact(make_study):
    report = write_report(make_study({"placement": "none"}), Options(measures=("test/nll",)))
    (row,) = report.rows
    assert f"{row.cell.mean('nll'):.3f}" in (report.folder / "results.md").read_text().partition("error %")[0]


def test_the_usual_measures_are_shown_in_a_grid_too_when_they_are_asked_for(make_study):
    report, out = write_report(make_study({"placement": "none"}), usual := Options(measures=DEFAULT_MEASURES)), []
    for options in (Options(), usual):
        out.append(io.StringIO())
        print_report(report, Console(file=out[-1], width=200), options)
    alone, asked = (text.getvalue() for text in out)
    assert asked.endswith(alone)
    assert "error %" in asked.removesuffix(alone)

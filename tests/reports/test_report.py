"""The files a report writes."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from stnlab.errors import StnlabError
from stnlab.reports import Options, read_study, wording, write_report
from stnlab.reports.choice import drawn_rows, line_rows, not_drawn
from stnlab.reports.families import ORBITS, answers, families, without_validation
from stnlab.reports.latex import escape, to_latex
from stnlab.reports.measures import interval_of, measure_called
from stnlab.reports.options import arguments, parse
from stnlab.reports.pivot import grid, grid_texts
from stnlab.reports.provenance import commands
from stnlab.runs import RunDirectory


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def report(study):
    return write_report(study)


def test_csv_holds_every_cell_to_the_last_digit(report):
    rows = list(csv.DictReader(io.StringIO((report.folder / "results.csv").read_text())))
    assert [(row["placement"], row["transform"], row["seeds"]) for row in rows] == [
        ("none", "", "0 1"),
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
    grids, whole = lines.index("**error %**"), next(n for n, line in enumerate(lines) if "| NLL |" in line)
    for start, rows in ((grids + 2, 3), (whole, 5)):
        table = lines[start : lines.index("", start)]
        assert len(table) == 2 + rows
        assert len({line.count("|") for line in table}) == 1
    assert lines[grids + 5].startswith("| input | ")
    assert sum(line.startswith("- `") for line in lines) == 2 + 4  # sentences on placements, problems
    assert "test images only where n = 1" in text
    assert "| cell | baseline |" in text


class Page(HTMLParser):
    """Tags that are open, and everything a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "link", "img", "wbr", "input", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(report):
    text = (report.folder / "index.html").read_text()
    page = Page(text)
    assert not page.open
    assert all(source.startswith(("data:", "#")) for source in page.loads)
    images = [source for source in page.loads if source.startswith("data:image")]
    # reliability twice, three lines, views, moving and still frames, means and chart of those with a transformer
    assert len(images) == 4 * 2 + 3 + 3 * 5
    assert not re.search(r"url\(|@import|https?://", text)
    assert "failed: RuntimeError: loss is NaN" in text
    assert "python -m stnlab.train -m data=mnist_rotated backbone=cnn placement=none" in text


def test_figures_lie_beside_the_page(report):
    names = sorted(path.name for path in (report.folder / "figures").iterdir())
    moved = ("deep-affine", "input-affine", "input-rotation_scale")
    stems = [f"reliability-{name}{scaled}" for name in (*moved, "none") for scaled in ("", "-scaled")]
    stems += [f"views-{name}" for name in moved] + [f"means-{name}-0" for name in moved]
    stems += [f"rectification-{name}-0" for name in moved] + ["curves", "pose-rotation", "orbit-rotation"]
    frames = [f"frames-{name}-0{end}.png" for name in moved for end in ("", "-last")]
    assert names == sorted([f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")] + frames)


def test_the_same_runs_give_the_same_bytes_and_old_figures_go(make_study):
    study = make_study({"placement": "none"})
    folder = write_report(study).folder
    before = contents(folder)
    (folder / "figures" / "views-gone.pdf").write_text("of a cell that is no more")
    (folder / "notes.txt").write_text("mine")
    write_report(study)
    after = contents(folder)
    assert after.pop("notes.txt") == b"mine"
    assert after == before


def test_figures_for_latex_are_as_fresh_as_the_others(make_study):
    study = make_study({"placement": "none"})
    figures = write_report(study, Options(pdf=True)).folder / "figures"
    drawn = {path.name: path.read_bytes() for path in figures.glob("*.pdf")}
    assert drawn.keys() == {f"{path.stem}.pdf" for path in figures.glob("*.svg")}
    write_report(study)  # nothing is drawn again
    assert {path.name: path.read_bytes() for path in figures.glob("*.pdf")} == drawn
    make_study({"placement": "none", "seed": 7})
    write_report(study)
    assert not list(figures.glob("*.pdf"))


def test_names_are_escaped(make_study):
    plan = {"placement": "none", "end": "failed", "environment": {"device": "<script>alert(1)</script>"}}
    page = (write_report(make_study(plan)).folder / "index.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 1  # the page's own


def test_a_study_without_results_is_reported(make_study):
    report = write_report(make_study({"placement": "none", "end": "failed"}, {"placement": "deep", "end": "running"}))
    page = (report.folder / "index.html").read_text()
    assert "No run of this study has results yet." in page
    assert "loss is NaN" in page


def test_pictures_that_cannot_be_read_are_named(make_study):
    path = make_study({"placement": "none"}, {"placement": "input", "transform": "affine"})
    (next(path.glob("*input*")) / "evaluation.npz").unlink()
    page = (write_report(path).folder / "index.html").read_text()
    assert "views of input affine is not drawn, or lacks something" in page


def test_old_runs_have_the_figures_that_they_have_arrays_for(make_study):
    report = write_report(
        make_study({"placement": "none", "old": True}, {"placement": "input", "transform": "affine", "old": True})
    )
    stems = {path.stem.split("-")[0] for path in (report.folder / "figures").iterdir()}
    assert stems == {"reliability", "views", "curves"}
    page = (report.folder / "index.html").read_text()
    assert "2 of 2 runs: no temperature scaling: this run has no validation split" in page
    assert "T is the temperature" not in page


def test_csv_has_the_other_measures_under_their_own_names(report):
    rows = list(csv.DictReader(io.StringIO((report.folder / "results.csv").read_text())))
    own = report.rows[1].cell
    for name in (
        "temperature/ece",
        "invariance/rotation/accuracy",
        "rectification/0/rotation/residual",
        "health/collapsed",
    ):
        expected = np.mean([run.directory.metrics[name] for run in own.finished])
        assert float(rows[1][name]) == pytest.approx(expected, rel=1e-15)
    assert rows[0]["rectification/0/rotation/residual"] == ""
    assert not [name for name in rows[0] if name.startswith("by_pose/") or "class_" in name]
    assert float(rows[0]["gap"]) == pytest.approx(
        np.mean([run.directory.metrics["test/gap"] for run in report.rows[0].cell.finished])
    )


@pytest.mark.parametrize("asked", [Options(), Options(rows=("transform",))])
def test_latex_is_balanced_and_escaped(report, asked):
    text = to_latex(report, grid(report, asked), [measure_called("error"), measure_called("ece")]).decode()
    assert text.isascii()
    assert (
        text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") > 3
    )  # error, ECE, cells, comparisons, families
    assert not re.search(r"(?<!\\)[_%&#$](?<!&)", re.sub(r"\$[^$]*\$|^%.*$| & ", "", text, flags=re.M))
    for body in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.S):
        assert len({line.count(" & ") for line in body.splitlines()}) == 1
        assert body.splitlines()[0].count(" & ") < 7
    assert r"rotation\_scale" in text
    assert escape("a_b & 50% ~ {x}\\") == r"a\_b \& 50\% \textasciitilde{} \{x\}\textbackslash{}"


def test_latex_has_intervals_below_their_values_and_even_tables(report):
    text = (report.folder / "results.tex").read_text()
    row = report.rows[1]
    value, (low, high) = 100 * row.cell.mean("error"), (100 * row.error.low, 100 * row.error.high)
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith(r"input affine & 2 & 120,000 & "))
    assert f"{value:.2f}" in lines[place]
    assert rf"{{\scriptsize {low:.2f} to {high:.2f}}}" in lines[place + 1]
    widths = [len(columns) for columns in re.findall(r"begin{tabular}{(\w+)}", text)]
    assert widths[2:4] == [5, 4]  # cell, n, parameters, error, ECE; and cell, gap, NLL, Brier
    packages = set(re.findall(r"usepackage{(\w+)}", text))
    assert packages == {"booktabs", "graphicx", "longtable"}


def test_what_else_is_measured_is_in_tables_by_family(report):
    found = {section.title.partition(":")[0]: section for section in families(report)}
    assert list(found)[:5] == ["Calibration", "Scores", "After temperature scaling", "Invariance", "Rectification"]
    table = found["Calibration"]
    assert "AURC" not in found["Scores"].header  # no run has it
    own = report.rows[1].cell
    runs = sorted(own.values("test/nll"))
    assert found["Scores"].rows[1][1] == (f"{np.mean(runs):.3f}", f"runs {runs[0]:.3f} to {runs[1]:.3f}")
    after, runs = found["After temperature scaling"], sorted(own.values("temperature/nll"))
    expected = (f"{np.mean(runs):.3f}", f"runs {runs[0]:.3f} to {runs[1]:.3f}")
    assert after.rows[1][after.header.index("NLL")] == expected
    column = next(number for number, name in enumerate(table.header) if name.endswith("scaled"))
    before, after = (100 * own.mean(name) for name in ("test/ece", "temperature/ece"))
    assert table.rows[1][column][0] == f"{before:.2f} \N{RIGHTWARDS ARROW} {after:.2f}"
    assert [row[0][0] for row in found["Rectification"].rows] == ["input affine", "input rotation_scale", "deep affine"]
    texts = [(report.folder / name).read_text() for name in ("index.html", "results.md")]
    assert all(section.title in text for section in found.values() for text in texts)
    assert all(wording.OF_FAMILIES in text for text in texts)


def test_what_it_says_is_answered_in_sentences(report):
    said = answers(report)
    cells = [row.cell for row in report.rows if row.cell.finished]
    worse = [cell.name for cell in cells if cell.mean("temperature/ece") > cell.mean("test/ece")]
    assert 0 < len(worse) < 4
    most = 100 * max(cell.mean("temperature/ece") - cell.mean("test/ece") for cell in cells)
    (scaled,) = (line for line in said if line.startswith("Temperature scaling"))
    assert scaled.startswith(f"Temperature scaling makes the test ECE worse in {len(worse)} of 4 cells: `{worse[0]}`")
    assert scaled.endswith(f" (by at most {most:.2f} points, not tested).")
    assert any(line.startswith("Most overconfident: `deep affine`, at rotation") for line in said)
    (undone,) = (line for line in said if line.startswith("`placement=input`: the least rotation left: from "))
    assert undone.endswith("`), over only 2 seeds, too few for a verdict.")
    assert said[-1].endswith("train with data.validation_size above 0.") == (without_validation(report.runs) != [])
    assert max(len(line.split()) for line in said[:-1]) <= 25


def test_what_is_undone_has_a_verdict_from_three_seeds_on(make_study):
    path = make_study(*({"placement": "input", "transform": "affine", "seed": seed} for seed in range(3)))
    name = "rectification/0/rotation/"
    for residual, word in (
        (19.0, "mostly undone (less than half is left)"),
        (30.0, "partly undone (half or more is left)"),
        (39.0, "not undone (nine tenths or more are left)"),
    ):
        for run in map(RunDirectory, path.glob("*input*")):
            run.write_metrics(run.metrics | {f"{name}input": 40.0, f"{name}residual": residual})
        (undone,) = (line for line in answers(read_study(path)) if line.startswith("`placement=input`"))
        assert undone.startswith(
            f"`placement=input`: rotation is {word}: at best from 40.0\N{DEGREE SIGN} to {residual}"
        )


def test_what_an_orbit_crops_is_no_lack_of_invariance(make_study):
    path = make_study({"placement": "none"})
    (run,) = map(RunDirectory, path.glob("*none*"))
    shares = {"accuracy": 0.5, "agreement": 0.4, "total_variation": 0.3, "gap": 0.45}
    found = {f"invariance/scale/{name}": value for name, value in shares.items()}
    found |= {f"invariance/scale/outside/{name}": value for name, value in shares.items()}
    found |= {f"invariance/scale/whole/{name}": value / 10 for name, value in shares.items()}
    found |= {f"invariance/scale/{value}/cut": cut for value, cut in (("x1.00", 0.0), ("x1.41", 0.04), ("x2.00", 0.3))}
    quiet = {name: 0.0 for name in run.metrics if name.endswith("/confidence")}  # nowhere else overconfident
    for at_two, title, row, where in (
        (
            0.3,
            "scale, whole: ",
            ["5.00", "4.00", "0.030", "+4.50"],
            "over every scale that leaves images whole, by 4.50",
        ),
        (0.04, "scale: ", ["\N{EN DASH} / 50.00"], "outside the scale range of training, by 45.00"),
    ):
        run.write_metrics(run.metrics | quiet | found | {"invariance/scale/x2.00/cut": at_two})
        report = read_study(path)
        (table,) = (section for section in families(report) if section.title.startswith("Invariance"))
        columns = [number for number, name in enumerate(table.header) if name.startswith(title)]
        assert [table.header[number].removeprefix(title) for number in columns] == list(ORBITS)
        assert [table.rows[0][number][0] for number in columns][: len(row)] == row
        (sure,) = (line for line in answers(report) if line.startswith("Most overconfident"))
        assert where in sure


def test_the_page_says_how_to_make_it_again(make_study, tmp_path):
    typed = [
        "data=mnist_rotated",
        "placement=none",
        "runs_dir=/x",
        "trainer=cpu",
        "logger=none",
        "trainer.precision=32",
    ]
    path = make_study({"placement": "none", "environment": {"overrides": [*typed, "seed=0"]}})
    options = Options(measures=("test/nll",), cells="all", output=tmp_path / "out", runs=True)
    page = (write_report(path, options).folder / "index.html").read_text()
    assert f"python -m stnlab.report {path} measures=test/nll cells=all output={tmp_path}/out --runs" in page
    assert "stnlab.train data=mnist_rotated placement=none trainer.precision=32 seed=0 study=own" in page
    assert parse([str(path), *arguments(options)]) == ([path], options)


def test_a_command_names_the_recipe_that_a_studys_file_did(make_study):
    typed = {"overrides": ["ablation=mine", "cells=[none]", "seed=0"]}
    path = make_study({"placement": "none", "environment": typed})
    (command,) = commands(read_study(path))
    assert command == "python -m stnlab.train ablation=mine 'cells=[none]' recipe=fast seed=0 study=own"


def test_a_measure_has_an_interval_from_three_seeds_on_and_two_have_their_range(make_study):
    path = make_study(*({"placement": "none", "seed": seed} for seed in range(3)), {"placement": "deep"})
    values = {0: 0.20, 1: 0.22, 2: 0.27}
    for run in map(RunDirectory, path.glob("*none*")):
        value = values[run.config["seed"]]
        run.write_metrics(run.metrics | {"test/mce": value, "test/mce_low": value - 0.02, "test/mce_high": 1.0})
    row, mce = read_study(path).rows[0], measure_called("test/mce")
    three, two = interval_of(row, mce), interval_of(replace(row, cell=replace(row.cell, runs=row.cell.runs[:2])), mce)
    spread = student.interval(0.95, 2, 0.23, np.std(list(values.values()), ddof=1) / np.sqrt(3))
    assert three.low == pytest.approx(0.23 - np.hypot(0.23 - spread[0], 0.02))
    assert (three.high, three.runs) == (1, False)  # no MCE is larger
    assert (two.low, two.high, two.runs) == (0.20, 0.22, True)
    one = interval_of(replace(row, cell=replace(row.cell, runs=row.cell.runs[:1])), mce)
    assert (one.low, one.high) == pytest.approx((0.18, 1.0))
    agreement = interval_of(row, measure_called("invariance/rotation/agreement"))
    assert agreement.runs  # without an interval of its own


@pytest.mark.parametrize(
    ("asked", "down", "across"),
    [
        ({}, ["placement"], ["transform"]),
        ({"columns": ("placement",)}, ["transform"], ["placement"]),
        ({"rows": ("transform",)}, ["transform"], ["placement"]),
        ({"rows": ("placement", "transform")}, ["placement", "transform"], []),
    ],
)
def test_the_grid_is_as_asked_and_holds_every_cell(report, asked, down, across):
    found = grid(report, Options(**asked))
    assert (found.down, found.across) == (down, across)
    assert sorted(map(id, found.places.values())) == sorted(map(id, report.rows))
    with pytest.raises(StnlabError, match="placment does not vary in this report; did you mean placement"):
        grid(report, Options(rows=("placment",)))


def test_the_best_of_a_grid_is_the_lowest(report):
    rows = grid_texts(report, grid(report, Options()), measure_called("error"))
    marked = [place.value for _, places in rows for place in places if place.best]
    lowest = min(row.cell.mean("error") for row in report.rows if row.cell.finished)
    assert marked == [f"{100 * lowest:.2f}"]


def test_many_cells_have_few_figures_and_the_page_says_so(make_study):
    plans = [
        {"placement": "input", "transform": "affine", "extra": {"recipe": {"lr": 0.001 * n}}} for n in range(1, 15)
    ]
    report = read_study(make_study({"placement": "none", "extra": {"recipe": {"lr": 0.001}}}, *plans, images=30))
    shown = drawn_rows(report, None)
    best = sorted(row.cell.mean("error") for row in report.rows if row.cell.name.startswith("input"))[:11]
    assert shown[0].cell.name == "none lr=0.001"
    assert sorted(row.cell.mean("error") for row in shown[1:]) == best
    assert [len(rows) for rows in line_rows(report, None).values()] == [8]
    assert len(drawn_rows(report, "all")) == 15
    assert [row.cell.name for row in drawn_rows(report, "placement=none")] == ["none lr=0.001"]
    assert any("cells=all" in line for line in not_drawn(report, None))


def test_baselines_leave_room_for_what_is_compared_with_them(make_study):
    rates = [{"extra": {"recipe": {"lr": 0.001 * n}}} for n in range(1, 10)]
    kinds = ({"placement": "none"}, {"placement": "input", "transform": "affine"})
    report = read_study(make_study(*(kind | rate for kind in kinds for rate in rates), images=30))
    names = [row.cell.name.split()[0] for row in drawn_rows(report, None)]
    assert names == ["none"] * 6 + ["input"] * 6


def test_run_pages_tell_everything_and_are_written_once(make_study):
    path = make_study({"placement": "none"}, {"placement": "input", "transform": "affine", "end": "failed"})
    folder = write_report(path, Options(runs=True)).folder
    pages = sorted((folder / "runs").iterdir())
    assert [page.stem for page in pages] == sorted(run.name for run in path.glob("mnist*"))
    text = next(page for page in pages if "none" in page.name).read_text()
    run = RunDirectory(next(path.glob("*none*")))
    assert all(name in text for name in run.metrics if not name.endswith(("_low", "_high")))
    assert "python -m stnlab.train data=mnist_rotated backbone=cnn placement=none" in text
    assert "loss is NaN" in next(page for page in pages if "input" in page.name).read_text()
    assert all(f'href="runs/{page.name}"' in (folder / "index.html").read_text() for page in pages)
    times = [page.stat().st_mtime_ns for page in pages]
    run.write_metrics(run.metrics | {"test/error": 0.5})
    write_report(path, Options(runs=True))
    later = [page.stat().st_mtime_ns for page in pages]
    assert [new > old for new, old in zip(later, times, strict=True)] == ["none" in page.name for page in pages]

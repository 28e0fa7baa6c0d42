"""Which runs are one cell, what they are called, and what they are compared with."""

import csv

import numpy as np
import pytest

from stnlab.errors import StnlabError
from stnlab.evaluation import holm, wilson
from stnlab.reports import Options, read_study, write_report
from stnlab.reports.cells import ABSENT
from stnlab.reports.families import families
from stnlab.reports.latex import to_latex
from stnlab.reports.provenance import commands
from stnlab.reports.sections import comparisons
from stnlab.reports.tables import to_markdown
from stnlab.reports.wording import finding, findings, problems, state
from stnlab.runs import RunDirectory
from stnlab.runs.plan import Planned, change_plan

NONE = {"placement": "none"}
INPUT = {"placement": "input", "transform": "affine", "quality": 6.0}


def deep(depth, **more):
    return {"placement": "deep", "transform": "affine", "depth": depth, **more}


def labels(report):
    return [tuple(row.cell.labels.values()) for row in report.rows]


def test_cells_are_runs_that_differ_in_seed_alone(study):
    report = read_study(study)
    assert report.columns == ["placement", "transform"]
    assert labels(report) == [
        ("none", ABSENT),
        ("input", "affine"),
        ("input", "rotation_scale"),
        ("deep", "affine"),
        ("deep", "rotation_scale"),
    ]
    assert [len(row.cell.runs) for row in report.rows] == [2, 2, 1, 2, 1]
    assert [len(row.cell.finished) for row in report.rows] == [2, 2, 1, 1, 0]


def test_numbers_are_those_of_the_runs(study):
    for row in read_study(study).rows[:4]:
        runs = row.cell.finished
        assert row.cell.mean("error") == pytest.approx(np.mean([run.directory.metrics["test/error"] for run in runs]))
        assert row.error.low < row.cell.mean("error") < row.error.high
        assert row.ece.low <= row.cell.mean("ece") <= row.ece.high
    single = read_study(study).rows[2]
    wrong = round(600 * single.cell.mean("error"))
    assert (single.error.low, single.error.high) == wilson(wrong, 600)


def test_runs_without_results_stay_visible(study):
    assert [problem for _, problem in problems(read_study(study))] == [
        "failed: RuntimeError: loss is NaN after 412 steps",
        "not finished: running or interrupted after 3 epochs",
        "missing: seed 1, which other cells have",
        "missing: seed 1, which other cells have",
    ]


def test_missing_combinations_are_named_and_impossible_ones_are_not(make_study):
    rotated = {"transform": "rotation"}
    report = read_study(
        make_study(NONE, INPUT, INPUT | rotated, deep(1), NONE | {"seed": 1}, INPUT | {"collapsed": True, "seed": 1})
    )
    assert report.missing == [{"placement": "deep", "transform": "rotation"}]
    assert [row.missing for row in report.rows] == [(), (), (1,), (1,)]
    assert [state(row) for row in report.rows] == ["", "1 collapsed", "1 missing", "1 missing"]
    assert ("deep rotation", "missing: no run is of this combination") in problems(report)


def test_several_studies_are_one_table(make_study, tmp_path):
    first = make_study(NONE, INPUT)
    second = first.rename(tmp_path / "first"), make_study(NONE | {"seed": 1}, deep(1))
    report = read_study(second)
    assert labels(report) == [("none", ABSENT), ("input", "affine"), ("deep", "affine")]
    assert [run.seed for run in report.rows[0].cell.runs] == [0, 1]
    assert (report.name, report.folder) == ("first + own", tmp_path / "first" / "report")


def test_runs_from_before_there_was_an_option_that_is_off_are_of_the_same_cells(make_study):
    today = {"extra": {"trainer": {"compile": None}}}
    report = read_study(make_study(NONE, INPUT, INPUT | {"seed": 1} | today, deep(1) | today))
    assert [row.cell.name for row in report.rows] == ["none", "input affine", "deep affine"]
    assert [[run.seed for run in row.cell.runs] for row in report.rows] == [[0], [0, 1], [0]]
    assert all(row.comparison for row in report.rows[1:])


def test_a_collapse_is_marked_in_every_table(make_study):
    report = read_study(make_study(NONE, INPUT | {"collapsed": True}, INPUT | {"seed": 1}))
    marked = ("input affine", "1 of 2 collapsed")
    tables = [comparisons(report), *families(report)]
    assert len(tables) == 7
    assert [marked in [row[0] for row in table.rows] for table in tables] == [True] * 7
    assert "1 of 2 collapsed" in to_latex(report, None, []).decode()
    assert "| input affine (1 of 2 collapsed) |" in to_markdown(report).decode()
    assert ", a transformer collapsed" in next(run.directory.summary for run in report.runs if run.collapsed)


def test_a_run_that_learnt_nothing_is_named_and_counts(make_study):
    report = write_report(make_study(NONE, NONE | {"seed": 1, "quality": 0.01}, INPUT))
    (guessing,) = [run for run in report.runs if run.guesses]
    assert guessing.seed == 1
    texts = {name: (report.folder / name).read_text() for name in ("results.md", "results.csv", "index.html")}
    assert "| none (1 of 2 guessing) |" in texts["results.md"]
    assert f"- `{guessing.directory.name}`: has learnt nothing" in texts["results.md"]
    assert "1 of 3 runs learnt nothing" in texts["index.html"]
    assert report.rows[0].cell.mean("error") > 0.4
    with (report.folder / "results.csv").open() as file:
        assert [row["seeds_guessing"] for row in csv.DictReader(file)] == ["1", ""]


def test_studies_with_the_same_runs_are_told_apart(make_study, tmp_path):
    first = make_study(NONE, INPUT).rename(tmp_path / "first")
    report = read_study([first, make_study(NONE, INPUT)])
    assert report.columns == ["study", "placement", "transform"]
    assert {row.baseline.name for row in report.rows if row.baseline} == {"first none", "own none"}
    with pytest.raises(StnlabError, match="given twice"):
        read_study([first, first])


def test_kept_statistics_are_those_of_the_files(make_study):
    path = make_study(NONE, INPUT, images=500)
    before = read_study(path)
    assert read_study(path).rows[1].found == before.rows[1].found
    RunDirectory(next(path.glob("*input*"))).write_predictions(
        {"test": RunDirectory(next(path.glob("*none*"))).predictions("test")}
    )
    assert read_study(path).rows[1].comparison.difference == 0


def test_nested_values_are_columns_only_under_the_same_choice(make_study):
    path = make_study(NONE, deep(1), deep(2), deep(2, extra={"recipe": {"epochs": 20}}))
    report = read_study(path)
    assert report.columns == ["placement", "placement.depth", "transform", "recipe.epochs"]
    assert labels(report)[0] == ("none", ABSENT, ABSENT, "8")
    assert report.rows[3].cell.name == "deep depth=2 affine epochs=20"


def rates(*values):
    return [INPUT | {"extra": {"recipe": {"lr": value}}} for value in values]


def test_long_numbers_are_shown_short_and_matched_as_they_are(make_study):
    exact = "0.0019593360889756358"
    plans = rates(float(exact), 0.25) + [NONE | {"extra": {"recipe": {"lr": lr}}} for lr in (float(exact), 0.25)]
    folder = write_report(make_study(*plans), Options(cells="all")).folder
    report = read_study(folder.parent, baseline=f"placement=none,recipe.lr={exact}")
    names = ["none lr=0.001959", "none lr=0.25", "input affine lr=0.001959", "input affine lr=0.25"]
    assert [row.cell.name for row in report.rows] == names
    assert report.rows[2].baseline is report.rows[0].cell
    assert any(f"recipe.lr={exact}" in line for line in commands(report))
    texts = {name: (folder / name).read_text() for name in ("results.md", "results.tex", "results.csv")}
    assert [exact in text.partition("```bash")[0] for text in texts.values()] == [False, False, True]
    assert all("0.001959" in text for text in texts.values())
    stems = {path.stem for path in (folder / "figures").iterdir()}
    assert not any("." in stem for stem in stems)
    assert {"reliability-none-lr=0_001959", "reliability-none-lr=0_25"} <= stems


def test_numbers_have_the_digits_that_tell_cells_apart(make_study):
    report = read_study(make_study(*rates(0.123456, 0.123457, 0.30000000000000004, 12345.678, 12345678)))
    shown = [row.cell.name.partition("lr=")[2] for row in report.rows]
    assert shown == ["0.123456", "0.123457", "0.3", "12345.7", "12345678"]


def test_one_cell_is_named_by_its_transformer(make_study):
    assert labels(read_study(make_study(INPUT, INPUT | {"seed": 1}))) == [("input", "affine")]


def test_each_cell_has_the_baseline_that_is_otherwise_the_same(make_study):
    longer = {"extra": {"recipe": {"epochs": 20}}}
    report = read_study(make_study(NONE, NONE | longer, INPUT | longer, deep(1)))
    partners = {row.cell.name: row.baseline and row.baseline.name for row in report.rows}
    assert partners["input affine epochs=20"] == "none epochs=20"
    assert partners["deep affine epochs=8"] == "none epochs=8"
    assert partners["none epochs=8"] is None


def sized(kind, parameters, channels=None):
    more = {"extra": {"backbone": {"width": channels}}} if channels else {}
    return kind | more | {"environment": {"parameters": parameters}}


def test_a_larger_cell_is_also_compared_with_a_baseline_as_large(make_study):
    small, large = sized(NONE, 27722), sized(NONE, 55526, [24, 44])
    plans = [small, large, sized(INPUT, 54618), sized(deep(1), 47118), sized(INPUT | {"transform": "identity"}, 27722)]
    report = read_study(make_study(*plans))
    assert report.columns == ["placement", "transform", "backbone.width"]
    rows = {row.cell.name: row for row in report.rows}
    assert list(rows) == ["none", "none width=[24, 44]", "input affine", "input identity", "deep affine"]
    controls = {name: row.control and row.control.name for name, row in rows.items()}
    wide = "none width=[24, 44]"
    assert controls == {"none": None, wide: None, "input affine": wide, "input identity": None, "deep affine": wide}
    baselines = {name: row.baseline and row.baseline.name for name, row in rows.items()}
    assert baselines == dict.fromkeys(rows, "none") | {"none": None}
    p = [found.error.p for row in report.rows for _, found in row.comparisons]
    assert len(p) == 6
    corrected = [found.error.p_holm for row in report.rows for _, found in row.comparisons]
    assert corrected == holm(p)
    first, second = (sentence for sentence in findings(report) if sentence.startswith("`input affine`"))
    assert ("error than `none` (" in first) and ("than `none width=[24, 44]`, which is as large (" in second)
    assert [row[1] for row in comparisons(report).rows if row[0][0] == "deep affine"] == [
        ("none", ""),
        (wide, "as large"),
    ]


def test_a_control_has_its_seeds_images_and_data(make_study):
    large = sized(NONE, 55526, [24, 44])
    others = [large | {"data": "mnist_rts"}, large | {"seed": 1}, sized(NONE, 90000, [64, 64])]
    report = read_study(make_study(sized(NONE, 27722), sized(INPUT, 54618), *others))
    assert [row.control for row in report.rows] == [None] * len(report.rows)


def test_a_baseline_may_be_named_by_a_list(make_study):
    report = read_study(make_study(NONE, sized(NONE, 1, [24, 44]), INPUT), "placement=none,backbone.width=[24,44]")
    (row,) = (row for row in report.rows if row.cell.name == "input affine")
    assert row.baseline.name == "none width=[24, 44]"


def test_runs_that_a_sweep_asked_for_are_missing_and_nothing_else(make_study):
    path = make_study(NONE, INPUT, INPUT | {"transform": "rotation"}, deep(1))
    assert read_study(path).missing == [{"placement": "deep", "transform": "rotation"}]
    started = {run.name: Planned([], "") for run in path.glob("mnist*")}
    change_plan(path, started | {"mnist_rotated-cnn-deep1-affine-fast-s1-0123abcd": Planned([], "")})
    report = read_study(path)
    assert (report.missing, report.not_started) == ([], ["mnist_rotated-cnn-deep1-affine-fast-s1-0123abcd"])
    assert report.notes[0] == "1 run that a sweep asked for did not start; see below."
    assert problems(report) == [(report.not_started[0], "not started, although a sweep asked for it")]


def test_runs_not_started_of_one_name_are_told_apart_by_their_arguments(make_study):
    path = make_study(NONE)
    wide = {digest: f"backbone.channels=[{width},44]" for digest, width in (("0000000a", 24), ("0000000b", 32))}
    plan = {f"cnn-none-s0-{digest}": Planned(["placement=none", wider], "") for digest, wider in wide.items()}
    change_plan(path, plan | {"cnn-none-s0-0000000c": Planned(["placement=none"], "")})
    assert read_study(path).not_started == [
        "cnn-none-s0-0000000a backbone.channels=[24,44]",
        "cnn-none-s0-0000000b backbone.channels=[32,44]",
        "cnn-none-s0-0000000c",
    ]


def test_any_cell_can_be_the_baseline(make_study):
    path = make_study(NONE, INPUT, deep(1), deep(2))
    report = read_study(path, baseline="placement=deep,placement.depth=2")
    assert {row.baseline.name for row in report.rows if row.baseline} == {"deep depth=2 affine"}
    ambiguous = read_study(path, baseline="placement=deep")
    assert findings(ambiguous) == [
        "`none` is not compared: more than one baseline fits (deep depth=1 affine, deep depth=2 affine).",
        "`input affine` is not compared: more than one baseline fits (deep depth=1 affine, deep depth=2 affine).",
    ]


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        ("placement=inptu", "placement is deep or input or none"),
        ("placment=none", "it has no placment"),
        ("none", "must read like placement=none"),
    ],
)
def test_a_baseline_that_is_not_there_is_refused(study, baseline, says):
    with pytest.raises(StnlabError, match=says):
        read_study(study, baseline)


def test_what_cannot_be_compared_is_said(make_study):
    failed = read_study(make_study(NONE | {"end": "failed"}, INPUT))
    assert findings(failed) == ["`input affine` is not compared: its baseline none has no results."]


def test_no_shared_seed_is_said(make_study):
    report = read_study(make_study(NONE, INPUT | {"seed": 1}))
    assert findings(report) == ["`input affine` is not compared: it shares no seed with its baseline none."]


def test_without_a_baseline_cells_stand_alone(make_study):
    report = read_study(make_study(INPUT, deep(1)))
    assert not findings(report)
    assert "nothing is compared" in report.notes[0]


def test_findings_say_how_much_how_sure_and_over_what(make_study):
    row = read_study(make_study(NONE, INPUT, images=2000)).rows[1]
    found = row.comparison
    assert found.test == "exact McNemar"
    assert finding(row) == (
        f"`input affine` has {-100 * found.difference:.2f} points less error than `none` (p < 1e-10): "
        "likely better, better calibrated, over only 1 seed."
    )
    assert len(finding(row).split()) <= 25
    (line,) = comparisons(read_study(row.cell.runs[0].directory.path.parent)).rows
    shown = [
        f"{100 * value:+.2f}".replace("-", "\N{MINUS SIGN}") for value in (found.difference, found.low, found.high)
    ]
    assert line[2] == (shown[0], f"{shown[1]} to {shown[2]}")
    assert line[3][0] == f"{100 * row.found.reduction.value:.0f}%"


def test_five_seeds_are_enough_to_be_called_significant(make_study):
    row = read_study(make_study(*(kind | {"seed": seed} for kind in (NONE, INPUT) for seed in range(5)))).rows[1]
    assert "significantly better" in finding(row)
    assert "over only" not in finding(row)


def test_no_difference_is_no_finding(make_study):
    same = NONE | {"extra": {"recipe": {"lr": 0.1}}}
    path = make_study(NONE, same)
    report = read_study(path, baseline="recipe.lr=0.003")
    sentence = finding(next(row for row in report.rows if row.comparison))
    assert "the same error as" in sentence
    assert "(p = 1.00): no difference shown, over only 1 seed." in sentence


def test_results_of_other_code_are_used_and_named(make_study):
    report = read_study(make_study(NONE, INPUT | {"environment": {"version": "0.0.9", "commit": "abc"}}))
    assert len(report.rows[1].cell.finished) == 1
    assert any(
        note.startswith("The results were made by different code (stnlab 0.0.9 at abc, ") for note in report.notes
    )


def test_another_commit_alone_is_no_note(make_study):
    """Only other files that make results, or another version, may be why numbers differ."""
    old = {"environment": {"commit": "abc"}}
    assert not any("code" in note for note in read_study(make_study(NONE | old, INPUT | old)).notes)


@pytest.mark.parametrize("old", [{"commit": "abc", "source": "0123abcd"}, {"commit": "abc", "source": None}])
def test_results_of_other_code_than_todays_are_named(make_study, old):
    (note,) = (one for one in read_study(make_study(NONE | {"environment": old})).notes if "code" in one)
    assert note.startswith("The results were made by other code (stnlab 0.1.0 at abc) than today's (stnlab 0.1.0")


def test_runs_of_one_commit_with_other_changes_are_told_apart(make_study):
    dirty = [{"environment": {"commit": "abc+changes", "source": source}} for source in ("01234567", "89abcdef")]
    (note,) = (one for one in read_study(make_study(NONE | dirty[0], INPUT | dirty[1])).notes if "code" in one)
    assert "abc+changes, source 01234567, stnlab 0.1.0 at abc+changes, source 89abcdef" in note


def test_what_was_measured_again_by_other_code_is_named(make_study):
    later = {"measured_by": {"version": "0.2.0", "commit": "def", "source": "89abcdef"}}
    (note,) = (one for one in read_study(make_study(NONE, INPUT | {"environment": later})).notes if "code" in one)
    assert "measured by stnlab 0.2.0 at def" in note


def test_missing_and_broken_results_do_not_stop_a_report(make_study):
    path = make_study(NONE, INPUT | {"end": "no-results"}, deep(1), deep(2))
    (next(path.glob("*deep2*")) / "predictions.npz").write_bytes(b"half")
    (next(path.glob("*deep1*")) / "config.yaml").write_text("[")
    report = read_study(path)
    assert [len(row.cell.finished) for row in report.rows] == [1, 0, 0]
    said = [problem for _, problem in problems(report)]
    assert len(said) == 3
    assert all("predictions.npz" in one for one in said[:2])
    assert "config.yaml: cannot be read" in said[2]


def test_the_same_run_twice_is_refused(make_study):
    path = make_study(NONE)
    next(path.iterdir()).rename(path / "a")
    make_study(NONE)
    with pytest.raises(StnlabError, match="has the configuration and seed of a; remove one"):
        read_study(path)


def test_no_study_is_refused(tmp_path):
    with pytest.raises(StnlabError, match="no such study"):
        read_study(tmp_path / "nothing")

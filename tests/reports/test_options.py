"""What a report is asked on the command line."""

import re
from pathlib import Path
from typing import Any

import pytest

from stnlab import report, status
from stnlab.errors import StnlabError
from stnlab.reports import Options, write_report
from stnlab.reports.measures import check_measures
from stnlab.reports.options import parse
from stnlab.reports.study import read_study
from stnlab.runs import files


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x", "row=placement"], "row=placement: no such option; did you mean rows?"),
        (["x", "rows="], "rows=: needs a value"),
        (["x", "--all"], "--all: no such option (choices: --metrics, --pdf, --runs)"),
        (["x", "--run"], "--run: no such option; did you mean --runs?"),
        (["rows=placement"], "a path comes first"),
        (["x", "cells=all", "cells=all"], "cells= is given twice"),
    ],
)
def test_a_wrong_option_is_one_line(arguments, says):
    with pytest.raises(StnlabError, match=re.escape(says)) as caught:
        parse(arguments)
    assert "\n" not in str(caught.value)


def test_wrong_values_are_refused_before_anything_is_written(make_study, tmp_path):
    path = make_study({"placement": "none"}, {"placement": "input", "transform": "affine"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    for options, says in (
        (Options(output=tmp_path / "mine"), "is no report and not empty"),
        (Options(measures=("test/eec",)), "no run has it; did you mean test/ece?"),
        (Options(cells="placement=deep"), "placement is input or none"),
    ):
        with pytest.raises(StnlabError, match=says):
            write_report(path, options)
        assert not (path / "report" / "index.html").exists()


@pytest.mark.parametrize("command", [report.main, status.main])
def test_the_folder_of_studies_is_answered_by_their_names(command, tmp_path: Path):
    for study in ("demo", "mine", "placement", "recipe", "wide"):
        (tmp_path / "runs" / study / "a-run").mkdir(parents=True)
        (tmp_path / "runs" / study / "a-run" / "run.json").write_text("{}")
    runs = tmp_path / "runs"
    with pytest.raises(StnlabError) as caught:
        command([str(runs)])
    named = f"{runs}/demo, {runs}/mine, {runs}/placement and 2 more"
    assert str(caught.value) == f"{runs}: holds studies; give the path of one: {named}"


def test_a_study_that_one_can_only_read_is_reported_elsewhere(
    make_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, mkstemp = make_study({"placement": "none"}), files.tempfile.mkstemp

    def read_only(**where: Any) -> Any:
        if Path(where["dir"]).is_relative_to(path):
            raise OSError(30, "Read-only file system", str(where["dir"]))
        return mkstemp(**where)

    monkeypatch.setattr(files.tempfile, "mkstemp", read_only)
    with pytest.raises(StnlabError, match=r"Read-only file system\); output=<folder> writes the report elsewhere"):
        write_report(path)
    assert (write_report(path, Options(output=tmp_path / "here")).folder / "index.html").exists()


def test_metrics_are_explained_whatever_study_is_named(capsys: pytest.CaptureFixture[str]):
    assert report.main(["runs/mine", "--metrics"]) == 0
    assert "test/ece_adaptive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("test/eec", "measures=test/eec: no run has it; did you mean test/ece? (choices: test/error, test/accuracy, "),
        ("ecce", "measures=ecce: no run has it; did you mean test/ece?"),
        ("invariance/rotation/acuracy", "did you mean invariance/rotation/accuracy? (choices: invariance/rotation/"),
        ("no/such/thing", "measures=no/such/thing: no run has it (choices: test/error, test/accuracy, test/ece, "),
        ("rectification/0/scale/residual", "did you mean rectification/0/rotation/residual? (choices: rect"),
    ],
)
def test_a_measure_that_no_run_has_is_answered_by_those_one_looks_at(name: str, says: str, study: Path, tmp_path: Path):
    found = read_study(study, folder=tmp_path)
    check_measures(found, ["error", "test/ece", "invariance/rotation/accuracy"])
    with pytest.raises(StnlabError) as caught:
        check_measures(found, [name])
    assert says in str(caught.value)
    assert "by_pose" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["invariance/rotation/accuracy", "equivariance/shift/depth_1"])
def test_a_measure_that_no_images_were_moved_for_says_so(name: str, make_study, tmp_path: Path):
    found = read_study(make_study({"placement": "none", "old": True}), folder=tmp_path)
    with pytest.raises(StnlabError) as caught:
        check_measures(found, [name])
    assert str(caught.value) == (
        f"measures={name}: no run has it; evaluation.images=0 leaves out all of invariance/ and equivariance/: train "
        "with evaluation.images=2000"
    )

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stnlab import evaluate, report, train
from stnlab.errors import StnlabError
from stnlab.evaluation.catalogue import CALIBRATION, POSE, ROWS, explanations
from stnlab.runs.code_version import code_version
from stnlab.runs.directory import RunDirectory, find_runs


@pytest.fixture
def run(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    quick = [
        "recipe=smoke",
        "recipe.steps=2",
        "callbacks=quiet",
        "logger=none",
        "trainer=cpu",
        "backbone.channels=[4,4]",
    ]
    train.main([*quick, "data=mnist_rts", "study=mine", "data.test_size=300", "data.validation_size=200"])
    (found,) = find_runs(tmp_path / "runs" / "mine")
    found.update(source="of an earlier version")
    return found


def test_the_checkpoint_gives_the_recorded_metrics(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    before = (run.path / "metrics.json").read_bytes()
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 0
    assert "equal" in capsys.readouterr().out
    assert (run.path / "metrics.json").read_bytes() == before

    fewer = {name: value for name, value in json.loads(before).items() if not name.startswith("temperature/")}
    (run.path / "metrics.json").write_text(json.dumps(fewer))
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 0
    assert "34 metrics are not in metrics.json" in capsys.readouterr().out

    gone = json.loads(before) | {"by_pose/rotation/03/error_low": 0.123, "test/gone": 0.5}
    (run.path / "metrics.json").write_text(json.dumps(gone))
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 1
    table = capsys.readouterr().out
    assert "2 of" in table
    assert "by_pose/rotation/03/error_low" in table
    assert "test/ece_low" not in table

    near = json.loads(before) | {"test/nll": json.loads(before)["test/nll"] + 5e-4}
    (run.path / "metrics.json").write_text(json.dumps(near))
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 1
    run.update(device="cuda: one whose convolutions round to TF32")
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 0
    capsys.readouterr()

    wrong = json.loads(before) | {"test/error": 0.123}
    (run.path / "metrics.json").write_text(json.dumps(wrong))
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 1
    assert "not equal" in capsys.readouterr().out


def test_update_writes_what_an_earlier_version_did_not_measure(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    whole, frames = run.metrics, run.evaluation().frames
    run.write_metrics({name: value for name, value in whole.items() if name.startswith("test/")})
    run.write_predictions({"test": run.predictions("test")})
    assert evaluate.main([str(run.path.parent), "--update", "trainer=cpu"]) == 0
    assert f"{len(whole)} metrics written" in capsys.readouterr().out
    assert run.metrics == whole
    assert run.predictions("val") is not None
    assert run.info["measured_by"] == code_version()
    assert np.array_equal(run.evaluation().frames.corners, frames.corners)

    run.write_metrics(whole | {"test/nll": 0.5})
    with pytest.raises(StnlabError, match=r"test/nll differ from metrics.json; nothing is written"):
        evaluate.main([str(run.path), "--update", "trainer=cpu"])
    assert run.metrics["test/nll"] == 0.5


def test_a_study_is_updated_run_by_run_whatever_befalls_one(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    broken, other = (RunDirectory(run.path.with_name(name)) for name in ("a-broken", "z-other"))
    for copy in (broken, other):
        shutil.copytree(run.path, copy.path)
    config = (broken.path / "config.yaml").read_text()
    (broken.path / "config.yaml").write_text(re.sub(r"- 4(\s+)- 4", r"- 5\1- 4", config))
    assert evaluate.main([str(run.path.parent), "--update", "trainer=cpu"]) == 1
    told = capsys.readouterr()
    assert "fit no network that today's code makes of config.yaml" in told.err
    assert told.err.endswith("could not be evaluated: a-broken\n")
    assert "3 of 3 runs evaluated" in told.out
    assert [("measured_by" in one.info) for one in (broken, run, other)] == [False, True, True]
    assert run.metrics == other.metrics

    written = (run.path / "metrics.json").stat().st_mtime_ns
    shutil.rmtree(broken.path)
    assert evaluate.main([str(run.path.parent), "--update", "trainer=cpu"]) == 0
    assert "2 of 2 runs were measured by today's code already" in capsys.readouterr().out
    assert (run.path / "metrics.json").stat().st_mtime_ns == written


def test_the_images_are_those_of_the_run_or_none(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STNLAB_DATA")
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 0
    tested = run.predictions("test")
    run.write_predictions({"test": replace(tested, labels=tested.labels[::-1])})
    with pytest.raises(StnlabError, match=r"was not tested on the images in .*; name their folder with root="):
        evaluate.main([str(run.path), "--update", "trainer=cpu"])
    assert "measured_by" not in run.info


def test_a_file_that_is_missing_stops_no_other_run(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(run.path, run.path.with_name("a-copy"))

    def missing(given: RunDirectory, *_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", f"train.npz of {given.name}")

    monkeypatch.setattr("stnlab.training.evaluation.evaluate_run", missing)
    assert evaluate.main([str(run.path.parent)]) == 1
    assert capsys.readouterr().err.count("No such file or directory") == 2


def test_a_run_from_before_there_were_orbits(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    text = (run.path / "config.yaml").read_text()
    assert "evaluation:" in text
    kept = [line for line in text.splitlines() if not line.startswith(("evaluation", "  images:", "  rotations:"))]
    (run.path / "config.yaml").write_text("\n".join(line for line in kept if not line.startswith("  scales:")))
    run.write_metrics({name: value for name, value in run.metrics.items() if not name.startswith("invariance/")})
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 0
    assert "invariance" not in capsys.readouterr().out


def test_report_needs_nothing_but_the_files(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    assert report.main([str(run.path.parent)]) == 0
    written = {path.name for path in (run.path.parent / "report").iterdir()}
    assert {"index.html", "results.csv", "results.md", "results.tex"} <= written
    assert "input" in capsys.readouterr().out
    assert report.main([str(run.path.parent), "baseline=placement=input"]) == 0
    with pytest.raises(StnlabError, match="basline=x: no such option"):
        report.main([str(run.path.parent), "basline=x"])


def test_every_metric_of_a_run_is_explained_by_one_row(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    rows = [explanations(name) for name in run.metrics]
    assert [name for name, found in zip(run.metrics, rows, strict=True) if len(found) != 1] == []
    found = {row.pattern for (row,) in rows}
    assert {row.pattern for row in (*CALIBRATION, *POSE)} <= found
    assert {name.split("/")[1] for name in run.metrics if name.startswith("by_pose/")} == {"rotation", "scale", "shift"}
    assert report.main(["--metrics"]) == 0
    printed = capsys.readouterr().out
    assert [row.pattern for row in ROWS if row.pattern not in printed] == []


def test_what_is_no_finished_run_is_refused(run: RunDirectory):
    with pytest.raises(StnlabError, match="not a run"):
        evaluate.main([str(run.path.parent / "nothing")])
    with pytest.raises(StnlabError, match=f"holds studies; give the path of one: {run.path.parent}"):
        evaluate.main([str(run.path.parent.parent)])
    run.update(state="running")
    with pytest.raises(StnlabError, match="no run of this study has results yet"):
        evaluate.main([str(run.path.parent)])
    with pytest.raises(StnlabError, match="this run is running, not done"):
        evaluate.main([str(run.path)])
    with pytest.raises(StnlabError, match="a path comes first"):
        evaluate.main(["trainer=cpu"])

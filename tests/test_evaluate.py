import json
from pathlib import Path

import pytest

from stnlab import evaluate, report, train
from stnlab.errors import StnlabError
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
    return find_runs(tmp_path / "runs" / "mine")[0]


def test_the_checkpoint_gives_the_recorded_metrics(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    before = (run.path / "metrics.json").read_bytes()
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 0
    assert "equal" in capsys.readouterr().out
    assert (run.path / "metrics.json").read_bytes() == before

    wrong = json.loads(before) | {"test/error": 0.123}
    (run.path / "metrics.json").write_text(json.dumps(wrong))
    assert evaluate.main([str(run.path), "trainer=cpu"]) == 1
    assert "not equal" in capsys.readouterr().out


def test_report_needs_nothing_but_the_files(run: RunDirectory, capsys: pytest.CaptureFixture[str]):
    assert report.main([str(run.path.parent)]) == 0
    written = {path.name for path in (run.path.parent / "report").iterdir()}
    assert {"index.html", "results.csv", "results.md", "results.tex"} <= written
    assert "input" in capsys.readouterr().out
    assert report.main([str(run.path.parent), "baseline=placement=input"]) == 0
    with pytest.raises(StnlabError, match="basline=x: no such option"):
        report.main([str(run.path.parent), "basline=x"])


def test_what_is_no_finished_run_is_refused(run: RunDirectory):
    with pytest.raises(StnlabError, match="not a run"):
        evaluate.main([str(run.path.parent)])
    run.update(state="running")
    with pytest.raises(StnlabError, match="this run is running, not done"):
        evaluate.main([str(run.path)])
    with pytest.raises(StnlabError, match="a path comes first"):
        evaluate.main(["trainer=cpu"])

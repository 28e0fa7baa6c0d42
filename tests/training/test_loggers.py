import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.evaluation.calibration import confidences
from stnlab.runs.directory import RunDirectory
from stnlab.runs.files import read_rows
from stnlab.runs.identity import digest
from stnlab.training.figures import run_figures
from stnlab.training.recorder import Recorder
from stnlab.training.run import train_run
from stnlab.training.tracking import best

TINY = ["recipe=smoke", "recipe.steps=null", "recipe.epochs=2", "callbacks=quiet", "trainer=cpu", "study=s"]
TINY += ["data.train_size=600", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]
TINY += ["trainer.log_every_n_steps=2"]
SCRIPT = Path(__file__).parents[2] / "scripts" / "wandb_dashboard.py"
PICTURES = ["by_pose_rotation", "class_means_0", "orbit_rotation", "orbit_scale", "rectification_0", "reliability"]
PICTURES += ["reliability_scaled", "views"]


def train(tmp_path: Path, mnist_root: Path, *overrides: str) -> RunDirectory:
    return train_run(compose("train", [*TINY, f"runs_dir={tmp_path}", f"data.root={mnist_root}", *overrides]))


@pytest.fixture(autouse=True, scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("staging")))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> RunDirectory:
    loggers = "logger=[wandb,csv,tensorboard,mlflow]"
    return train(tmp_path_factory.mktemp("runs"), mnist_root, loggers, "placement=deep", "placement.depth=1")


def offline_runs(study: Path) -> list[dict[str, list[dict[str, Any]]]]:
    """The records of each offline run, oldest first, by type, as wandb's own reader gives them."""
    found = []
    for log in sorted(study.glob("wandb/offline-run-*/*.wandb"), key=lambda log: log.stat().st_mtime):
        reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
        lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
        records: dict[str, list[dict[str, Any]]] = {}
        for line in map(json.loads, lines):
            records.setdefault(line["type"], []).append(line.get(line["type"], {}))
        found.append(records)
    return found


@pytest.fixture(scope="module")
def records(run: RunDirectory) -> dict[str, list[dict[str, Any]]]:
    (only,) = offline_runs(run.path.parent)
    return only


def summary(records: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The last value of each key; what W&B shows for a run."""
    return {key: value for record in records["summary"] for key, value in record["update"].items()}


def test_wandb_knows_which_run_it_is(run: RunDirectory, records: dict[str, list[dict[str, Any]]]):
    (described,) = records["run"]
    assert described["run_id"] == run.info["id"]
    assert described["run_id"].startswith(f"s-{digest(run.config)}-")
    assert described["display_name"] == run.name
    assert described["run_group"] == "s"
    assert described["job_type"] == "deep1-affine"
    assert set(described["tags"]) == set(map(str, run.config["choices"].values()))
    config = {key: value for record in records["config"] for key, value in record["update"].items()}
    assert config["placement"] == "deep"
    assert config["placement/depth"] == 1
    assert config["transform"] == "affine"
    assert config["data/distortion/rotation"] == [-90, 90]
    assert config["recipe/optimizer/lr"] == 0.01
    assert config["seed"] == 0
    assert config["environment/commit"] == run.info["commit"]
    assert not [value for value in config.values() if isinstance(value, dict)]
    assert [record["exit_code"] for record in records["exit"]] == [0]
    assert records["stats"][0]["item"]["proc.memory.rssMB"] > 0


def test_wandb_has_the_epochs_over_epochs_and_the_steps_over_steps(
    run: RunDirectory, records: dict[str, list[dict[str, Any]]]
):
    axes = {metric["name"]: metric.get("step_metric") for metric in records["metric"] if "name" in metric}
    columns = [name for name in run.history[0] if name.startswith(("train/", "val/"))]
    assert {name: axes[name] for name in columns} == dict.fromkeys(columns, "epoch")
    assert axes["train/loss_step"] == "trainer/global_step"
    rows = [record["item"] for record in records["history"]]
    assert [row["trainer/global_step"] for row in rows if "train/loss_step" in row] == [1, 3, 5, 7, 9]
    for name in columns:
        logged = [(row["epoch"], row["trainer/global_step"] + 1, row[name]) for row in rows if name in row]
        assert logged == [(row["epoch"], row["step"], pytest.approx(row[name])) for row in run.history], name


def test_wandb_sums_up_with_the_final_metrics_and_the_best_epoch(
    run: RunDirectory, records: dict[str, list[dict[str, Any]]]
):
    found = summary(records)
    assert {name: found.get(name) for name in run.metrics} == run.metrics
    errors = [row["val/error"] for row in run.history]
    assert found["best/val/error"] == min(errors)
    assert found["best/train/accuracy"] == max(row["train/accuracy"] for row in run.history)
    assert found["epoch"] == 2


def test_best_takes_epochs_that_have_the_metric():
    rows = [{"epoch": 1, "val/error": 0.2, "val/accuracy": 0.8, "train/lr": 1}, {"epoch": 2, "val/error": 0.3}, {}]
    assert best(rows) == {"best/val/error": 0.2, "best/val/accuracy": 0.8}
    assert best([]) == {}


def test_wandb_has_figures_and_tables(run: RunDirectory, records: dict[str, list[dict[str, Any]]]):
    test, examples = run.predictions("test"), run.evaluation().examples
    assert test is not None
    found = summary(records)
    (folder,) = run.path.parent.glob("wandb/offline-run-*")
    for name in PICTURES:
        with Image.open(folder / "files" / found[f"figures/{name}.path"]) as picture:
            assert picture.size == (found[f"figures/{name}.width"], found[f"figures/{name}.height"])

    staged = {
        content["path"]: Path(content["local_path"])
        for record in records["artifact"]
        for content in record["manifest"]["contents"]
    }
    calibration = json.loads(staged["tables/calibration.table.json"].read_text())
    bins = [dict(zip(calibration["columns"], row, strict=True)) for row in calibration["data"]]
    confidence, correct = confidences(test.logits, test.labels)
    histogram, edges = np.histogram(confidence, 15, (0, 1))
    assert [row["count"] for row in bins] == histogram.tolist()
    for row, low, high in zip(bins, edges, edges[1:], strict=False):
        inside = (confidence >= low) & (confidence < high)
        if row["count"]:
            assert row["gap"] == pytest.approx(confidence[inside].mean() - correct[inside].mean())
        else:
            assert row["gap"] is None

    table = json.loads(staged["tables/predictions.table.json"].read_text())
    assert table["columns"] == ["sample", "input", "view 1", "label", "predicted", "confidence", "correct"]
    assert len(table["data"]) == 16
    for number, (sample, image, view, label, predicted, sure, right) in enumerate(table["data"]):
        assert sample == test.indices[number]
        for picture, expected in ((image, examples.images[number, 0]), (view, examples.after[0][number])):
            with Image.open(staged[picture["path"]]) as stored:
                assert np.array_equal(np.asarray(stored.convert("L")), expected)
        assert (int(label), int(predicted)) == (test.labels[number, 0], test.logits[number, 0].argmax())
        assert sure == pytest.approx(confidence[number])
        assert right == correct[number]


def test_tensorboard_has_the_same_metrics_and_figures(run: RunDirectory):
    board = EventAccumulator(str(run.path / "tensorboard"))
    board.Reload()
    last = {name: board.Scalars(name)[-1].value for name in board.Tags()["scalars"]}
    results = run.metrics | best(run.history)
    assert {name: last.get(name) for name in results} == {name: pytest.approx(results[name]) for name in results}
    validation = [(event.step + 1, event.value) for event in board.Scalars("val/error")]
    assert validation == [(row["step"], pytest.approx(row["val/error"])) for row in run.history]
    assert sorted(board.Tags()["images"]) == [f"figures/{name}" for name in PICTURES]
    assert "hp_metric" not in last


def mlflow_runs(study: Path) -> list[Run]:
    """Newest first."""
    client = MlflowClient(f"sqlite:///{study}/mlflow.db")
    experiment = client.get_experiment_by_name(study.name)
    return list(client.search_runs([experiment.experiment_id]))


def test_mlflow_has_the_same_metrics_and_figures(run: RunDirectory):
    (found,) = mlflow_runs(run.path.parent)
    client = MlflowClient(f"sqlite:///{run.path.parent}/mlflow.db")
    assert found.info.run_name == run.name
    assert found.info.status == "FINISHED"
    assert found.data.params["placement"] == "deep"
    assert found.data.params["recipe/optimizer/lr"] == "0.01"
    assert found.data.tags["stnlab.id"] == run.info["id"]
    assert found.data.tags["environment/torch"] == run.info["torch"]
    results = {name.replace("+", ""): value for name, value in (run.metrics | best(run.history)).items()}
    assert {name: found.data.metrics.get(name) for name in results} == pytest.approx(results)
    validation = [(one.step + 1, one.value) for one in client.get_metric_history(found.info.run_id, "val/error")]
    assert validation == [(row["step"], pytest.approx(row["val/error"])) for row in run.history]
    files = [file.path for file in client.list_artifacts(found.info.run_id, "figures")]
    assert files == [f"figures/{name}.png" for name in PICTURES]
    with Image.open(client.download_artifacts(found.info.run_id, files[0])) as picture:
        assert picture.size[0] > 100


def test_csv_has_the_same_metrics(run: RunDirectory):
    (csv,) = run.path.glob("csv/version_*/metrics.csv")
    rows = read_rows(csv)
    assert [row["step"] for row in rows if "train/loss_step" in row] == [1, 3, 5, 7, 9]
    last = {name: value for row in rows for name, value in row.items()}
    results = run.metrics | best(run.history)
    assert {name: last.get(name) for name in results} == pytest.approx(results)


def test_an_interrupted_run_goes_on_as_itself_and_a_fresh_one_is_another(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    original = Recorder.on_train_epoch_end

    def interrupted(self: Recorder, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recorder, "on_train_epoch_end", interrupted)
        train(tmp_path, mnist_root, "logger=[wandb,mlflow]")
    (stopped,) = mlflow_runs(tmp_path / "s")
    assert stopped.info.status == "KILLED"
    run = train(tmp_path, mnist_root, "logger=[wandb,mlflow]")
    (resumed,) = mlflow_runs(tmp_path / "s")
    assert resumed.info.run_id == stopped.info.run_id
    assert resumed.info.status == "FINISHED"
    identity = run.info["id"]
    train(tmp_path, mnist_root, "logger=[wandb,mlflow]", "fresh=true")
    assert len(mlflow_runs(tmp_path / "s")) == 2

    first, second, fresh = offline_runs(tmp_path / "s")
    assert [one["exit"][0]["exit_code"] for one in (first, second, fresh)] == [130, 0, 0]
    assert first["run"][0]["run_id"] == second["run"][0]["run_id"] == identity
    assert fresh["run"][0]["run_id"] == run.info["id"] != identity
    assert summary(second)["best/val/error"] == min(row["val/error"] for row in run.history)


def test_a_failing_job_ends_its_own_run_with_status_1_and_the_next_has_another(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any) -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="on purpose"):
        patch.setattr("stnlab.training.classifier.Classifier.on_test_epoch_start", broken)
        train(tmp_path, mnist_root, "logger=[wandb,mlflow]")
    assert mlflow_runs(tmp_path / "s")[0].info.status == "FAILED"
    other = train(tmp_path, mnist_root, "logger=wandb", "seed=1")
    failed, done = offline_runs(tmp_path / "s")
    assert [one["exit"][0]["exit_code"] for one in (failed, done)] == [1, 0]
    assert failed["run"][0]["display_name"] != done["run"][0]["display_name"] == other.name


def test_figures_are_drawn_for_loggers_that_show_them(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    def never(_: RunDirectory) -> dict[str, Any]:
        raise AssertionError("a figure was drawn")

    monkeypatch.setattr("stnlab.training.tracking.run_figures", never)
    assert train(tmp_path, mnist_root, "logger=csv").state == "done"


def test_a_run_without_a_transformer_has_no_views(tmp_path: Path, mnist_root: Path):
    run = train(tmp_path, mnist_root, "logger=none", "placement=none")
    assert sorted(run_figures(run)) == [
        name for name in PICTURES if name not in ("class_means_0", "rectification_0", "views")
    ]
    assert {path.name for path in (tmp_path / "s").iterdir()} == {run.name}


def test_without_mlflow_one_line_says_what_to_install(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stnlab.training.loggers.RequirementCache", lambda module: module != "alembic")
    said = r"^logger=mlflow: alembic not installed; pip install '<path to the clone>\[mlflow\]'$"
    with pytest.raises(StnlabError, match=said):
        train(tmp_path, mnist_root, "logger=mlflow")
    assert not list(tmp_path.iterdir())


def test_dashboards_show_what_a_run_logs(
    run: RunDirectory, records: dict[str, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "spec.json"
    main = runpy.run_path(str(SCRIPT))["main"]
    main(["me/stnlab", "--study", "s", "--dry-run", str(file)])
    assert capsys.readouterr().out == f"{file}: written\n"
    spec = json.loads(file.read_text())
    assert spec["workspace"]["spec"]["section"]["runSets"][0]["filters"]["filters"][0]["value"] == "s"

    config = {key for record in records["config"] for key in record["update"]}
    history = {key for record in records["history"] for key in record["item"]}
    logged = set(summary(records)) | history
    logged |= {name.removesuffix("._type") for name in logged if name.endswith("._type")}
    for part in ("workspace", "report"):
        metrics, options = named(spec[part])
        assert len(metrics) > 20
        assert metrics <= logged
        assert options == {"data", "placement", "transform", "seed"} & config
    grids = [block for block in spec["report"]["spec"]["blocks"] if "metadata" in block]
    run_sets = [one for block in grids for one in block["metadata"]["runSets"]]
    assert len(run_sets) == 6
    for one in (*run_sets, spec["workspace"]["spec"]["section"]["runSets"][0]):
        assert [(key["section"], key["name"]) for key in one["grouping"]] == [
            ("config", "data.value"),
            ("run", "jobType"),
        ]
    assert "groupBy" not in set(keys(spec))  # a panel's own grouping would mix data sets


def named(spec: Any) -> tuple[set[str], set[str]]:
    """Metrics, and options of the configuration, that the panels and columns of a spec refer to."""
    text = json.dumps(spec)
    metrics = set(texts(spec, "metrics", "mediaKeys", "xAxis", "yAxis", "accessor", "columnOrder"))
    metrics |= {name for name in ("tables/calibration", "tables/predictions") if f'"{name}"' in text}
    grouped = {name for key in texts(spec, "name") if (name := key.removesuffix(".value")) != key}
    options = {name for name in metrics if name.startswith("config:")}
    metrics = {name.removeprefix("summary:") for name in metrics - options if not name.startswith("run:")}
    return metrics, grouped | {name.removeprefix("config:").removesuffix(".value") for name in options}


def keys(node: Any) -> Iterator[str]:
    """Of all dictionaries, however deep."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(key, str):
            yield key
        yield from keys(value)


def texts(node: Any, *keys: str) -> Iterator[str]:
    """All texts under these keys, however deep."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield from [value] if isinstance(value, str) else (one for one in value if isinstance(one, str))
            yield from texts(value, *keys)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, *keys)


def test_a_dashboard_needs_an_entity_and_a_project(tmp_path: Path):
    main = runpy.run_path(str(SCRIPT))["main"]
    with pytest.raises(StnlabError, match=r"stnlab: give <entity>/<project>"):
        main(["stnlab", "--study", "s", "--dry-run", str(tmp_path / "spec.json")])

"""Files that are damaged, disks that are full or read-only, jobs that fail: told in one line, and nothing is lost."""

import io
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import stnlab
from stnlab import resume, status, sweeps
from stnlab.errors import StnlabError
from stnlab.runs import files
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.train import main, train
from stnlab.training import run as training

QUICK = ["recipe=smoke", "recipe.steps=null", "recipe.epochs=2", "callbacks=quiet", "logger=none", "trainer=cpu"]
QUICK += ["data.train_size=300", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]
QUICK += ["evaluation.images=20", "evaluation.rotations=3", "evaluation.scales=3", "study=mine", "placement=none"]
RESULTS = ("metrics.json", "metrics.csv", "config.yaml", "predictions.npz", "evaluation.npz")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> Path:
    """A finished run, trained once, whose best checkpoint is not its last."""
    place = tmp_path_factory.mktemp("trained")
    main([*QUICK, f"runs_dir={place}", f"data.root={mnist_root}"])
    (run,) = find_runs(place / "mine")
    last, best = run.last_checkpoint.read_bytes(), run.best_checkpoint
    best.unlink()
    best.write_bytes(last)  # a copy: what damages the one leaves the other be
    return place / "mine"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDirectory:
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    return find_runs(tmp_path / "runs" / "mine")[0]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) * 2 // 3]
    elif how == "garbage":
        content = bytearray(random.Random(0).randbytes(len(content)))
    else:  # a disk that lies, not where the archive is padded
        with zipfile.ZipFile(path) as archive:
            largest = archive.read(max(archive.infolist(), key=lambda one: one.file_size))
        content[bytes(content).index(largest) + len(largest) // 2] ^= 255
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "garbage"])
def test_damaged_results_are_told_and_made_again_from_the_checkpoint(
    run: RunDirectory, how: str, capsys: pytest.CaptureFixture[str]
):
    before = {name: (run.path / name).read_bytes() for name in RESULTS}
    for name in RESULTS:
        damage(run.path / name, how)
        assert run.damaged is not None, name
        assert str(run.path / name) in run.damaged
        assert "\n" not in run.damaged
        if (name, how) != ("config.yaml", "truncated"):  # which may be read as something else
            with pytest.raises(StnlabError, match=name.replace(".", r"\.")):
                _ = run.config, run.history, run.metrics, run.predictions("test"), run.evaluation()
        (run.path / name).write_bytes(before[name])
    for name in RESULTS:
        damage(run.path / name, how)
    main(["-m", *QUICK])
    assert "1 jobs: 1 done, 0 skipped, 0 failed" in capsys.readouterr().out
    assert run.info["images_seen"] == 600
    assert {name: (run.path / name).read_bytes() for name in RESULTS[:3]} == {
        name: before[name] for name in RESULTS[:3]
    }
    stnlab.load_run(run.path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"state": "doing"}', b"[" * 100_000])
def test_a_damaged_state_is_told_and_can_be_removed(run: RunDirectory, content: bytes):
    before = run.metrics
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(StnlabError, match=r"run.json: .*remove it, and the run goes on from its last") as caught:
        main(QUICK)
    assert "\n" not in str(caught.value)
    assert status.activity(run) == "damaged"
    (run.path / "run.json").unlink()
    if content == b"{":
        main(QUICK)
        assert run.info["images_seen"] == 600
        assert run.metrics == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.yaml", None), ("config.yaml", b""), ("config.yaml", b"{a: 1}\n"), ("metrics.csv", b"half")],
)
def test_one_damaged_run_hides_no_other_in_the_table(run: RunDirectory, name: str, content: bytes | None):
    whole = run.path.with_name("whole")
    shutil.copytree(run.path, whole)
    run.update(state="failed", error="the power went")
    (run.path / name).unlink()
    if content is not None:
        (run.path / name).write_bytes(content)
    shown = io.StringIO()
    Console(file=shown, width=400).print(status.table(run.path.parent, status.look(run.path.parent)))
    assert "1 done, 1 damaged" in shown.getvalue()
    assert "test error" in shown.getvalue()


def test_a_run_of_which_nothing_says_what_trains_it_is_told(run: RunDirectory):
    run.update(state="failed", overrides=None)
    (run.path.parent / "plan.json").unlink(missing_ok=True)
    left, lost = resume.unfinished(run.path.parent)
    assert (left, len(lost)) == ({}, 1)
    assert f"{run.path}: its run.json says nothing of what trains it" in lost[0]


@pytest.mark.parametrize("how", ["truncated", "garbage", "one bit", "other weights", "no checkpoint"])
def test_a_damaged_checkpoint_is_told_and_the_best_one_is_gone_on_from(
    run: RunDirectory, how: str, capsys: pytest.CaptureFixture[str]
):
    before = run.metrics
    if how == "other weights":
        checkpoint = torch.load(run.last_checkpoint, weights_only=True)
        checkpoint["state_dict"] = {name: values[:1] for name, values in checkpoint["state_dict"].items()}
        torch.save(checkpoint, run.last_checkpoint)
    elif how == "no checkpoint":
        torch.save({"state_dict": {}}, run.last_checkpoint)
    else:
        damage(run.last_checkpoint, how)
    with pytest.raises(StnlabError, match=r"last.ckpt: cannot be loaded \(.*\); train this run again with fresh=true"):
        stnlab.load_run(run.path)
    if how != "one bit":
        return
    run.update(state="running")
    main(QUICK)
    assert "last.ckpt: cannot be loaded" in capsys.readouterr().err
    assert run.metrics == before
    stnlab.load_run(run.path)
    damage(run.last_checkpoint, "truncated")
    damage(run.best_checkpoint, "truncated")
    run.update(state="running")
    with pytest.raises(StnlabError, match=r"last\.ckpt: cannot be loaded"):
        main(QUICK)


def test_arrays_and_tables_are_read_whole_or_not_at_all(run: RunDirectory):
    """Of any damage either the same numbers come back or one line; never other numbers, never a traceback."""
    draw, told = random.Random(0), 0
    for name, read in (("predictions.npz", files.read_arrays), ("metrics.csv", files.read_rows)):
        path = run.path / name
        content = path.read_bytes()
        expected = repr(read(path))
        for _ in range(200):
            cut = content[: draw.randrange(len(content))]
            changed = bytearray(content)
            changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            for damaged in (cut, bytes(changed)) if name.endswith("npz") else (cut.rstrip(b"\n"),):
                path.write_bytes(damaged)
                try:
                    assert repr(read(path)) == expected
                except StnlabError as error:
                    assert "\n" not in str(error)
                    told += 1
    assert told > 400
    (run.path / "metrics.csv").write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    assert "metrics.csv: lacks epochs" in (run.damaged or "")


def test_a_damaged_plan_is_told(run: RunDirectory):
    plan = run.path.parent / "plan.json"
    for content in (
        "{",
        "[]",
        '{"a": 1}',
        '{"a": {"arguments": "x", "folder": ""}}',
        '{"../a": {"arguments": [], "folder": ""}}',
    ):
        plan.write_text(content)
        with pytest.raises(
            StnlabError, match=r"plan.json: .*; remove it, and the commands of this study write it again"
        ):
            resume.main([str(run.path.parent)])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """runs/ as a file system of its own, which a call mounts anew with other options."""

    def mount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", "runs"], cwd=tmp_path, check=True)

    (tmp_path / "runs").mkdir()
    first = ["mount", "-t", "tmpfs", "-o", "size=48k", "stnlab-test", str(tmp_path / "runs")]
    if subprocess.run(first, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own needs the right to mount one")
    yield mount
    subprocess.run(["umount", str(tmp_path / "runs")], check=True)


def test_a_full_disk_and_a_read_only_one(
    disk: Callable[[str], None], trained: Path, capsys: pytest.CaptureFixture[str]
):
    sweep = ["-m", *QUICK, "seed=0,1"]
    with pytest.raises(StnlabError, match="2 jobs failed as told above"):
        main(sweep)
    said = capsys.readouterr()
    assert said.out.count("No space left on device") >= 1
    assert "Traceback" not in said.out + said.err
    disk("size=50m")
    main(sweep)
    first, second = find_runs(Path("runs/mine"))
    assert first.metrics == find_runs(trained)[0].metrics
    second.update(state="running")
    disk("ro")
    capsys.readouterr()
    main(QUICK)
    assert "done already" in capsys.readouterr().out
    assert status.main(["runs/mine"]) == 0
    with pytest.raises(OSError, match="Read-only file system"):  # told in one line by `run_command`
        main([*QUICK, "fresh=true"])


def test_a_missing_permission_is_one_line_and_loses_nothing(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    before, mkstemp = run.metrics, files.tempfile.mkstemp

    def refused(**where: Any) -> Any:
        if ".last.ckpt" in where["prefix"]:
            raise PermissionError(13, "Permission denied", str(where["dir"]))
        return mkstemp(**where)

    run.update(state="running")
    (run.path / "checkpoints" / "last.ckpt").unlink()
    with monkeypatch.context() as patch:  # root, as whom tests often run, is refused nothing
        patch.setattr(files.tempfile, "mkstemp", refused)
        with pytest.raises(StnlabError, match=r"last.ckpt.part: cannot be written \(Permission denied\)"):
            main(QUICK)
    assert run.info["error"].endswith("cannot be written (Permission denied)")
    main(QUICK)
    assert run.metrics == before


def test_jobs_fail_alone_whatever_they_raise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    raised = {
        1: MemoryError(),
        2: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
        3: ZeroDivisionError("the user's own\nsecond line"),
    }
    original = training._fit_and_test

    def fit(run: RunDirectory, *rest: Any) -> None:
        if run.config["seed"] in raised:
            raise raised[run.config["seed"]]
        original(run, *rest)

    monkeypatch.setattr(training, "_fit_and_test", fit)
    with pytest.raises(StnlabError, match="3 jobs failed as told above"):
        main(["-m", *QUICK, "seed=0,1,2,3"])
    said = capsys.readouterr()
    summary = said.out.rpartition("4 jobs: ")[2]
    assert summary.startswith("1 done, 0 skipped, 3 failed\n")
    for run in find_runs(Path("runs/mine"))[1:]:
        error = raised[run.config["seed"]]
        line = f"{type(error).__name__}: {error}".partition("\n")[0]
        assert run.info["error"] == line.removesuffix(": ")
        assert f"failed: seed={run.config['seed']}: {line.strip()}" in summary
        assert f"(log: {run.error_log})" in summary
        assert "Traceback" in run.error_log.read_text()
        assert f"failed: {' '.join(run.info['overrides'])}" in said.err


def test_an_interrupted_fresh_sweep_trains_anew_what_it_had_not_come_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sweep = ["-m", *QUICK, "recipe.epochs=1", "seed=0,1,2"]
    main(sweep)
    runs = find_runs(Path("runs/mine"))
    first = [run.info["id"] for run in runs]

    def interrupted(config: dict[str, Any]) -> None:
        if config["seed"] == 1:
            raise KeyboardInterrupt
        train(config)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("stnlab.train.train", interrupted)
        main([*sweep, "fresh=true"])
    assert "3 jobs: 1 done, 0 skipped, 0 failed, 2 left" in capsys.readouterr().out
    second = [run.info["id"] for run in runs]
    assert [new == old for new, old in zip(second, first, strict=True)] == [False, True, True]
    assert [status.activity(run) for run in runs] == ["done", "waiting", "waiting"]
    main([*sweep, "seed=0,1"])  # the same command without fresh=true knows it, too
    resume.main(["runs/mine"])
    third = [run.info["id"] for run in runs]
    assert [new == old for new, old in zip(third, second, strict=True)] == [True, False, False]
    assert {run.finished for run in runs} == {True}


def test_a_clock_that_goes_back_is_no_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(sweeps.time, "time", lambda: next(clock))
    monkeypatch.setattr("stnlab.train.train", lambda config: None)
    main(["-m", *QUICK, "seed=0,1"])
    assert "job 2 of 2\n" in capsys.readouterr().out

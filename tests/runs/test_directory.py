import multiprocessing
import re
from pathlib import Path

import numpy as np
import pytest

from stnlab.errors import StnlabError
from stnlab.runs import files
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.evaluation import Evaluation, Examples, Frames, Orbit
from stnlab.runs.identity import digest
from stnlab.runs.predictions import Predictions

CONFIG = {
    "choices": {"data": "d", "backbone": "b", "placement": "none", "recipe": "r"},
    "seed": 0,
    "backbone": {},
    "placement": {},
}


def test_states(tmp_path: Path):
    run = RunDirectory.of(tmp_path, CONFIG)
    assert run.state == "absent"
    run.start(CONFIG, {"threads": 2})
    assert run.state == "running"
    assert run.config == CONFIG
    run.update(state="done")
    assert run.state == "done"
    assert run.info["threads"] == 2
    assert [found.path for found in find_runs(tmp_path)] == [run.path]


def test_a_run_is_found_by_its_digest_when_its_readable_name_changed(tmp_path: Path):
    run = RunDirectory.of(tmp_path, CONFIG)
    run.start(CONFIG, {})
    renamed = {**CONFIG, "choices": {**CONFIG["choices"], "data": "renamed"}}
    assert RunDirectory.of(tmp_path, renamed).path == run.path


def test_a_run_keeps_its_id_until_it_starts_fresh(tmp_path: Path):
    run = RunDirectory.of(tmp_path / ("a-long.study_" * 10), CONFIG)
    first, other = run.start_id(CONFIG, fresh=False), run.start_id(CONFIG, fresh=False)
    assert first != other
    assert re.fullmatch(rf"[\w.-]{{40}}-{digest(CONFIG)}-[0-9a-f]{{8}}", first)
    run.start(CONFIG, {"id": first})
    assert run.start_id(CONFIG, fresh=False) == first
    assert run.start_id(CONFIG, fresh=True) != first


@pytest.mark.parametrize("poses", [None, np.zeros((4, 1, 9, 2), np.float32)])
def test_arrays_come_back_and_unknown_stays_unknown(tmp_path: Path, poses: np.ndarray | None):
    logits, labels = np.random.default_rng(0).normal(size=(4, 1, 3)).astype(np.float32), np.zeros((4, 1), np.int64)
    parameters = {} if poses is None else {"rotation": np.ones((4, 1), np.float32)}
    written = Predictions(logits, labels, np.arange(4), poses, pose_parameters=parameters)
    run = RunDirectory(tmp_path)
    run.write_predictions({"test": written})
    read = run.predictions("test")
    assert read is not None
    assert np.array_equal(read.logits, logits)
    assert (read.poses is None) == (poses is None)
    assert read.warps is None
    assert read.pose_parameters.keys() == parameters.keys()
    assert run.predictions("val") is None


def test_what_needed_the_model_comes_back(tmp_path: Path):
    pictures = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    examples = Examples(np.arange(2), pictures[:, None], [pictures, pictures + 1], [pictures + 2, pictures])
    said = np.zeros((3, 2, 1), np.int16), np.ones((3, 2)), np.zeros((3, 2))
    orbit = Orbit(np.array([-90.0, 0, 90]), 1, (-45.0, 45.0), np.arange(2), np.zeros((2, 1)), *said)
    frames = Frames(np.array([1, 2]), [np.stack([pictures, pictures])], np.zeros((2, 2, 1, 4, 2)))
    gaps, means = {"rotation": np.ones((2, 5))}, [(pictures / 2, pictures / 3)]
    written = Evaluation(examples, {"rotation": orbit}, np.array([1, 2]), gaps, means, frames)
    run = RunDirectory(tmp_path)
    run.write_evaluation(written)
    read = run.evaluation()
    assert read.orbits["rotation"].training == (-45.0, 45.0)
    for name, values in written.to_arrays().items():
        assert np.array_equal(read.to_arrays()[name], values), name
    run.write_evaluation(Evaluation(Examples(np.arange(2), pictures[:, None])))
    assert run.evaluation().frames is None
    assert not run.evaluation().orbits


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path):
    files.write_json(tmp_path / "a.json", {"value": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"value": float("nan")})
    with pytest.raises(TypeError):
        files.write_bytes(tmp_path / "a.json", "text")
    assert files.read_json(tmp_path / "a.json") == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_writer_left_is_gone_when_its_run_goes_on(tmp_path: Path):
    """Found by a sweep that was killed while it wrote a checkpoint."""
    run = RunDirectory(tmp_path)
    run.last_checkpoint.parent.mkdir()
    rests = [tmp_path / ".run.json.a.unfinished", run.last_checkpoint.parent / ".last.ckpt.part.b.unfinished"]
    for rest in rests:
        rest.touch()
    files.remove_unfinished(tmp_path, run.last_checkpoint.parent, seconds=60)
    assert all(rest.exists() for rest in rests)
    run.start(CONFIG, {})
    assert not any(rest.exists() for rest in rests)


def test_broken_files_are_one_line_with_the_path(tmp_path: Path):
    for name, read in (("a.json", files.read_json), ("a.yaml", files.read_yaml), ("a.npz", files.read_arrays)):
        (tmp_path / name).write_bytes(b"{ truncated: [")
        with pytest.raises(StnlabError, match=name) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_clear_keeps_only_the_lock(tmp_path: Path):
    run = RunDirectory(tmp_path / "run")
    with run.lock():
        run.start(CONFIG, {})
        (run.path / "checkpoints").mkdir()
        run.clear()
        assert {path.name for path in run.path.iterdir()} == {".lock", ".holder"}
    assert [path.name for path in run.path.iterdir()] == [".lock"]


def _hold(path: Path, held, release) -> None:
    with RunDirectory(path).lock():
        held.set()
        release.wait(20)


def test_a_second_process_is_kept_off_and_a_dead_one_is_not(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "run", held, release))
    other.start()
    assert held.wait(20)
    with pytest.raises(StnlabError, match="another process"), RunDirectory(tmp_path / "run").lock():
        pass
    other.kill()
    other.join()
    with RunDirectory(tmp_path / "run").lock():
        pass


@pytest.mark.parametrize(("make", "message"), [(False, "no such study"), (True, "holds no run")])
def test_no_study(tmp_path: Path, make: bool, message: str):
    study = tmp_path / "study"
    if make:
        study.mkdir()
    with pytest.raises(StnlabError, match=message):
        find_runs(study)

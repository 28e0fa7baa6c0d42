"""A run's directory: the only code that knows the names of its files."""

import datetime
import os
import platform
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import filelock

from stnlab.errors import StnlabError
from stnlab.runs import files
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.identity import Config, digest, run_name
from stnlab.runs.predictions import Predictions

SCHEMA = 1
BRIEFLY = 0.2
"""Seconds to try for a lock: who asks whether a run is busy holds it for a moment."""
State = Literal["absent", "running", "done", "failed"]


class RunBusyError(StnlabError):
    """Another process is at work on a run."""


class RunDirectory:
    """`runs/<study>/<readable>-<digest8>/`: configuration, state, history, results and checkpoints of one training.

    `state` is what `run.json` says: `absent` before the first start, then `running`, `done` or `failed`. A run that
    died says `running` and its lock is free.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @classmethod
    def of(cls, study: Path, normalised: Config) -> "RunDirectory":
        """The directory of a configuration in a study; found by its digest if its readable part has changed."""
        path = study / run_name(normalised)
        if not path.exists():
            path = next(iter(sorted(study.glob(f"*-{digest(normalised)}"))), path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """An existing run. Raises StnlabError if `path` holds none."""
        if not (path / "run.json").is_file():
            raise StnlabError(f"{path}: not a run (it has no run.json); give the path of one, runs/<study>/<run>")
        return cls(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Config:
        return files.read_yaml(self.path / "config.yaml")

    @property
    def info(self) -> dict[str, Any]:
        return files.read_json(self.path / "run.json")

    @property
    def state(self) -> State:
        if not (self.path / "run.json").exists():
            return "absent"
        state: State = self.info["state"]
        return state

    @property
    def metrics(self) -> dict[str, float]:
        """Final results: fractions, no percent."""
        return files.read_json(self.path / "metrics.json")

    @property
    def history(self) -> list[files.Row]:
        """One row an epoch; empty before the first one ended."""
        path = self.path / "metrics.csv"
        return files.read_rows(path) if path.exists() else []

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def error_log(self) -> Path:
        """The traceback of a failed run."""
        return self.path / "error.log"

    @property
    def summary(self) -> str:
        """The results that one looks at first, and whether they are those of a collapsed transformer."""
        metrics = self.metrics
        collapsed = ", a transformer collapsed" if metrics.get("health/collapsed") else ""
        return f"test error {metrics['test/error']:.2%}, ECE {metrics['test/ece']:.2%}{collapsed}"

    @property
    def busy(self) -> bool:
        """Whether a process of this machine is at work on it. A lock does not outlive its process."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with filelock.FileLock(self.path / ".lock", timeout=BRIEFLY):
                return False
        except filelock.Timeout:
            return True
        except PermissionError:  # somebody else's study, read only: nothing of ours is at work on it
            return False

    @property
    def damaged(self) -> str | None:
        """In one line, why its `run.json` or, once it is done, its results cannot be read; None if they can."""
        try:
            if self.state == "done":
                _ = self.summary
        except (StnlabError, KeyError) as error:
            return f"{self.path}: {error!r} is missing" if isinstance(error, KeyError) else str(error)
        return None

    def predictions(self, split: Literal["val", "test"], fields: Collection[str] | None = None) -> Predictions | None:
        """The arrays of a split, None if the run has no such split. fields: those to read, if not all are needed."""
        names = None if fields is None else {f"{split}/{field}" for field in fields}
        return Predictions.from_arrays(files.read_arrays(self.path / "predictions.npz", names), split)

    def evaluation(self) -> Evaluation:
        return Evaluation.from_arrays(files.read_arrays(self.path / "evaluation.npz"))

    def start_id(self, normalised: Config, fresh: bool) -> str:
        """`<study>-<digest>-<8 random digits>`: a new one for a run that starts, its own for one that goes on.

        Loggers know a run by it. The random part keeps apart what is not one training: a fresh start, the same choices
        of somebody else in a shared project. At most 58 characters.
        """
        known = None if fresh or self.state == "absent" else self.info.get("id")
        return known or f"{self.path.parent.name[:40]}-{digest(normalised)}-{secrets.token_hex(4)}"

    def start(self, normalised: Config, environment: Mapping[str, Any]) -> None:
        """Create the directory or take up an interrupted run: from here on the state is `running`."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.error_log.unlink(missing_ok=True)
        files.write_yaml(self.path / "config.yaml", normalised)
        self.update(state="running", schema=SCHEMA, error=None, pid=os.getpid(), host=platform.node(), **environment)

    def update(self, **fields: Any) -> None:
        """Replace fields of `run.json`, keep the others."""
        path = self.path / "run.json"
        known = files.read_json(path) if path.exists() else {}
        files.write_json(path, known | fields)

    def fail(self, reason: str, traceback: str) -> None:
        """reason: one line, for tables. traceback: for whoever looks into it."""
        files.write_bytes(self.error_log, traceback.encode())
        self.update(
            state="failed", error=reason, ended=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        )

    def write_history(self, rows: Sequence[files.Row]) -> None:
        files.write_rows(self.path / "metrics.csv", rows)

    def write_metrics(self, metrics: Mapping[str, float]) -> None:
        files.write_json(self.path / "metrics.json", metrics)

    def write_predictions(self, splits: Mapping[Literal["train", "val", "test"], Predictions]) -> None:
        arrays = {name: values for split, found in splits.items() for name, values in found.to_arrays(split).items()}
        files.write_arrays(self.path / "predictions.npz", arrays)

    def write_evaluation(self, evaluation: Evaluation) -> None:
        files.write_arrays(self.path / "evaluation.npz", evaluation.to_arrays())

    def clear(self) -> None:
        """Remove everything but the lock: `fresh=true`."""
        for entry in self.path.iterdir() if self.path.exists() else ():
            if entry.name == ".lock":
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    @contextmanager
    def lock(self, wait: bool = False) -> Iterator[None]:
        """Keep other processes off this run. When one is at work on it, wait until it ends or raise RunBusyError."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=BRIEFLY)
        except filelock.Timeout as error:
            if not wait:
                raise RunBusyError(f"{self.path}: another process is training this run") from error
            print(
                f"{self.path}: another process is training this run; waiting for it (busy=skip would not)", flush=True
            )
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def find_runs(study: Path, empty: bool = False) -> list[RunDirectory]:
    """All runs of a study, by name. Raises StnlabError if `study` is no directory or, unless `empty`, holds none."""
    if not study.is_dir():
        raise StnlabError(f"{study}: no such study; give the path of one, runs/<study>")
    if (study / "run.json").exists():
        raise StnlabError(f"{study}: is a run; give the path of its study, {study.parent}")
    found = [RunDirectory(path.parent) for path in sorted(study.glob("*/run.json"))]
    if not found and not empty:
        raise StnlabError(f"{study}: holds no run; train one with study={study.name}")
    return found

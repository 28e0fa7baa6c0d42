"""A run's directory: the only code that knows the names of its files."""

import datetime
import os
import platform
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from stnlab.errors import StnlabError
from stnlab.runs import files, lock
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.identity import Config, digest, run_name
from stnlab.runs.predictions import Predictions

SCHEMA = 1
WAIT = 0.5
"""Seconds between two tries for a lock that another process holds."""
MOST_STUDIES = 3
"""Of those in a folder, how many a message names."""
ID = r"[\w.-]{1,64}"
FROM_CHECKPOINT = "the command that trained this run makes it again from the last checkpoint"
REMOVE = f"remove it, and {FROM_CHECKPOINT}"
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
        return files.read_yaml(self.path / "config.yaml", FROM_CHECKPOINT)

    @property
    def info(self) -> dict[str, Any]:
        remedy = "remove it, and the run goes on from its last checkpoint; or train it again with fresh=true"
        return files.read_json(self.path / "run.json", remedy)

    @property
    def known_id(self) -> str:
        """What `start_id` has given it; empty before it has started, and if nobody can read it."""
        return "" if self.damaged or self.state == "absent" else str(self.info.get("id"))

    @property
    def state(self) -> State:
        if not (self.path / "run.json").exists():
            return "absent"
        state = self.info.get("state")
        if state not in ("running", "done", "failed"):
            raise StnlabError(
                f"{self.path / 'run.json'}: says state={state}, which none is; remove it, and the run goes on from its "
                "last checkpoint"
            )
        known: State = state
        return known

    @property
    def metrics(self) -> dict[str, float]:
        """Final results: fractions, no percent."""
        return files.read_json(self.path / "metrics.json", FROM_CHECKPOINT)

    @property
    def history(self) -> list[files.Row]:
        """One row an epoch; empty before the first one ended."""
        path = self.path / "metrics.csv"
        return files.read_rows(path, FROM_CHECKPOINT) if path.exists() else []

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    def replace_last_checkpoint(self) -> None:
        """By the best one: two names for one file until the last one moves on."""
        files.link(self.best_checkpoint, self.last_checkpoint)

    @property
    def error_log(self) -> Path:
        """The traceback of a failed run."""
        return self.path / "error.log"

    @property
    def summary(self) -> str:
        """The results that one looks at first, and whether they are those of a collapsed transformer."""
        metrics = self.metrics
        collapsed = ", a transformer collapsed" if metrics.get("health/collapsed") else ""
        try:
            return f"test error {metrics['test/error']:.2%}, ECE {metrics['test/ece']:.2%}{collapsed}"
        except (KeyError, ValueError, TypeError) as error:
            raise StnlabError(
                f"{self.path / 'metrics.json'}: holds no results ({error!r}); {FROM_CHECKPOINT}"
            ) from error

    @property
    def busy(self) -> bool:
        """Whether a process, of this machine or another, is at work on it. A lock does not outlive its process."""
        return lock.is_held(self.path)

    @property
    def trained_by(self) -> int | None:
        """The process of this machine that is at work on it, or died of it."""
        return lock.holder_here(self.path)

    @property
    def damaged(self) -> str | None:
        """In one line, why its `run.json` or, once it is done, what it has left behind cannot be read; None if it can.

        Quick: of the arrays, whose checksums are looked at when they are read, that the file is there and whole.
        """
        try:
            if self.state == "done":
                _ = self.summary
                if len(self.history) != self.info.get("epochs", len(self.history)):
                    raise StnlabError(f"{self.path / 'metrics.csv'}: lacks epochs; {FROM_CHECKPOINT}")
                # Half a YAML file can be read, too; the names of the choices are the end of a whole one.
                if not isinstance(self.config.get("choices"), dict) or not _ends_a_line(self.path / "config.yaml"):
                    raise StnlabError(f"{self.path / 'config.yaml'}: is truncated; {FROM_CHECKPOINT}")
                for name in ("predictions.npz", "evaluation.npz"):
                    if not zipfile.is_zipfile(self.path / name):
                        raise StnlabError(f"{self.path / name}: is missing or truncated; {FROM_CHECKPOINT}")
        except StnlabError as error:
            return str(error)
        return None

    @property
    def to_renew(self) -> bool:
        """Whether `fresh=true` was asked of it, by a sweep that has not come to it yet."""
        return (self.path / ".renew").exists()

    @property
    def finished(self) -> bool:
        """Whether its results are there and nothing is left to do."""
        return self.damaged is None and self.state == "done" and not self.to_renew

    def renew(self) -> None:
        """Note that it is to be trained anew; `clear` takes the note away with all else."""
        if self.path.exists():
            (self.path / ".renew").touch()

    def keep(self) -> None:
        """Take the note of `renew` away, where it came to nothing."""
        (self.path / ".renew").unlink(missing_ok=True)

    def predictions(self, split: Literal["val", "test"], fields: Collection[str] | None = None) -> Predictions | None:
        """The arrays of a split, None if the run has no such split. fields: those to read, if not all are needed."""
        names = None if fields is None else {f"{split}/{field}" for field in fields}
        path = self.path / "predictions.npz"
        with _as_expected(path):
            return Predictions.from_arrays(files.read_arrays(path, names, REMOVE), split)

    def evaluation(self) -> Evaluation:
        path = self.path / "evaluation.npz"
        with _as_expected(path):
            return Evaluation.from_arrays(files.read_arrays(path, remedy=REMOVE))

    def start_id(self, normalised: Config, fresh: bool) -> str:
        """`<study>-<digest>-<8 random digits>`: a new one for a run that starts, its own for one that goes on.

        Loggers know a run by it. The random part keeps apart what is not one training: a fresh start, the same choices
        of somebody else in a shared project. At most 58 characters.
        """
        known = None if fresh or self.state == "absent" else self.info.get("id")
        if isinstance(known, str) and re.fullmatch(ID, known):
            return known
        return f"{self.path.parent.name[:40]}-{digest(normalised)}-{secrets.token_hex(4)}"

    def start(self, normalised: Config, environment: Mapping[str, Any]) -> None:
        """Create the directory or take up an interrupted run: from here on the state is `running`."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.remove_unfinished(self.path, self.last_checkpoint.parent)
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
            if entry.name in lock.FILES:
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    @contextmanager
    def lock(self, wait: bool = False) -> Iterator[None]:
        """Keep other processes off this run. When one is at work on it, wait until it ends or raise RunBusyError."""
        self.path.mkdir(parents=True, exist_ok=True)
        told = False
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(lock.held(self.path))
                    break
                except lock.HeldError as error:
                    where = f" on {error.host}" if error.host else ""
                    busy = f"{self.path}: another process{where} is training this run"
                    if not wait:
                        raise RunBusyError(busy) from error
                    if not told:
                        print(f"{busy}; waiting for it (busy=skip would not)", flush=True)
                    told = True
                    time.sleep(WAIT)
            yield


def _ends_a_line(path: Path) -> bool:
    return path.read_bytes().endswith(b"\n")


@contextmanager
def _as_expected(path: Path) -> Iterator[None]:
    """A file of arrays that can be read but are others than a run writes becomes one line, too."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StnlabError(f"{path}: holds other arrays than a run writes ({error!r}); {REMOVE}") from error


def find_runs(study: Path, empty: bool = False) -> list[RunDirectory]:
    """All runs of a study, by name. Raises StnlabError if `study` is no directory or, unless `empty`, holds none; of a
    folder of studies it names some.
    """
    if not study.is_dir():
        raise StnlabError(f"{study}: no such study; give the path of one, runs/<study>")
    if (study / "run.json").exists():
        raise StnlabError(f"{study}: is a run; give the path of its study, {study.parent}")
    found = [RunDirectory(path.parent) for path in sorted(study.glob("*/run.json"))]
    if not found and not empty:
        inside = sorted({path.parent.parent for path in study.glob("*/*/run.json")})
        if inside:
            more = f" and {len(inside) - MOST_STUDIES} more" if len(inside) > MOST_STUDIES else ""
            named = ", ".join(map(str, inside[:MOST_STUDIES]))
            raise StnlabError(f"{study}: holds studies; give the path of one: {named}{more}")
        raise StnlabError(f"{study}: holds no run; train one with study={study.name}")
    return found

"""`search.json` of a study: the command of the search that asks for its runs, and how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from stnlab.errors import StnlabError
from stnlab.runs import files
from stnlab.runs.directory import RunBusyError
from stnlab.runs.lock import BRIEFLY
from stnlab.runs.plan import Planned

FILE = "search.json"
REMEDY = "remove it, and the command of the search writes it again"


@dataclass(frozen=True)
class Search:
    """arguments, folder: as in the plan. trials: of the search, in all. done: those of them that have a result."""

    arguments: list[str]
    folder: str
    trials: int
    done: int

    @property
    def command(self) -> Planned:
        return Planned(self.arguments, self.folder)


def read_search(study: Path) -> Search | None:
    """None if no search asks for the runs of this study. Raises StnlabError if the file is damaged."""
    path = study / FILE
    if not path.exists():
        return None
    try:
        return Search(**files.read_json(path, REMEDY))
    except TypeError as error:
        raise StnlabError(f"{path}: is no search ({error}); {REMEDY}") from error


def write_search(study: Path, search: Search) -> None:
    files.write_json(study / FILE, asdict(search))


def storage_file(study: Path) -> Path:
    """Optuna's database."""
    return study / "optuna.db"


@contextmanager
def search_lock(study: Path, wait: bool) -> Iterator[None]:
    """Keep other processes off this search. When one is at work on it, wait until it ends or raise RunBusyError."""
    study.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(study / ".search.lock")
    try:
        lock.acquire(timeout=BRIEFLY)
    except filelock.Timeout as error:
        if not wait:
            raise RunBusyError(f"{study}: another process is at work on this search") from error
        print(f"{study}: another process is at work on this search; waiting for it (busy=skip would not)", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

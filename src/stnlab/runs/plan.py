"""`plan.json` of a study: the runs its sweeps asked for, so that it can be taken up again without their commands."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from stnlab.errors import StnlabError
from stnlab.runs import files

FILE = "plan.json"


@dataclass(frozen=True)
class Planned:
    """What trains a run: arguments of `python -m stnlab.train`, in the folder that relative paths start from."""

    arguments: list[str]
    folder: str


def read_plan(study: Path) -> dict[str, Planned]:
    """Name of the run -> what trains it, in the order asked for. Raises StnlabError if the file is damaged."""
    path = study / FILE
    if not path.exists():
        return {}
    try:
        return {name: Planned(**entry) for name, entry in files.read_json(path).items()}
    except TypeError as error:
        raise StnlabError(f"{path}: is no plan of runs ({error}); remove it") from error


def change_plan(study: Path, more: Mapping[str, Planned], fewer: Collection[str] = ()) -> None:
    """Add runs to a study's plan and take others off it. Several sweeps may do so at a time."""
    study.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(study / ".plan.lock"):
        known = read_plan(study)
        changed = {name: entry for name, entry in (known | dict(more)).items() if name not in fewer}
        if changed != known:
            files.write_json(study / FILE, {name: asdict(entry) for name, entry in changed.items()})

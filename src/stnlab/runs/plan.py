"""`plan.json` of a study: the runs its sweeps asked for, so that it can be taken up again without their commands."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock

from stnlab.errors import StnlabError
from stnlab.runs import files

FILE = "plan.json"
STALE = 60.0
"""Seconds after which nobody writes a small file any more: others than plans are not written under this lock."""
REMEDY = "remove it, and the commands of this study write it again"


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
    plan = {}
    for name, entry in files.read_json(path, REMEDY).items():
        if not is_planned(entry) or Path(name).name != name:
            raise StnlabError(f"{path}: its entry {name!r:.80} is no run with arguments and a folder; {REMEDY}")
        plan[name] = Planned(**entry)
    return plan


def is_planned(entry: Any) -> bool:
    """Whether an entry of a file, which may hold anything, is one of `Planned`."""
    return (
        isinstance(entry, dict)
        and entry.keys() == {"arguments", "folder"}
        and isinstance(entry["folder"], str)
        and isinstance(entry["arguments"], list)
        and all(isinstance(argument, str) for argument in entry["arguments"])
    )


def change_plan(study: Path, more: Mapping[str, Planned], fewer: Collection[str] = ()) -> None:
    """Add runs to a study's plan and take others off it. Several sweeps may do so at a time."""
    study.mkdir(parents=True, exist_ok=True)
    if _changed(read_plan(study), more, fewer) is None:
        return  # a finished study may be one that we can only read
    with filelock.FileLock(study / ".plan.lock"):
        files.remove_unfinished(study, seconds=STALE)
        changed = _changed(read_plan(study), more, fewer)
        if changed is not None:
            files.write_json(study / FILE, {name: asdict(entry) for name, entry in changed.items()})


def _changed(
    known: Mapping[str, Planned], more: Mapping[str, Planned], fewer: Collection[str]
) -> dict[str, Planned] | None:
    """None if the plan says so already."""
    changed = {name: entry for name, entry in {**known, **more}.items() if name not in fewer}
    return changed if changed != known else None

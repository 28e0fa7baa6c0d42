"""The sweeps that a study was made by, so that it can be taken up again without their commands at hand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from stnlab.errors import StnlabError
from stnlab.runs import files

FILE = "sweeps.json"


@dataclass(frozen=True)
class Sweep:
    """Arguments of `python -m stnlab.train`, and the folder it was called in, which relative paths start from."""

    arguments: tuple[str, ...]
    folder: Path


def remember(study: Path, arguments: Sequence[str]) -> None:
    """Add a sweep to those of a study, unless it is there. `fresh` is for once, and is left out."""
    kept = [argument for argument in arguments if argument.partition("=")[0] != "fresh"]
    study.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(study / ".sweeps.lock"):
        known = sweeps(study)
        if Sweep(tuple(kept), Path.cwd()) not in known:
            entry = {"arguments": kept, "folder": str(Path.cwd())}
            earlier = [{"arguments": list(one.arguments), "folder": str(one.folder)} for one in known]
            files.write_json(study / FILE, {"sweeps": [*earlier, entry]})


def sweeps(study: Path) -> list[Sweep]:
    """In the order in which they were first given. Raises StnlabError if the file is damaged."""
    path = study / FILE
    if not path.exists():
        return []
    try:
        return [Sweep(tuple(one["arguments"]), Path(one["folder"])) for one in files.read_json(path)["sweeps"]]
    except (KeyError, TypeError) as error:
        raise StnlabError(f"{path}: holds no sweeps ({json.dumps(str(error))}); remove it") from error

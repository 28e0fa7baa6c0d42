"""What an earlier report made and is still true: digests of what things are made of."""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import stnlab.evaluation
import stnlab.figures
from stnlab.errors import StnlabError
from stnlab.runs.files import read_json


def digest(*parts: Any) -> str:
    """Of anything that can be written as JSON, and of the code that computes, draws and writes."""
    return hashlib.sha256(json.dumps([_code(), *parts], default=repr).encode()).hexdigest()[:20]


def read_kept(path: Path | None) -> dict[str, Any]:
    """Empty where there is no file, or half of one: everything can be made again."""
    if path is None or not path.exists():
        return {}
    try:
        return read_json(path)
    except StnlabError:
        return {}


@functools.cache
def _code() -> str:
    folders: Sequence[str | None] = (__file__, stnlab.evaluation.__file__, stnlab.figures.__file__)
    files = [path for name in folders if name for path in sorted(Path(name).parent.rglob("*.*"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.suffix != ".pyc")).hexdigest()

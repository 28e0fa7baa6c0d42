"""Reading and writing small files so that a kill at any moment leaves the old or the new one, never half of one."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import yaml

from stnlab.errors import StnlabError

Row = dict[str, float]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same, ten times as fast where PyYAML was built with libyaml: a report reads hundreds of configurations."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, then rename. Raises OSError, and leaves no rest behind."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes it private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    write_bytes(path, yaml.safe_dump(dict(content), sort_keys=False).encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV whose columns are all keys that occur, in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, buffer.getvalue().encode())


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise StnlabError(f"{path}: cannot be read as JSON ({error}); train this run again with fresh=true") from error
    if not isinstance(content, dict):
        raise StnlabError(f"{path}: holds no JSON object; train this run again with fresh=true")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(), Loader=LOADER)
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise StnlabError(f"{path}: cannot be read as YAML ({reason}); train this run again with fresh=true") from error
    if not isinstance(content, dict):
        raise StnlabError(f"{path}: holds no YAML mapping; train this run again with fresh=true")
    return content


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file; of those called `names`, what it has."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if names is None or name in names}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise StnlabError(f"{path}: cannot be read ({error}); train this run again with fresh=true") from error


def read_rows(path: Path) -> list[Row]:
    try:
        with path.open(newline="") as file:
            return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    except (ValueError, OSError) as error:
        raise StnlabError(f"{path}: cannot be read as a table of numbers ({error})") from error

"""Reading and writing small files so that a kill at any moment leaves the old or the new one, never half of one."""

import csv
import io
import json
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stnlab.errors import StnlabError

Row = dict[str, float]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same, ten times as fast where PyYAML was built with libyaml: a report reads hundreds of configurations."""
AGAIN = "train this run again with fresh=true"
UNFINISHED = ".unfinished"
"""How the temporary name of a file that is being written ends."""
DAMAGES = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for an archive that is truncated or garbage. Its checksums let nothing else through."""


class UnwritableError(StnlabError):
    """A file that cannot be written: a full disk, a missing permission."""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write under a temporary name in the same folder, then rename; leaves no rest behind.

    Raises StnlabError in one line where that is not possible: a full disk, a missing permission.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes it private
        Path(temporary).replace(path)
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or that name to another file than before."""
    temporary = target.with_name(f".{target.name}{UNFINISHED}")
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    temporary.replace(target)


def remove_unfinished(*folders: Path, seconds: float = 0.0) -> None:
    """What processes that were killed while they wrote have left in these folders, not in those within them.

    seconds: what is younger stays, where somebody else may be writing now.
    """
    for path in (path for folder in folders for path in folder.glob(f".*{UNFINISHED}")):
        with suppress(FileNotFoundError):  # its writer lives, and was faster
            if time.time() - path.stat().st_mtime >= seconds:
                path.unlink()


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


def read_json(path: Path, remedy: str = AGAIN) -> dict[str, Any]:
    """remedy: the end of the message, what to do about a file that is damaged."""
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise StnlabError(f"{path}: cannot be read as JSON ({_reason(error)}); {remedy}") from error
    if not isinstance(content, dict):
        raise StnlabError(f"{path}: holds no JSON object; {remedy}")
    return content


def read_yaml(path: Path, remedy: str = AGAIN) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(), Loader=LOADER)
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise StnlabError(f"{path}: cannot be read as YAML ({_reason(error)}); {remedy}") from error
    if not isinstance(content, dict):
        raise StnlabError(f"{path}: holds no YAML mapping; {remedy}")
    return content


def read_arrays(path: Path, names: Collection[str] | None = None, remedy: str = AGAIN) -> dict[str, np.ndarray]:
    """The arrays of a file; of those called `names`, what it has."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if names is None or name in names}
    except DAMAGES as error:
        raise StnlabError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from error


def read_rows(path: Path, remedy: str = AGAIN) -> list[Row]:
    """A table as `write_rows` writes it."""
    try:
        text = path.read_text()
        rows = list(csv.reader(io.StringIO(text), strict=True))
        if not text.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("it ends in the middle")
        return [{key: float(value) for key, value in zip(rows[0], row, strict=True) if value} for row in rows[1:]]
    except (ValueError, csv.Error, OSError) as error:
        raise StnlabError(f"{path}: cannot be read as a table of numbers ({_reason(error)}); {remedy}") from error


def _reason(error: Exception) -> str:
    """As part of one line."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:150]

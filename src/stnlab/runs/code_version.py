"""Which code made a run."""

import hashlib
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MAKES_RESULTS = ("data", "evaluation", "geometry", "models", "training", "seeds.py")
"""The packages and modules of stnlab that numbers come from; the others start, keep and show them."""


@cache
def code_version() -> dict[str, str | None]:
    """`version` of the package, `commit` of the checkout it runs from (`+changes` if modified, None outside one), and
    `source`, a digest of the files that results are made by: a commit that touches none of them is no other code."""
    try:
        package = version("stnlab")
    except PackageNotFoundError:
        package = "not installed"
    here = Path(__file__).resolve().parents[3]
    commit: str | None = None
    if (here / ".git").exists() and (here / "src" / "stnlab").is_dir():
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        if commit and _git(here, "status", "--porcelain", "--untracked-files=no", "--", "src", "conf"):
            commit += "+changes"
    return {"version": package, "commit": commit, "source": _source(Path(__file__).resolve().parents[1])}


def _source(package: Path) -> str:
    """Eight hexadecimal digits of the SHA-256 of MAKES_RESULTS."""
    counted = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if name.partition("/")[0] in MAKES_RESULTS:
            counted.update(f"{name}\0".encode() + path.read_bytes())
    return counted.hexdigest()[:8]


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where git is missing or the folder has no commit: a run can do without."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None

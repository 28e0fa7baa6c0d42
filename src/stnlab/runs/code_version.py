"""Which code made a run."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> dict[str, str | None]:
    """`version` of the package and `commit` of the checkout it runs from (`+changes` if modified, None outside one)."""
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
    return {"version": package, "commit": commit}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where git is missing or the folder has no commit: a run can do without."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None

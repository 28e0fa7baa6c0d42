"""The arrows of the design: who may import whom, and which commands start without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stnlab"
BASE = {"errors", "imports", "seeds", "choices"}
ALLOWED = {
    "geometry": set(),
    "models": {"geometry"},
    "data": {"geometry"},
    "evaluation": set(),
    "figures": {"evaluation"},
    "runs": set(),
    "training": {"command", "trust", "geometry", "models", "data", "runs", "evaluation", "figures"},
    "reports": {"runs", "evaluation", "figures"},
}


def imported(file: Path) -> set[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package: str):
    files = list((SOURCE / package).rglob("*.py"))
    assert files
    for file in files:
        own = {name.split(".")[1] for name in imported(file) if name.startswith("stnlab.")}
        assert own <= ALLOWED[package] | BASE | {package}, file


@pytest.mark.parametrize("package", ["geometry", "models", "evaluation", "figures", "runs", "reports"])
def test_only_data_and_training_know_lightning(package: str):
    for file in (SOURCE / package).rglob("*.py"):
        assert not [name for name in imported(file) if "lightning" in name], file


@pytest.mark.parametrize(
    "module",
    ["train", "describe", "report", "evaluate", "reports", "reports.explanations", "runs", "compose", "manual"],
)
def test_these_start_without_torch(module: str):
    code = f"import sys, stnlab.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


IMPORTING = """
import gc
from stnlab.imports import importing

with importing():
    import torch
    assert not gc.isenabled()
assert gc.isenabled() and gc.get_freeze_count() > 100_000  # all that torch has made
try:
    with importing():
        raise ImportError("as a missing library does")
except ImportError:
    assert gc.isenabled()
gc.disable()
with importing():
    import stnlab.errors
assert not gc.isenabled()  # as it was
gc.enable()
frozen = gc.get_freeze_count()
with importing(kept=False):
    import matplotlib.pyplot
assert gc.get_freeze_count() <= frozen  # some of which was freed
"""


def test_imports_are_not_searched_for_garbage_and_all_else_is():
    done = subprocess.run([sys.executable, "-c", IMPORTING], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

from pathlib import Path

import pytest

from stnlab.runs.code_version import _source, code_version


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name in ("data/mnist.py", "reports/page.py", "seeds.py", "status.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "counts"),
    [("data/mnist.py", True), ("seeds.py", True), ("models/new.py", True), ("reports/page.py", False)],
)
def test_only_what_makes_results_is_other_code(package: Path, name: str, counts: bool):
    before = _source(package)
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("a = 2\n")
    assert (_source(package) != before) == counts


def test_the_source_of_this_package_is_known():
    assert int(code_version()["source"] or "", 16) > 0

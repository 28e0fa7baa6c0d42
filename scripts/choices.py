"""Write docs/choices.md, every group of choices with its files, from conf/: `python scripts/choices.py`.

A test holds the page to what conf/ says.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stnlab.compose import conf_directory

TARGET = Path(__file__).parents[1] / "docs" / "choices.md"
INTRODUCTION = """\
# Every choice

Made from `conf/` by `python scripts/choices.py`; do not edit it here. `group=choice` on the command line chooses a
file, `group.option=value` changes what is in it, and `--cfg job` shows what comes of it. A choice has the options of
the one it starts from, too."""


def page(conf: Path) -> str:
    """The page as Markdown. conf: the folder of choices."""
    text = (conf / "train.yaml").read_text()
    root = yaml.safe_load(text)
    defaults = [
        group.removeprefix("override ") for entry in root["defaults"] if isinstance(entry, dict) for group in entry
    ]
    lines = [INTRODUCTION]
    for group in [group for group in defaults if (conf / group).is_dir()]:
        lines += ["", f"## `{group}=`", ""]
        files = sorted((conf / group).glob("*.yaml"))
        if group == "ablation":
            lines += [line for path in files for line in _study(path)]
            continue
        lines += ["| choice | what it is | starts from | options |", "| --- | --- | --- | --- |"]
        lines += [_row(path) for path in files]
    lines += ["", "## Beside the groups", "", "| option | what it is |", "| --- | --- |", *_ungrouped(text)]
    return "\n".join(lines) + "\n"


def _ungrouped(text: str) -> Iterator[str]:
    """The options that `train.yaml` itself has, with what it says beside each."""
    parent = ""
    for indent, key, value, comment in re.findall(r"^( *)(\w+): *([^#\n]*?) *(?:# (.*))?$", text, re.MULTILINE):
        parent = parent if indent else key
        if parent not in ("defaults", "hydra"):
            name = f"{parent}.{key}" if indent else key
            yield f"| `{name}{'=' if value else ''}{value}` | {comment} |"


def _row(path: Path) -> str:
    content = yaml.safe_load(path.read_text()) or {}
    base = next((entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"), "")
    hidden = ("defaults", "hydra", "study")
    own = {key: value for key, value in content.items() if key not in hidden and not key.startswith("_")}
    options = ", ".join(f"`{key}={value}`" for key, value in _flat(own))
    cells = [f"`{path.stem}`", " ".join(_comments(path)[:1]), f"`{base}`" if base else "", options]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _study(path: Path) -> list[str]:
    """What it asks, what it says of itself, and its cells."""
    sweeper = yaml.safe_load(path.read_text())["hydra"]["sweeper"]
    said = [line if line[-1] in ".?!,:" else f"{line}." for line in _comments(path)]
    lines = [f"### `{path.stem}`", "", *said, ""]
    params = [f"`{key}={value}`" for key, value in (sweeper.get("params") or {}).items()]
    lines += [f"- each with {' '.join(params)}"] if params else []
    for name, cell in (sweeper.get("cells") or {}).items():
        lines.append(f"- `{name}`: " + (" ".join(f"`{key}={value}`" for key, value in cell.items()) or "nothing else"))
    return [*lines, ""]


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys with their values as the command line writes them; lists of mappings are shown as `[...]`."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat({k: v for k, v in value.items() if not k.startswith("_")}, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            yield f"{prefix}{key}", "[...]"
        else:
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{prefix}{key}", shown.replace(", ", ",")


def _comments(path: Path) -> list[str]:
    """The comments that a file begins with, directives for Hydra left out."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.removeprefix("#").strip())
    return lines


if __name__ == "__main__":
    TARGET.write_text(page(conf_directory()))

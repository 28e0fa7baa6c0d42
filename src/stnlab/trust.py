"""Which classes a configuration that was found in a file may name.

What a user types may name any class. What is read from a run directory may come from a stranger, and a `_target_` that
is built runs code: there, each role takes exactly the classes that the files of `conf/` name for it, torch's
optimisers, and those that files of the user's own, named on the command line, name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stnlab.compose import conf_directory
from stnlab.errors import StnlabError
from stnlab.runs.identity import Config

NAMED_BY_USERS = ("callbacks", "logger")
"""Roles whose entries bear names of their own."""
OF_A_GROUP = {"placement.localizers": "localizer"}
"""Roles whose entries are choices of a group."""
Allowed = Mapping[str, frozenset[str]]


class UntrustedError(StnlabError):
    """A file asks for what only who sits at the keyboard may ask for."""


def allowed_targets(own_folders: Sequence[Path] = ()) -> Allowed:
    """Role, such as `recipe.optimizer`, -> the classes that it may be. own_folders: what `--config-dir` names."""
    found: dict[str, set[str]] = {"recipe.optimizer": set(_optimisers())}
    for folder in (conf_directory(), *own_folders):
        for path in folder.rglob("*.yaml"):
            text = path.read_text()
            if path.is_relative_to(folder / "hydra"):
                continue
            group = "" if re.search(r"^# @package _global_", text, re.MULTILINE) else _group(path, folder)
            for role, target in targets(yaml.safe_load(text), group):
                found.setdefault(role, set()).add(target)
    return {role: frozenset(classes) for role, classes in found.items()}


def check_targets(config: Config, allowed: Allowed, where: object) -> None:
    """Raises UntrustedError for a class that its role may not be, before anything is imported. where: the file."""
    for role, target in targets(config):
        if target not in allowed.get(role, ()):
            raise UntrustedError(
                f"{where}: {role}._target_={target} is no class that conf/ names for {role}; if you trust it, name the "
                "folder of your own file that does: --config-dir=my_conf"
            )


def targets(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(Role, class) of each `_target_` in a configuration, wherever it stands."""
    if isinstance(node, list):
        for entry in node:
            yield from targets(entry, path)
    if isinstance(node, Mapping):
        if "_target_" in node:
            parent, _, _ = path.rpartition(".")
            role = f"{parent}.*" if parent in NAMED_BY_USERS else OF_A_GROUP.get(parent, path)
            yield role, str(node["_target_"])
        for key, value in node.items():
            yield from targets(value, f"{path}.{key}" if path else str(key))


def _group(path: Path, folder: Path) -> str:
    return ".".join(path.relative_to(folder).parent.parts)


@cache
def _optimisers() -> list[str]:
    import torch  # late: it takes seconds

    kinds = {name: getattr(torch.optim, name) for name in torch.optim.__all__}
    return [
        f"torch.optim.{name}"
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    ]

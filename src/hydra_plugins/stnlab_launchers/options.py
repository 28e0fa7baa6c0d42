"""The options of a launcher, checked before it starts anything."""

import typing
from collections.abc import Mapping
from typing import Any

from hydra.plugins.launcher import Launcher


def check_options(launcher: Launcher, options: Mapping[str, Any]) -> None:
    """By the annotations of its constructor. options: may hold more, such as `locals()` there. Raises StnlabError for a
    wrong one."""
    from stnlab.choices import check

    hints = typing.get_type_hints(type(launcher).__init__, include_extras=True)
    for name in hints.keys() & options.keys():
        check(options[name], hints[name], f"hydra.launcher.{name}")

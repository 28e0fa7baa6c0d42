"""stnlab: how should a network look at a transformed image?"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stnlab.training.loading import LoadedRun

__all__ = ["load_run"]


def load_run(path: str | Path, config_dir: str | Path | None = None) -> "LoadedRun":
    """The model, the configuration and the arrays of a finished run; see `stnlab.training.loading.load_run`."""
    from stnlab.training import (
        loading,
    )  # late: it takes seconds to import, and commands that answer from files do not need it

    return loading.load_run(path, config_dir)

"""Imports of large libraries without Python's search for garbage, which there costs more than it finds."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

LARGE = 100
"""Modules: from so many on, searching them again and again would be felt."""


@contextmanager
def importing(kept: bool = True) -> Iterator[None]:
    """Around imports of torch and the like: not to be searched for cycles while each makes its objects.

    kept: nor later, with all else that there is by then; False where that is a run's network and data, which would
    never be freed.
    """
    searches, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if kept and len(sys.modules) - before >= LARGE:
            search_no_more()
        if searches:
            gc.enable()


def search_no_more() -> None:
    """Leave all that there is now out of searches for garbage, until this process ends."""
    gc.freeze()
    _search_at_the_end()


@cache
def _search_at_the_end() -> None:
    atexit.register(gc.unfreeze)  # or extensions call what is frozen leaked

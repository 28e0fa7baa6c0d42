"""The one exception a user is meant to read."""

import difflib
from collections.abc import Iterable


class StnlabError(Exception):
    """A wrong choice or a broken file: one line that says what is wrong and what would be right.

    Entry points print it without a traceback and exit with status 1. Anything else that escapes is a bug.
    """


def one_line(error: Exception) -> str | None:
    """What to tell of an error that is no bug: a StnlabError, or a file that the system refuses. None for others."""
    if isinstance(error, StnlabError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of a message: the nearest of the choices, if one is near, and all of them if they are few."""
    ordered = sorted(choices)
    shown = ordered if len(ordered) <= 16 else [*ordered[:15], "..."]
    close = difflib.get_close_matches(name, ordered, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"{meant} (choices: {', '.join(shown)})" if ordered else meant

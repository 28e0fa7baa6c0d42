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


def first_line(error: BaseException | str) -> str:
    """Of an error's text, or of a text; of an error without one the name of its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def type_and_line(error: BaseException) -> str:
    """`Type: first line`."""
    return f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of a message: the nearest of the choices, if one is near, and all of them if they are few."""
    ordered = sorted(choices)
    shown = ordered if len(ordered) <= 16 else [*ordered[:15], "..."]
    close = difflib.get_close_matches(name, ordered, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"{meant} (choices: {', '.join(shown)})" if ordered else meant

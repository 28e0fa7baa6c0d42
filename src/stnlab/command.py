"""What every command does with its errors: one line and status 1 for the user's, a traceback for ours."""

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from stnlab.errors import StnlabError, one_line


def run_command(body: Callable[[list[str]], int | None]) -> None:
    """Call the body with the command line's arguments and exit with its status (None: 0)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        status = body(sys.argv[1:])
        print(end="", flush=True)
    except BrokenPipeError:
        if not unread():
            raise
        status = stop_printing()
    except (StnlabError, OSError) as error:
        line = one_line(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the last checkpoint", file=sys.stderr)
        status = 130
    sys.exit(status)


def stop_printing() -> int:
    """Whoever read what is printed, `head` say, has ended. Returns the exit status that says so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more at its end
    return 128 + signal.SIGPIPE


@contextmanager
def leaving_at_sigterm(before: Callable[[], None] = lambda: None) -> Iterator[None]:
    """SIGTERM as Ctrl-C, for a process that waits for others, unless it is handled already. before: done first."""

    def leave(number: int, frame: FrameType | None) -> None:
        before()
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def unread() -> bool:
    """Whether whoever read what is printed, `head` say, has ended."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in pipe.poll(0))


def path_and_overrides(arguments: Sequence[str], usage: str) -> tuple[Path, list[str]]:
    """The path that comes first, then overrides. Raises StnlabError, with the usage, if there is no path."""
    if not arguments or "=" in arguments[0] or arguments[0].startswith("-"):
        raise StnlabError(f"a path comes first: {usage}")
    return Path(arguments[0]), list(arguments[1:])

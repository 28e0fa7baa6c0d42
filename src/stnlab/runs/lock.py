"""One process at a time on a run, also of several machines that share its folder.

On one machine `.lock` is locked by the operating system, which no dead process survives. Other machines may not see
that, as is often so on network file systems: for them `.holder` names the process, and its time is a sign of life.
"""

import json
import os
import platform
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from stnlab.runs.files import UNFINISHED

FILES = (".lock", ".holder")
BRIEFLY = 0.2
"""Seconds to try for a lock: who asks whether a run is busy holds it for a moment."""
BEAT = 10.0
"""Seconds between two signs of life."""
DEAD = 60.0
"""Seconds without one, after which the process of another machine is taken for dead."""


class HeldError(Exception):
    """Another process holds a folder. host: the other machine it runs on, empty if it is this one."""

    def __init__(self, host: str = "") -> None:
        super().__init__(host)
        self.host = host


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder. Raises HeldError while another process does, here or on another machine."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=BRIEFLY)
    except filelock.Timeout as error:
        raise HeldError from error
    try:
        mine = _claim(folder / ".holder")
        ended = threading.Event()
        threading.Thread(target=_beat, args=(folder / ".holder", mine, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            if _read(folder / ".holder") == mine:
                (folder / ".holder").unlink(missing_ok=True)
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process, here or on another machine, is at work in a folder."""
    if not (folder / ".lock").exists():
        return False
    if _living_elsewhere(folder / ".holder"):
        return True
    try:
        with filelock.FileLock(folder / ".lock", timeout=BRIEFLY):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # somebody else's study, read only: nothing of ours is at work on it
        return False


def holder_here(folder: Path) -> int | None:
    """The process of this machine that is at work in a folder, or died there."""
    holder = _parsed(_read(folder / ".holder"))
    return holder.get("pid") if holder.get("host") == platform.node() else None


def _claim(path: Path) -> str:
    """Write this process's name into a file that does not exist; what a dead process left is put away first.

    Of several machines that do so at once one succeeds, since a link is made by one of them only.
    """
    if host := _living_elsewhere(path):
        raise HeldError(host)
    left = _read(path)
    if left is not None:
        away = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        try:
            path.rename(away)
            if _read(away) != left:  # another machine has just put the dead one's away and its own there
                os.link(away, path)
        except (FileNotFoundError, FileExistsError):
            pass  # it was faster
        away.unlink(missing_ok=True)
    mine = json.dumps({"host": platform.node(), "pid": os.getpid(), "token": secrets.token_hex(4)})
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(mine)
        Path(name).chmod(0o644)  # mkstemp makes it private
        os.link(name, path)
    except FileExistsError as error:
        raise HeldError(_host(_read(path))) from error
    finally:
        Path(name).unlink(missing_ok=True)
    return mine


def _beat(path: Path, mine: str, ended: threading.Event) -> None:
    """Give signs of life. A process that stood still so long that another machine took over must not go on."""
    while not ended.wait(BEAT):
        if (holder := _read(path)) not in (None, mine):
            print(f"{path.parent}: {_host(holder)} took this run over while this process stood still", flush=True)
            _leave()
            return
        if holder is not None:
            # It may be given back at this moment, or the file system fail now and not at the next beat.
            with suppress(OSError):
                os.utime(path)


def _leave() -> None:
    """KeyboardInterrupt in the main thread, also while that waits for other processes. Where SIGINT means nothing, as
    in jobs of the local queue and behind a shell's `&`, this process ends."""
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):
        os._exit(1)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def _living_elsewhere(path: Path) -> str | None:
    """The other machine that a living process holds a folder from.

    Ages are by the file system's clock. Of one that went back nothing is concluded for longer than a beat.
    """
    host = _host(_read(path))
    if host in ("", platform.node()):
        return None
    try:
        age = _now(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return None
    return host if abs(age) < DEAD else None


def _now(folder: Path) -> float:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.", suffix=UNFINISHED) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a read-only folder
        return time.time()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _host(holder: str | None) -> str:
    """The machine that a `.holder` names; empty if it is unreadable."""
    return str(_parsed(holder).get("host", ""))


def _parsed(holder: str | None) -> dict[str, Any]:
    """What a `.holder` says; nothing if it is unreadable."""
    try:
        found = json.loads(holder or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

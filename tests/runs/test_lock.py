import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stnlab.runs import lock


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`.holder` as a process of another machine writes it, which does not see this machine's `.lock`."""
    with lock.held(tmp_path), monkeypatch.context() as patch:
        patch.setattr(lock.platform, "node", lambda: "elsewhere")
        (tmp_path / ".holder").unlink()
        lock._claim(tmp_path / ".holder")
    assert json.loads((tmp_path / ".holder").read_text())["host"] == "elsewhere"
    yield tmp_path / ".holder"
    assert not list(tmp_path.glob(".*.unfinished"))


def test_a_living_process_of_another_machine_is_left_alone(tmp_path: Path, other: Path):
    before = other.read_text()
    assert lock.is_held(tmp_path)
    with pytest.raises(lock.HeldError) as caught, lock.held(tmp_path):
        pass
    assert caught.value.host == "elsewhere"
    assert other.read_text() == before


def test_the_holder_is_a_process_of_this_machine_or_of_none(tmp_path: Path, other: Path):
    assert lock.holder_here(tmp_path) is None
    other.unlink()
    assert lock.holder_here(tmp_path) is None
    with lock.held(tmp_path):
        assert lock.holder_here(tmp_path) == os.getpid()
    assert lock.holder_here(tmp_path) is None


@pytest.mark.parametrize("seconds", [-2 * lock.DEAD, 1e6], ids=["without a sign of life", "before the clock went back"])
def test_a_dead_process_of_another_machine_is_taken_over(tmp_path: Path, other: Path, seconds: float):
    os.utime(other, times=(time.time() + seconds,) * 2)
    assert not lock.is_held(tmp_path)
    with lock.held(tmp_path):
        assert lock._host(other.read_text()) == lock.platform.node()
        assert lock.is_held(tmp_path)
    assert not other.exists()


@pytest.mark.parametrize("left", ["", "{", "[]", json.dumps({"host": lock.platform.node(), "pid": 1})])
def test_what_a_killed_process_of_this_machine_left_is_put_away(tmp_path: Path, left: str):
    (tmp_path / ".lock").touch()
    (tmp_path / ".holder").write_text(left)
    assert not lock.is_held(tmp_path)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / ".holder").read_text())["pid"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_process_gives_signs_of_life_and_stops_when_it_was_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(lock, "BEAT", 0.01)
    holder, waited = tmp_path / ".holder", subprocess.Popen(["sleep", "60"])
    with pytest.raises(KeyboardInterrupt), lock.held(tmp_path):
        os.utime(holder, times=(0, 0))
        while holder.stat().st_mtime == 0:
            time.sleep(0.01)
        written = tmp_path / "holder"
        written.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
        written.replace(holder)
        waited.wait()  # as for the processes of a run
    waited.kill()
    waited.wait()
    assert "elsewhere took this run over" in capsys.readouterr().out
    assert holder.exists()


def test_who_was_taken_for_dead_stops_where_ctrl_c_means_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ended = threading.Event()
    monkeypatch.setattr(lock, "BEAT", 0.01)
    monkeypatch.setattr(lock.os, "_exit", lambda status: ended.set())
    monkeypatch.setattr(lock.signal, "getsignal", lambda number: signal.SIG_IGN)
    monkeypatch.setattr(lock.signal, "pthread_kill", lambda *_: None)
    with lock.held(tmp_path):
        (tmp_path / ".holder").write_text("")
        assert ended.wait(10)
        (tmp_path / ".holder").unlink()


def test_a_sign_of_life_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    utime, tried = os.utime, threading.Event()
    monkeypatch.setattr(lock, "BEAT", 0.01)

    def fails_once(*arguments: Any, **options: Any) -> None:
        if not tried.is_set():
            tried.set()
            raise OSError(5, "Input/output error")
        utime(*arguments, **options)

    holder = tmp_path / ".holder"
    with lock.held(tmp_path):
        monkeypatch.setattr(lock.os, "utime", fails_once)
        assert tried.wait(10)
        utime(holder, times=(0, 0))
        for _ in range(1000):
            if holder.stat().st_mtime > 0:
                break
            time.sleep(0.01)
        assert holder.stat().st_mtime > 0


def test_of_two_machines_at_once_one_is_first(tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch):
    """The other one puts the dead process's file away and its own there while this one is about to."""
    os.utime(other, times=(0, 0))
    rename = Path.rename

    def later(self: Path, target: Path) -> Path:
        faster = json.dumps({"host": "third", "pid": 1})
        if self == other and self.read_text() != faster:
            self.write_text(faster)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", later)
    with pytest.raises(lock.HeldError) as caught, lock.held(tmp_path):
        pass
    assert caught.value.host == "third"

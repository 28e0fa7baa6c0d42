"""A sweep of six runs and its report, killed at random moments and started again until it is done.

`python tests/killed_sweep.py <seed> <kills>`, in an empty folder with $STNLAB_DATA: prints the moment and the state of
each kill, and exits with status 1 unless all ends as if nothing had happened. All attempts are forked from one process
that has imported everything: the seconds of importing would leave none for what is worth killing.
"""

import importlib
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from types import FrameType

from stnlab import report, train
from stnlab.runs.directory import RunDirectory, find_runs

SWEEP = ["-m", "recipe=smoke", "recipe.steps=null", "recipe.epochs=2", "callbacks=quiet", "logger=none", "trainer=cpu"]
SWEEP += ["trainer.threads=1", "checkpoint_seconds=0.1", "backbone.channels=[4,4]", "localizer.channels=[4,4]"]
SWEEP += ["data.train_size=1500", "data.validation_size=300", "data.test_size=300", "evaluation.images=20"]
SWEEP += ["evaluation.rotations=3", "evaluation.scales=3", "placement=none,deep,input", "seed=0,1"]
RESULTS = ("metrics.json", "metrics.csv", "config.yaml")
CHANGES = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir")
"""What Python tells of before it does it."""


def attempt(study: str, seconds: float | None = None, change: int | None = None) -> tuple[str, int]:
    """Sweep and report in a process group of its own; killed after so many seconds, or before so many changes of files.

    Returns where it was killed (empty: it ended by itself), and how many changes it made.
    """
    told = Path(f"{study}.told")
    child = os.fork()
    if child == 0:
        os.setsid()
        log = os.open(f"{study}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGUSR2, lambda _, frame: told.with_suffix(".at").write_text(position(frame)))
        changes = kill_before(change, told)
        train.main([*SWEEP, f"study={study}"])
        report.main([f"runs/{study}"])
        told.write_text(json.dumps(["", changes["made"]]))
        os._exit(0)
    status = 0
    if seconds is None:
        _, status = os.waitpid(child, 0)
    else:
        time.sleep(seconds)
        os.kill(child, signal.SIGUSR2)
        at = told.with_suffix(".at")
        for _ in range(100):  # until it has said where it is, unless that takes too long
            if at.exists() and at.stat().st_size:
                break
            time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            where = at.read_text() if at.exists() else "in a long call"
            told.write_text(json.dumps([f"after {seconds:.2f} s, {where}", 0]))
        at.unlink(missing_ok=True)
    if not told.exists():
        raise RuntimeError(f"{study}: ended by itself with status {status}; see {Path(f'{study}.log').absolute()}")
    where, made = json.loads(told.read_text())
    told.unlink()
    return where, made


def kill_before(change: int | None, told: Path) -> Counter[str]:
    """Count what is done to files of runs, and kill everything when it is that many."""
    changes: Counter[str] = Counter()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in CHANGES or "runs/" not in str(arguments[0]) or (event == "open" and arguments[1] == "r"):
            return
        changes["made"] += 1
        if changes["made"] == change:
            name = re.sub(r"\.[a-z0-9_]{8}\.unfinished", ".(unfinished)", Path(str(arguments[0])).name)
            told.write_text(json.dumps([f"before change {change}, {event} {name}", change]))
            os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)
    return changes


def position(frame: FrameType | None) -> str:
    """The innermost of our own functions that is at work."""
    while frame and "/stnlab/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"in {frame.f_code.co_name} of {Path(frame.f_code.co_filename).name}" if frame else "outside our code"


def states(study: str) -> str:
    runs = find_runs(Path("runs") / study, empty=True) if Path("runs", study).exists() else []
    counted = Counter(run.state if not run.damaged else "DAMAGED" for run in runs)
    counted["absent"] = 6 - len(runs)
    reported = "report there" if Path("runs", study, "report", "index.html").exists() else "no report"
    return ", ".join(f"{count} {state}" for state, count in counted.items() if count) + f", {reported}"


def differences(study: str, undisturbed: list[RunDirectory]) -> list[str]:
    """What a study that was killed has and one that was not has not, or the other way round."""
    runs = find_runs(Path("runs") / study)
    found = [f"{run.path.name} is {run.state}" for run in runs if run.state != "done"]
    found += [str(path) for run in runs for path in run.path.rglob("*") if path.suffix in (".unfinished", ".part")]
    if not Path("runs", study, "report", "results.csv").exists():
        found.append("no report")
    for one, other in zip(runs, undisturbed, strict=True):
        for name in RESULTS:
            lines = [(run.path / name).read_text().splitlines() for run in (one, other)]
            differing = [f"{ours} != {theirs}" for ours, theirs in zip_longest(*lines) if ours != theirs]
            found += [f"{one.path.name}/{name}: {line}" for line in differing]
    return found


def main(seed: int, kills: int) -> int:
    for module in ("stnlab.training.run", "stnlab.training.launch", "stnlab.reports"):
        importlib.import_module(module)
    draw = random.Random(seed)
    began = time.monotonic()
    _, changes = attempt("undisturbed")
    seconds = time.monotonic() - began
    undisturbed = find_runs(Path("runs/undisturbed"))
    assert len(undisturbed) == 6
    assert changes > 100
    print(f"seed {seed}; undisturbed: {seconds:.1f} s, {changes} changes of files", flush=True)
    done = studies = 0
    while done < kills:
        study, studies = f"killed{studies}", studies + 1
        where = "at first"
        while done < kills and where:
            part = draw.uniform(0.02, 0.4)
            by_time = draw.random() < 0.5
            where, _ = attempt(study, part * seconds) if by_time else attempt(study, change=1 + int(part * changes))
            if where:
                done += 1
                print(f"kill {done}: {study} {where}; {states(study)}", flush=True)
        if where:
            attempt(study)
        if found := differences(study, undisturbed):
            print(f"{study}: not as the undisturbed sweep; see {Path(f'{study}.log').absolute()}", *found, sep="\n  ")
            return 1
        print(f"{study}: 6 runs done, equal to the undisturbed ones", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

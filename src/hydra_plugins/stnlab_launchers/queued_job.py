"""What a queue starts: one job, which keeps its work and goes back into the queue when it is told to stop."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that say: the time limit is near, or somebody else needs this place."""


class QueuedJob:
    """A job of hydra-submitit-launcher. job: what composes and runs it. max_restarts: in SLURM.

    It owns the signals, neither submitit nor Lightning: submitit would leave at once, Lightning would write a second
    checkpoint of another kind, and each would requeue the job for itself. SIGUSR1 and SIGUSR2 are passed on as SIGTERM,
    which the training answers with a checkpoint after its step (`stnlab.training.stopping`), and everything else by
    leaving, as with Ctrl-C; then the job is requeued. At SIGTERM itself it only leaves: SLURM sends it when it has
    decided what comes next, the end (scancel) or another start (pre-emption, scontrol requeue).
    """

    def __init__(self, job: Callable[..., JobReturn], max_restarts: int | None = None) -> None:
        self.job, self.max_restarts = job, max_restarts

    def __call__(self, overrides: Sequence[str], run: Path | None, replaced: str | None, *rest: Any) -> JobReturn:
        """run: its directory. replaced: with fresh=true, the id of the run to throw away (empty: there is none); a
        later start must not."""
        from stnlab.runs.directory import RunDirectory

        warned = Warned()
        if replaced is not None and run is not None and RunDirectory(run).known_id != replaced:
            overrides = [*(one for one in overrides if one.partition("=")[0] != "fresh"), "fresh=false"]
        try:
            return self.job(list(overrides), *rest)
        except KeyboardInterrupt:
            for number in (signal.SIGTERM, *WARNINGS):
                signal.signal(number, signal.SIG_IGN)  # requeued, this process gets SIGTERM
            if warned.by is None:
                sys.exit(130)
            restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
            if self.max_restarts is not None and restarts >= self.max_restarts:
                from stnlab.sweeps import failure

                return failure(f"reached its time limit {restarts + 1} times; the same command goes on")
            import submitit

            submitit.JobEnvironment()._requeue(0)
            sys.exit(130)


class Warned:
    """Handles signals from now on. by: the first warning that came."""

    def __init__(self) -> None:
        self.by: int | None = None
        for number in WARNINGS:
            signal.signal(number, self._warn)
        signal.signal(signal.SIGTERM, self._leave)

    def _warn(self, number: int, frame: FrameType | None) -> None:
        self.by = self.by or number
        signal.raise_signal(signal.SIGTERM)  # to whoever handles it now

    def _leave(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

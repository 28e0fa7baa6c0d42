"""What is seen of jobs in a queue: their results, as they come, and how many there are still."""

import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus

if TYPE_CHECKING:
    import submitit

    from hydra_plugins.stnlab_launchers.queue import Queue
    from stnlab.runs.directory import RunDirectory


class Watch:
    """names, runs: of the jobs, by number. returned: what those gave back that have ended."""

    def __init__(self, queue: "Queue", names: Sequence[str], runs: Sequence["RunDirectory | None"]) -> None:
        self.queue, self.names, self.runs = queue, names, runs
        self.returned: dict[int, JobReturn] = {}
        self._started = time.monotonic()
        self._missed: dict[int, float] = {}
        self._told = ""

    def look(self, queued: Mapping[int, "submitit.Job[JobReturn]"], more: int) -> list[int]:
        """The numbers of those that have ended since; each is told. more: how many are not yet submitted.

        Without a result, a job that is no longer in the queue has failed: submitit would ask sacct, which not every
        cluster has, and wait for ever.
        """
        states = self.queue.states(queued)
        ended = []
        for number, job in queued.items():
            for _ in job.paths.folder.glob("*.pkl"):  # makes NFS look again
                break
            if number in states:
                self._missed.pop(number, None)
            missed = time.monotonic() - self._missed.setdefault(number, time.monotonic())
            if job.paths.result_pickle.exists():
                self.returned[number] = _result(job)
            elif number not in states and missed >= self.queue.patience:
                self.returned[number] = self._lost(job)
            else:
                continue
            ended.append(number)
            self._tell(number)
        running = sum(states.get(number) == "running" for number in queued if number not in ended)
        self._progress(running, len(queued) - len(ended) - running + more)
        return ended

    def _lost(self, job: "submitit.Job[JobReturn]") -> JobReturn:
        from stnlab.sweeps import failure

        return failure(f"{self.queue.reason(job)} (log: {job.paths.stdout})")

    def _tell(self, number: int) -> None:
        returned, run = self.returned[number], self.runs[number]
        if returned.status is not JobStatus.COMPLETED:
            print(f"failed: {self.names[number]}: {returned._return_value}", file=sys.stderr, flush=True)
        elif run is not None and not run.damaged and run.state == "done":
            print(f"{run.path}: done; {run.summary}", flush=True)

    def _progress(self, running: int, waiting: int) -> None:
        """One line whenever something has changed."""
        from stnlab.sweeps import time_left

        ended, left = len(self.returned), running + waiting
        took = time.monotonic() - self._started
        told = f"{ended} of {ended + left} jobs ended, {running} running, {waiting} waiting"
        if told != self._told:
            print(f"{told}{time_left(took, ended, left) if left else ''}", flush=True)
            self._told = told


def _result(job: "submitit.Job[JobReturn]") -> JobReturn:
    """What the job gave back, or the last line of its traceback."""
    from stnlab.sweeps import failure

    outcome, value = pickle.loads(job.paths.result_pickle.read_bytes())
    if outcome == "success":
        assert isinstance(value, JobReturn)
        return value
    return failure(f"{str(value).strip().splitlines()[-1]} (log: {job.paths.stdout})")

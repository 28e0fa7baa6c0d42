"""Jobs: one from a command line, or the many of a sweep, of which only those not finished are launched."""

import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from stnlab.command import stop_printing, unread
from stnlab.compose import Config, checked_flags, compose_jobs, conf_directory, explain, to_config
from stnlab.errors import StnlabError, first_line, one_line
from stnlab.imports import search_no_more
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import normalise
from stnlab.runs.plan import Planned, change_plan

JOBS = "STNLAB_JOBS"
"""The environment variable that tells each job, in whatever process: `<jobs> <first> <side by side> <started>`."""

JOB = "STNLAB_JOB"
"""The same for what a job's progress bar shows: `job 4 of 12, about 3 min left`."""

State = Literal["done", "skipped", "failed", "queued", "left"]
KILLED = "its process was killed; perhaps there was not enough memory"
Launch = Callable[[Sequence[Sequence[str]], int, Sequence[RunDirectory | None]], Sequence[JobReturn]]
"""Overrides of the jobs, number of the first, and their runs; None where the configuration makes none."""


class JobError(StnlabError):
    """A job of a sweep failed, and has been told. Holds no traceback: with it, memory of the job would stay."""


class HopelessJobError(JobError):
    """A choice is wrong, so that no machine and no other time can help."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job. name: what tells it from the others. run: None if its configuration makes none.

    reason: the first line of its error. hopeless: whether it can never start.
    """

    name: str
    state: State
    run: RunDirectory | None
    reason: str = ""
    hopeless: bool = False


@dataclass(frozen=True)
class Batches:
    """What a sweeper knows beforehand of the batches that it will launch.

    jobs: in all. first: number of the first. started: time of day in seconds. shared: the overrides that all have.
    """

    jobs: int
    first: int
    started: float
    shared: frozenset[str]


@dataclass
class Sweep:
    """What this process knows of its sweep.

    trains: whether its jobs leave runs behind; if not, all of them are launched. batches: None if there is only one.
    """

    trains: bool = True
    outcomes: list[Outcome] = field(default_factory=list)
    batches: Batches | None = None


_sweep = Sweep()


def run_hydra(task: Callable[[Config], None], arguments: Sequence[str], trains: bool = True) -> None:
    """Compose `train.yaml` with the arguments and call the task, once or for each job of a sweep: if the task `trains`
    a run, for each that is not finished.

    Raises StnlabError for everything that is wrong with the arguments, and what the task raises. A failing job of a
    sweep is told when it fails and again at the end; the others go on.
    """
    arguments = checked_flags(arguments)
    raised: list[Exception] = []

    def job(composed: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _job_of_a_sweep(task, to_config(composed))
            return
        try:
            config = to_config(composed)
            if config["cells"]:
                raise StnlabError("cells: one run has none of them; choose a study of some, ablation=...")
            task(config)
        except Exception as error:
            raised.append(error)  # raised here, Hydra would print a line of its own

    os.environ.pop(JOB, None)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints its errors itself and exits
    sys.argv[1:] = arguments
    _sweep.trains, _sweep.outcomes, _sweep.batches = trains, [], None
    entry = hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="train")(job)
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        raise StnlabError(explain(error, arguments)) from error
    except ValueError as error:
        if "Config group override" in str(error):
            raise StnlabError(f"{' '.join(arguments)}: a group cannot be null; choose a file") from error
        raise
    finally:
        for line in summary(_sweep.outcomes) if trains else []:
            print(line, flush=True)
    if raised:
        raise raised[0]
    failed = [outcome for outcome in _sweep.outcomes if outcome.state == "failed"]
    if failed:
        count = "one job" if len(failed) == 1 else f"{len(failed)} jobs"
        raise StnlabError(f"{count} failed as told above; the same command tries again")


def expect_batches(jobs: int, first: int, shared: Collection[str]) -> None:
    """A sweeper's word on what it will launch, as in `Batches`: each job then tells how far the whole sweep is.

    Raises StnlabError if the jobs train nothing: no results, nothing to search by.
    """
    if not _sweep.trains:
        raise StnlabError("hydra/sweeper=optuna: is for python -m stnlab.train; nothing is trained here")
    _sweep.batches = Batches(jobs, first, time.time(), frozenset(shared))


def launch_unfinished(
    launch: Launch,
    loader: ConfigLoader,
    master: DictConfig,
    jobs: Sequence[Sequence[str]],
    first: int,
    side_by_side: int = 1,
) -> list[JobReturn]:
    """One result for each job; only those whose runs are not finished are launched, each run once.

    launch: starts jobs and waits for them, unless they are to stay in a queue. first: number of the first job.
    side_by_side: how many run at a time. A failed job's value is NaN: given an exception, Hydra would print it once
    more and drop the other results.
    """
    runs: list[RunDirectory | None] = [None] * len(jobs)
    if _sweep.trains:
        configs = [to_config(composed) for composed in compose_jobs(loader, master, jobs)]
        runs = [_run_of(config) for config in configs]
        _plan(runs, configs)
    pending = _pending(runs, bool(master.fresh))
    before = {number: _ended_at(runs[number]) for number in pending}
    batches = _sweep.batches or Batches(len(pending), first, time.time(), frozenset())
    os.environ[JOBS] = f"{batches.jobs} {batches.first} {side_by_side} {batches.started:.0f}"
    names = names_of(jobs)
    try:
        returned = _launched(launch, jobs, before, runs, first)
    except BaseException:  # Ctrl-C above all: the files know how far it came
        _sweep.outcomes += [_outcome_by_files(names[number], runs[number], before[number]) for number in pending]
        raise
    outcomes = [_outcome(names[number], run, returned.get(number)) for number, run in enumerate(runs)]
    _sweep.outcomes += outcomes
    for outcome in outcomes:
        if outcome.state == "failed" and outcome.run:
            outcome.run.keep()  # it failed before it threw anything away
            if outcome.hopeless and _state(outcome.run) == "absent":
                change_plan(outcome.run.path.parent, {}, fewer=[outcome.run.name])
    return [_result(outcome) for outcome in outcomes]


def _plan(runs: Sequence[RunDirectory | None], configs: Sequence[Config]) -> None:
    """Note what each run is to be trained by, in its own study."""
    studies: dict[Path, dict[str, Planned]] = {}
    for run, config in zip(runs, configs, strict=True):
        if run is not None:
            studies.setdefault(run.path.parent, {})[run.name] = Planned(config["overrides"], str(Path.cwd()))
    for study, planned in studies.items():
        change_plan(study, planned)


def _pending(runs: Sequence[RunDirectory | None], fresh: bool) -> list[int]:
    """Numbers of the jobs to launch: a finished run is told instead, and the same run is trained once."""
    seen: set[Path] = set()
    pending = []
    for number, run in enumerate(runs):
        if run is not None and not fresh and run.finished:
            print(f"{run.path}: done already; {run.summary}", flush=True)
        elif run is None or run.path not in seen:
            pending.append(number)
            if run is not None and fresh:
                run.renew()  # or, interrupted before it comes to this one, it would be taken for done
        if run is not None:
            seen.add(run.path)
    return pending


def _launched(
    launch: Launch,
    jobs: Sequence[Sequence[str]],
    before: Mapping[int, str | None],
    runs: Sequence[RunDirectory | None],
    first: int,
) -> dict[int, JobReturn]:
    """Number of the job -> what it returned. before: number of each job to launch -> when its run has ended already.

    When a process is killed, say by the system for want of memory, joblib ends all of them: what is not finished is
    then launched one by one, so that only the guilty one fails.
    """
    returned: dict[int, JobReturn] = {}
    batches = [list(before)] if before else []
    while batches:
        batch = batches.pop(0)
        try:
            chosen = [jobs[number] for number in batch], first, [runs[number] for number in batch]
            returned |= zip(batch, launch(*chosen), strict=True)
        except BrokenProcessPool:
            ended = {number: _came_to(runs[number], before[number]) for number in batch}
            if len(batch) == 1:
                returned[batch[0]] = failure(KILLED)
                if (run := runs[batch[0]]) and _state(run) == "running":
                    run.fail(KILLED, KILLED)
                continue
            for number, state in ended.items():
                if state in ("done", "failed"):
                    run = runs[number]
                    returned[number] = _ended(JobError(run.info["error"]) if run and state == "failed" else None)
            batches += [[number] for number, state in ended.items() if state not in ("done", "failed")]
    return returned


def _state(run: RunDirectory | None) -> str:
    if run is None:
        return "absent"
    if run.damaged:
        return "damaged"
    return "to renew" if run.to_renew else run.state


def _ended_at(run: RunDirectory | None) -> str | None:
    return run.info.get("ended") if run and _state(run) not in ("absent", "damaged") else None


def _came_to(run: RunDirectory | None, before: str | None) -> str:
    """Its state; `left` if it failed in an earlier sweep, and this one has not come to it."""
    return "left" if (state := _state(run)) == "failed" and _ended_at(run) == before else state


def failure(reason: str) -> JobReturn:
    """What a job returns that could not do so itself."""
    return _ended(JobError(reason))


def _ended(error: Exception | None) -> JobReturn:
    result = JobReturn()
    result.status = JobStatus.FAILED if error else JobStatus.COMPLETED
    result.return_value = error
    return result


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """What is printed when a sweep ends: how many jobs came to what, and a line for each that failed."""
    if not outcomes:
        return []
    states = [outcome.state for outcome in outcomes]
    shown = [state for state in get_args(State) if state not in ("queued", "left") or state in states]
    lines = [f"{len(outcomes)} jobs: " + ", ".join(f"{states.count(state)} {state}" for state in shown)]
    alike: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.state == "failed":
            alike.setdefault(outcome.reason, []).append(outcome)
    for reason, failed in alike.items():
        run = failed[0].run
        where = f" (log: {run.error_log})" if run and _state(run) == "failed" else ""
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        lines.append(f"failed: {failed[0].name}{others}: {reason}{where}")
    return lines


def _job_of_a_sweep(task: Callable[[Config], None], config: Config) -> None:
    from stnlab.train import can_never_start

    os.environ[JOB] = _announcement()
    try:
        print(os.environ[JOB], flush=True)
        task(config)
        _free_memory()
        return
    except Exception as error:
        if isinstance(error, BrokenPipeError) and unread():
            sys.exit(stop_printing())  # no fault of the job: the sweep is not wanted any more
        line = one_line(error)
        if line is None:
            traceback.print_exception(error)
        overrides = " ".join(HydraConfig.get().overrides.task)
        reason = line or f"{type(error).__name__}: {error}"
        print(f"failed: {overrides}: {line or error}", file=sys.stderr, flush=True)
        kind = HopelessJobError if isinstance(error, StnlabError) and can_never_start(config) else JobError
    _free_memory()  # the frames of the error held the job's tensors
    raise kind(first_line(reason))


def _free_memory() -> None:
    """Lightning's objects hold each other, and the next job needs their memory."""
    gc.collect()
    _search_modules_no_more()


@cache
def _search_modules_no_more() -> None:
    search_no_more()  # what the first job has imported: to search it after each takes a fifth of a second


def _announcement() -> str:
    """`job 4 of 12, about 3 min left`."""
    if JOBS not in os.environ:  # a launcher that is none of ours
        return f"job {HydraConfig.get().job.num + 1}"
    jobs, first, side_by_side, started = (int(value) for value in os.environ[JOBS].split())
    number = HydraConfig.get().job.num - first
    if number >= jobs:
        return f"job {number + 1}"  # a worker of an earlier batch of this sweep knows only that one's size
    finished, took = number - side_by_side + 1, time.time() - started
    left = time_left(took, finished, jobs - finished) if took > -1 else ""  # unless the clock went back
    return f"job {number + 1} of {jobs}{left}"


def time_left(took: float, finished: int, left: int) -> str:
    """`, about 3 min left`, by the seconds that the finished jobs took; empty before the first one."""
    if finished <= 0:
        return ""
    minutes = took / finished * left / 60
    return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"


def _run_of(config: Config) -> RunDirectory | None:
    """The directory of a job's run. None if its settings are wrong, which the job itself will tell."""
    from stnlab.train import check_settings

    try:
        check_settings(config)
    except StnlabError:
        return None
    return RunDirectory.of(Path(config["runs_dir"]) / config["study"], normalise(config))


def names_of(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The overrides of each job that not all have."""
    shared: Collection[str] = set(jobs[0]).intersection(*jobs) if len(jobs) > 1 else set()
    if _sweep.batches:
        shared = _sweep.batches.shared
    return [" ".join(override for override in job if override not in shared) for job in jobs]


def _outcome(name: str, run: RunDirectory | None, returned: JobReturn | None) -> Outcome:
    """returned: None if the job was not launched, because its run was finished or another job's."""
    if returned is not None and returned.status is JobStatus.UNKNOWN:
        return Outcome(name, "queued", run)
    if returned is not None and returned.status is not JobStatus.COMPLETED:
        error = returned._return_value
        return Outcome(name, "failed", run, str(error), isinstance(error, HopelessJobError))
    trained = returned is not None and (run is None or _state(run) == "done")  # not if busy=skip found it busy
    return Outcome(name, "done" if trained else "skipped", run)


def _outcome_by_files(name: str, run: RunDirectory | None, before: str | None) -> Outcome:
    """Of a sweep that broke off."""
    state = _came_to(run, before)
    if run is None or state not in ("done", "failed"):
        return Outcome(name, "left", run)
    return Outcome(name, "done", run) if state == "done" else Outcome(name, "failed", run, run.info["error"])


def _result(outcome: Outcome) -> JobReturn:
    """What sweepers read: a value to optimise, and the run's directory."""
    from stnlab.train import objective

    result = JobReturn()
    result.status = JobStatus.COMPLETED
    finished = _state(outcome.run) == "done"
    result.return_value = objective(outcome.run) if outcome.run and finished else float("nan")
    result.working_dir = str(outcome.run.path) if outcome.run else None
    return result

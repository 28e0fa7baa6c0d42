"""Searches: trials of values that Optuna proposes, in a study that goes on where it was."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import optuna
from annotated_types import Ge, MinLen
from hydra.core.utils import JobReturn
from omegaconf import DictConfig
from optuna.distributions import check_distribution_compatibility
from optuna.exceptions import OptunaError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from stnlab.choices import build, check
from stnlab.compose import to_config, without_password
from stnlab.errors import StnlabError, first_line, nearest
from stnlab.evaluation.catalogue import ROWS, explanations
from stnlab.runs.directory import RunBusyError, RunDirectory
from stnlab.runs.identity import normalise
from stnlab.runs.search import Search, search_lock, storage_file, write_search
from stnlab.search_space import SearchSpace
from stnlab.seeds import derive
from stnlab.sweeps import expect_batches
from stnlab.train import check_settings

Compose = Callable[[Sequence[Sequence[str]]], Iterable[DictConfig]]
Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]

ONE_SEQUENCE = ("optuna.samplers.QMCSampler",)
"""Samplers whose trials are points of one sequence, which a seed for each trial would tear apart."""
RUN, REPEATS = "run", "repeats"
"""Attributes of a trial: the name of its run, noted when all its values are; the number of a failed one it repeats."""
Proposed = optuna.Trial | FrozenTrial


@dataclass(frozen=True)
class Options:
    """As in `conf/hydra/sweeper/optuna.yaml`. Raises StnlabError for a wrong type or range."""

    n_trials: Annotated[int, Ge(1)]
    n_jobs: Annotated[int, Ge(1)]
    minimize: Annotated[list[str], MinLen(1)]
    storage: str | None
    sampler: dict[str, Any]

    def __post_init__(self) -> None:
        for name, annotation in type(self).__annotations__.items():
            check(getattr(self, name), annotation, f"hydra.sweeper.{name}")
        for measure in self.minimize:
            if not measure.startswith("val/") or not explanations(measure):
                known = {row.pattern for row in ROWS if row.pattern.startswith("val/") and "<" not in row.pattern}
                raise StnlabError(
                    f"hydra.sweeper.minimize={measure}: choose by measures of validation{nearest(measure, known)}"
                )
        self.new_sampler(0)

    def new_sampler(self, trial: int) -> optuna.samplers.BaseSampler:
        """What proposes this trial, and nothing else: a stream of random numbers could not be taken up again."""
        node = self.sampler
        if node.get("seed") is not None and node.get("_target_") not in ONE_SEQUENCE:
            node = node | {"seed": derive(node["seed"], "trial", trial) % 2**32}
        try:
            sampler: optuna.samplers.BaseSampler = build(node, "hydra.sweeper.sampler")
        except ValueError as error:
            raise StnlabError(f"hydra.sweeper.sampler: {error}") from error
        return sampler


def tune(options: Options, space: SearchSpace, compose: Compose, launch: Launch) -> None:
    """Launch trials until the study has as many as asked for; those that a killed process left behind come first, and
    failed ones are tried again. Ends with the best.

    compose: configurations of jobs. launch: a launcher's own method. Raises StnlabError if the space makes no
    configuration, the study is of another search, or its database cannot be read.
    """
    configs = [to_config(composed) for composed in compose(list(space.corners()))]
    for config in configs:
        check_settings(config)
    study = Path(configs[0]["runs_dir"]) / configs[0]["study"]
    try:
        with search_lock(study, wait=configs[0]["busy"] == "wait"), _one_line(options, study):
            search = _open_search(options, study, fresh=configs[0]["fresh"])
            Tuner(options, space, compose, launch, study, search).run()
    except RunBusyError as error:
        if configs[0]["busy"] != "skip":
            raise
        print(f"{error}; skipped", flush=True)


class Tuner:
    """A search at work. study: its folder. search: what Optuna calls a study."""

    def __init__(
        self, options: Options, space: SearchSpace, compose: Compose, launch: Launch, study: Path, search: optuna.Study
    ) -> None:
        self.options, self.space, self.compose, self.launch = options, space, compose, launch
        self.study, self.search = study, search
        self.exhausted = False

    def run(self) -> None:
        self._check_earlier()
        batch: list[Proposed] = [*self._take_up()]
        number = len(self._launched()) - len(batch)
        jobs = self.options.n_trials - len(self._counted()) + len(batch)
        expect_batches(jobs, number, self.space.fixed)
        self._note()
        while batch or self._open():
            # batches end at multiples of n_jobs, so those of an interrupted search are those of one that was not
            while self._open() and (not batch or len(self._launched()) % self.options.n_jobs):
                batch.append(self._ask())
            self._train(batch, number)
            self._note()
            number += len(batch)
            batch = []
        for line in self._results():
            print(line, flush=True)

    def _launched(self) -> list[FrozenTrial]:
        """Trials that have all their values. A process that was killed in between has left less."""
        return [trial for trial in self.search.get_trials(deepcopy=False) if RUN in trial.user_attrs]

    def _counted(self) -> list[FrozenTrial]:
        """Of a failed trial and those that repeat it, the last; none while it waits to be repeated."""
        launched = self._launched()
        waiting = self.search.get_trials(deepcopy=False, states=[TrialState.WAITING])
        repeated = {trial.user_attrs.get(REPEATS) for trial in (*launched, *waiting)}
        return [trial for trial in launched if trial.number not in repeated]

    def _open(self) -> bool:
        return not self.exhausted and len(self._counted()) < self.options.n_trials

    def _check_earlier(self) -> None:
        """Raises StnlabError if trials of the study are none of this search: their results would mislead it."""
        for trial in self.search.get_trials(deepcopy=False):
            for key, values in trial.distributions.items():
                if key in self.space.searched:
                    try:
                        check_distribution_compatibility(values, self.space.searched[key])
                    except ValueError as error:
                        raise StnlabError(f"{key}: other choices than earlier trials had; {self._elsewhere}") from error
        earlier = self._launched()
        for trial, run in zip(earlier, self._runs(earlier), strict=True):
            if digest_of(run.name) != digest_of(trial.user_attrs[RUN]):
                raise StnlabError(
                    f"trial {trial.number} trained {trial.user_attrs[RUN]}, which this command would not; "
                    f"{self._elsewhere}"
                )

    @property
    def _elsewhere(self) -> str:
        return f"{self.study} holds another search; give this one a study of its own (study=...)"

    def _take_up(self) -> list[FrozenTrial]:
        """Trials that a dead process has left: nobody else is at work here. Failed ones wait to be asked for again."""
        left = []
        for trial in self.search.get_trials(states=[TrialState.RUNNING]):
            if RUN in trial.user_attrs:
                left.append(trial)
            else:
                self.search.tell(trial.number, state=TrialState.FAIL)
        for trial in self._counted():
            if trial.state is TrialState.FAIL:
                self.search.enqueue_trial(trial.params, user_attrs={REPEATS: trial.number})
        return left

    def _ask(self) -> optuna.Trial:
        self.search.sampler = self.options.new_sampler(len(self._launched()))
        trial = self.search.ask(self.space.searched)
        trial.set_user_attr(RUN, next(self._runs([trial])).name)
        return trial

    def _runs(self, trials: Sequence[Proposed]) -> Iterator[RunDirectory]:
        """What each of them trains."""
        for composed in self.compose([self.space.job(trial.params) for trial in trials]):
            yield RunDirectory.of(self.study, normalise(to_config(composed)))

    def _train(self, batch: Sequence[Proposed], number: int) -> None:
        """Launch trials and tell Optuna their results. number: of the first job."""
        for trial in batch:
            shown = " ".join(f"{key}={value}" for key, value in trial.params.items())
            print(f"trial {trial.number}: {shown}", flush=True)
        returned = self.launch([self.space.job(trial.params) for trial in batch], number)
        for trial, result in zip(batch, returned, strict=True):
            run = RunDirectory(Path(result.working_dir)) if result.working_dir else None
            if run and not run.damaged and run.state == "running":
                continue  # in another process, which busy=skip leaves it to
            done = run and not run.damaged and run.state == "done"
            self._tell(trial.number, self._values(run) if run and done else None)

    def _tell(self, number: int, values: list[float] | None) -> None:
        try:
            self.search.tell(number, values, TrialState.COMPLETE if values else TrialState.FAIL)
        except RuntimeError as error:
            if "Study.stop" not in str(error):
                raise
            self.exhausted = True  # so samplers say that they have tried everything; they expect another loop than ours

    def _values(self, run: RunDirectory) -> list[float]:
        metrics = run.metrics
        for measure in self.options.minimize:
            if measure not in metrics:
                raise StnlabError(
                    f"{run.path}: has no {measure}, so there is nothing to choose by{nearest(measure, metrics)}"
                )
        return [metrics[measure] for measure in self.options.minimize]

    def _note(self) -> None:
        done = sum(trial.state is TrialState.COMPLETE for trial in self._counted())
        trials = done if self.exhausted else self.options.n_trials
        arguments = [without_password(argument) for argument in sys.argv[1:]]
        write_search(self.study, Search(arguments, str(Path.cwd()), trials, done))

    def _results(self) -> Iterator[str]:
        """How many trials came to what, and the best: of several measures, each that no other beats in all."""
        counted = self._counted()
        done = [trial for trial in counted if trial.state is TrialState.COMPLETE]
        failed = sum(trial.state is TrialState.FAIL for trial in counted)
        told = f", {failed} failed" if failed else ""
        yield f"{self.study}: {len(done)} of {self.options.n_trials} trials done{told}"
        best = self.search.best_trials if len(self.options.minimize) > 1 or not done else [self.search.best_trial]
        for trial in best:
            measures = ", ".join(
                f"{name} {value:.4g}" for name, value in zip(self.options.minimize, trial.values, strict=True)
            )
            shown = " ".join(f"{key}={value}" for key, value in trial.params.items())
            yield f"best: trial {trial.number}, {measures}: {shown} ({self.study / trial.user_attrs[RUN]})"


def digest_of(name: str) -> str:
    """The end of a run's name; its readable part may change with the code."""
    return name.rpartition("-")[2]


def _open_search(options: Options, study: Path, fresh: bool) -> optuna.Study:
    """What the database knows of this search; it is made if there is none, and made anew if `fresh`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(options.storage or f"sqlite:///{storage_file(study)}")
    if fresh and study.name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=study.name, storage=storage)
    directions = [StudyDirection.MINIMIZE] * len(options.minimize)
    search = optuna.create_study(
        study_name=study.name,
        storage=storage,
        directions=directions,
        sampler=options.new_sampler(0),
        load_if_exists=True,
    )
    earlier = search.user_attrs.get("minimize", options.minimize)
    if earlier != options.minimize:
        raise StnlabError(
            f"{study}: a search that minimises {', '.join(earlier)}; give one that minimises "
            f"{', '.join(options.minimize)} a study of its own (study=...)"
        )
    search.set_user_attr("minimize", options.minimize)
    return search


@contextmanager
def _one_line(options: Options, study: Path) -> Iterator[None]:
    """What is wrong with the database in one line."""
    try:
        yield
    except (SQLAlchemyError, OptunaError) as error:
        reason = first_line(error.__cause__ or error)
        remedy = "; without this file, the same command makes it again from the runs" if not options.storage else ""
        database = without_password(options.storage) if options.storage else storage_file(study)
        raise StnlabError(f"{database}: Optuna's database: {reason}{remedy}") from error

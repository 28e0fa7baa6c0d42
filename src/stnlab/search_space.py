"""What a search may choose from: Hydra's overrides to Optuna's distributions."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from stnlab.errors import StnlabError
from stnlab.runs.identity import NOT_OF_THE_RESULT

EXAMPLE = "recipe.optimizer.lr=tag(log,interval(1e-3,1e-1))"


@dataclass(frozen=True)
class SearchSpace:
    """fixed: overrides that all trials share. searched: key of an override -> where its value comes from.

    groups: those of the keys whose values are files of `conf/`.
    """

    fixed: list[str]
    searched: dict[str, BaseDistribution]
    groups: list[str]

    def job(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        return [*self.fixed, *(f"{key}={value}" for key, value in values.items())]

    def corners(self) -> Iterator[list[str]]:
        """A job for each combination of files: whether its keys exist depends on no other value."""
        ends = {key: [_first(values)] for key, values in self.searched.items()}
        for key in self.groups:
            values = self.searched[key]
            assert isinstance(values, CategoricalDistribution)
            ends[key] = list(values.choices)
        for combination in itertools.product(*ends.values()):
            yield self.job(dict(zip(ends, combination, strict=True)))


def search_space(overrides: Sequence[Override], loader: ConfigLoader) -> SearchSpace:
    """`a,b` and `choice(a,b)`: any of them; `interval(a,b)`: real numbers, and `int(interval(a,b))` whole ones, ends
    included; `range(a,b,step)`: as Python's; `tag(log,...)`: evenly by the logarithm. A later override of the same
    key counts. Raises StnlabError for one that cannot be searched, and if there is none to search.
    """
    kept = {override.get_key_element(): override for override in overrides}
    searched = {key: _distribution(override) for key, override in kept.items() if override.is_sweep_override()}
    if not searched:
        raise StnlabError(f"hydra/sweeper=optuna: nothing to search; give values to choose from, such as {EXAMPLE}")
    fixed = [str(override.input_line) for key, override in kept.items() if key not in searched]
    return SearchSpace(fixed, searched, [key for key in searched if loader.get_group_options(kept[key].key_or_group)])


def _distribution(override: Override) -> BaseDistribution:
    group, _, key = override.key_or_group.rpartition(".")
    if key in NOT_OF_THE_RESULT.get(group, ()):
        raise StnlabError(f"{override.input_line}: {override.key_or_group} changes no result, so it cannot be searched")
    sweep = override.value()
    if unknown := sorted(getattr(sweep, "tags", set()) - {"log"}):
        raise StnlabError(f"{override.input_line}: tag {unknown[0]} means nothing here; log does")
    if getattr(sweep, "shuffle", False):
        raise StnlabError(f"{override.input_line}: the sampler decides the order; leave out shuffle")
    log = "log" in getattr(sweep, "tags", set())
    try:
        if isinstance(sweep, IntervalSweep):
            return _interval(sweep, log)
        if isinstance(sweep, RangeSweep):
            return _range(sweep, log)
        if log:
            raise ValueError("log is for interval(...) and range(...)")
        return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
    except ValueError as error:
        raise StnlabError(f"{override.input_line}: {error}") from error


def _interval(sweep: IntervalSweep, log: bool) -> BaseDistribution:
    start, end = sweep.start, sweep.end
    if isinstance(start, int) and isinstance(end, int):
        return IntDistribution(start, end, log=log)
    assert start is not None
    assert end is not None
    return FloatDistribution(start, end, log=log)


def _range(sweep: RangeSweep, log: bool) -> BaseDistribution:
    """Ends are counted in steps: a sum of floats would miss the last value."""
    count = len(list(sweep.range()))
    if not count:
        raise ValueError("holds no value")
    first, step = Decimal(str(sweep.start)), Decimal(str(sweep.step))
    low, high = sorted((first, first + step * (count - 1)))
    if all(isinstance(number, int) for number in (sweep.start, sweep.stop, sweep.step)):
        return IntDistribution(int(low), int(high), log=log, step=abs(int(step)))
    return FloatDistribution(float(low), float(high), log=log, step=abs(float(step)))


def _first(values: BaseDistribution) -> Any:
    if isinstance(values, CategoricalDistribution):
        return values.choices[0]
    assert isinstance(values, FloatDistribution | IntDistribution)
    return values.low

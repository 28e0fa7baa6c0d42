"""How a measure of `metrics.json` is shown: its title, its unit, and which way is better."""

import difflib
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from stnlab.errors import StnlabError
from stnlab.evaluation import Interval
from stnlab.evaluation.catalogue import ROWS, explanations, is_headline
from stnlab.evaluation.seeds import FEWEST, with_seeds
from stnlab.reports.results import FIVE
from stnlab.reports.study import Report, Row

Better = Literal["low", "high", "zero"]

HIGHER = ("accuracy", "agreement", "brier_resolution")
LOWER = ("error", "ece", "nll", "brier", "mce", "aurc", "total_variation", "residual", "corners", "brier_reliability")
PERCENT = ("error", "accuracy", "ece", "ece_adaptive", "ece_classwise", "mce", "gap", "agreement", "confidence")
MOVED = ("invariance", "equivariance")
"""Families of measures that need `evaluation.images`."""
MOST_OFFERED = 6
TITLES = {"error": "error", "ece": "ECE", "nll": "NLL", "brier": "Brier", "gap": "gap", "mce": "MCE"}


@dataclass(frozen=True)
class Measure:
    """name: as in `metrics.json`. percent: whether it is a fraction that is shown in percent. better: which way."""

    name: str
    percent: bool
    better: Better | None

    @property
    def title(self) -> str:
        group, _, last = self.name.rpartition("/")
        return TITLES[last] if group == "test" and last in TITLES else self.name

    @property
    def heading(self) -> str:
        return f"{self.title} %" if self.percent else self.title

    def text(self, value: float) -> str:
        decimals = 4 if "brier" in self.name else 5 if self.name.endswith("aurc") else 3
        shown = f"{100 * value:.2f}" if self.percent else f"{value:.{decimals}f}"
        return shown.replace("-", "\N{MINUS SIGN}")


def measure_called(name: str) -> Measure:
    """`error` is short for `test/error`."""
    name = f"test/{name}" if name in FIVE else name
    last = name.rpartition("/")[2]
    depth = name.startswith("equivariance/")
    better: Better | None = "high" if last in HIGHER else "zero" if last == "gap" else None
    if depth or last in LOWER or last.startswith("ece_"):
        better = "low"
    return Measure(name, last in PERCENT, better)


def check_measures(report: Report, names: Sequence[str]) -> None:
    """Raises StnlabError for a measure that no run of the report has; says what would be there, or why it is not."""
    known = {name for run in report.runs if run.result for name in run.result.metrics}
    for name in names:
        full = measure_called(name).name
        if not known or full in known:
            continue
        family = full.partition("/")[0]
        moved = any(one.startswith(MOVED) for one in known) or any(run.config.get("evaluation") for run in report.runs)
        if family in MOVED and not moved:  # `normalise` leaves out `evaluation` without images
            raise StnlabError(
                f"measures={name}: no run has it; evaluation.images=0 leaves out all of {'/ and '.join(MOVED)}/: train "
                "with evaluation.images=2000"
            )
        raise StnlabError(f"measures={name}: no run has it{_offered(full, known)}")


def _offered(name: str, known: Set[str]) -> str:
    """The end of a message: the nearest measure, and those of its family, or else of the test images, that people
    read, in the catalogue's order.
    """
    order = {one: number for number, row in reversed([*enumerate(ROWS)]) for one in known if row.explains(one)}
    headlines = sorted(filter(is_headline, known), key=lambda one: (order[one], one))
    family = f"{name.partition('/')[0]}/"
    relatives = [one for one in known if one.startswith(family)]
    close = difflib.get_close_matches(name if "/" in name else f"test/{name}", relatives or headlines, n=1)
    shown = [one for one in headlines if one.startswith(family if relatives else "test/")]
    meant = f"; did you mean {close[0]}?" if close else ""
    more = ", ...; --metrics explains each" if len(shown) > MOST_OFFERED else ""
    return f"{meant} (choices: {', '.join(shown[:MOST_OFFERED])}{more})" if shown else meant


@dataclass(frozen=True)
class Ends:
    """What stands beside a mean over seeds: a 95% interval, or where the lowest and the highest run lie."""

    low: float
    high: float
    runs: bool = False


def interval_of(row: Row, measure: Measure) -> Ends | None:
    """95%: the report's own for error and ECE. Of other measures the run's own over test images if there is one run;
    from 3 runs on theirs with the spread of seeds (`stnlab.evaluation.seeds`; theirs: the mean of their ends), within
    the measure's range. Else, 2 runs or runs without intervals, just the range of the runs: no interval.
    """
    own: dict[str, Interval | None] = {"test/error": row.error, "test/ece": row.ece}
    if found := own.get(measure.name):
        return Ends(found.low, found.high)
    values = row.cell.values(measure.name)
    lows, highs = (row.cell.values(f"{measure.name}_{end}") for end in ("low", "high"))
    whole = len(values) == len(lows) == len(highs)
    if whole and len(values) != FEWEST - 1:
        return Ends(*with_seeds(values, float(np.mean(lows)), float(np.mean(highs)), _range(measure.name)))
    return Ends(min(values), max(values), runs=True) if len(values) > 1 else None


def span_of(row: Row, measure: Measure) -> str:
    """`0.21 to 0.36`, or `runs 0.21 to 0.36` where this is no interval; empty where there is neither."""
    ends = interval_of(row, measure)
    return f"{'runs ' if ends.runs else ''}{measure.text(ends.low)} to {measure.text(ends.high)}" if ends else ""


def _range(name: str) -> tuple[float, float]:
    """Of a measure, as the catalogue has it in words: `0 to 1`, `nats, 0 and up`."""
    for row in explanations(name):
        if found := re.fullmatch(r"(-?[\d.]+) to (-?[\d.]+)", row.unit):
            return float(found[1]), float(found[2])
        if row.unit.endswith("0 and up"):
            return 0.0, inf
    return -inf, inf


def best(rows: Sequence[Row], measure: Measure) -> set[int]:
    """Numbers of the rows whose mean is the best, among those on the same data; nothing where no way is better."""
    order = {"low": float, "high": lambda value: -value, "zero": abs}
    if measure.better is None:
        return set()
    found: dict[str, list[tuple[float, int]]] = {}
    for number, row in enumerate(rows):
        if row.cell.values(measure.name):
            data = str(row.cell.config["choices"].get("data"))
            found.setdefault(data, []).append((order[measure.better](row.cell.mean(measure.name)), number))
    return {
        number for members in found.values() if len(members) > 1 for key, number in members if key == min(members)[0]
    }

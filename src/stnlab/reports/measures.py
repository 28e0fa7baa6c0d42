"""How a measure of `metrics.json` is shown: its title, its unit, and which way is better."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]

from stnlab.evaluation import Interval
from stnlab.evaluation.intervals import LEVEL
from stnlab.reports.results import FIVE
from stnlab.reports.study import Row

Better = Literal["low", "high", "zero"]

HIGHER = ("accuracy", "agreement", "brier_resolution")
LOWER = ("error", "ece", "nll", "brier", "mce", "aurc", "total_variation", "residual", "corners", "brier_reliability")
PERCENT = ("error", "accuracy", "ece", "ece_adaptive", "ece_classwise", "mce", "gap", "agreement", "confidence")
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
        shown = f"{100 * value:.2f}" if self.percent else f"{value:.3f}"
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


def interval_of(row: Row, measure: Measure) -> tuple[float, float] | None:
    """95%: the report's own for error and ECE; else over seeds (Student's t), or the run's own if there is just one."""
    own: dict[str, Interval | None] = {"test/error": row.error, "test/ece": row.ece}
    if found := own.get(measure.name):
        return found.low, found.high
    values = row.cell.values(measure.name)
    if len(values) > 1:
        half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * float(np.std(values, ddof=1)) / sqrt(len(values))
        mean = float(np.mean(values))
        return mean - half, mean + half
    ends = [row.cell.values(f"{measure.name}_{end}") for end in ("low", "high")]
    return (ends[0][0], ends[1][0]) if all(ends) else None


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

"""One figure of ours beside its reference's, and how both are measured."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Comparison:
    """Medians of ours and of the reference, in `unit`, and the goal: `of` this at least or at most.

    of: `ratio`, ours / reference, or `ours` alone. ours, reference, goals: None where there is none. note: what else
    there is to know. paired: the median of the ratios of measurements that were made side by side, which says more than
    the ratio of the medians does; None: they were not.
    """

    case: str
    unit: str
    ours: float | None
    reference: float | None
    at_least: float | None = None
    at_most: float | None = None
    of: Literal["ratio", "ours"] = "ratio"
    note: str = ""
    paired: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.paired is not None:
            return self.paired
        return self.ours / self.reference if self.ours is not None and self.reference else None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is; None without one."""
        value = self.ours if self.of == "ours" else self.ratio
        if value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def line(self) -> str:
        ours = "-" if self.ours is None else f"{self.ours:,.2f}"
        reference = "" if self.reference is None else f"reference {self.reference:>12,.2f}"
        ratio = "" if self.ratio is None else f"ratio {self.ratio:>7.2f}"
        sign, goal = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        verdict = {True: "reached", False: "MISSED", None: ""}[self.reached]
        wanted = "" if goal is None else f"{self.of} {sign} {goal:g} {verdict}"
        return f"{self.case:<44} {ours:>12} {self.unit:<9} {reference:<22}  {ratio:<13}  {wanted}  {self.note}"


def medians(measured: dict[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """The median of what each returns, all of them called in turn."""
    return {name: statistics.median(values) for name, values in in_turn(measured, repeats).items()}


def in_turn(measured: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each returns, there and back, again and again: so that a machine that gets slower is slower for all."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    for turn in range(repeats):
        for name in list(measured) if turn % 2 == 0 else reversed(measured):
            found[name].append(measured[name]())
    return found


def side_by_side(
    case: str, unit: str, ours: Sequence[float], reference: Sequence[float], at_least: float
) -> Comparison:
    """Of measurements made side by side; the note says between which quartiles half of their ratios lie."""
    low, middle, high = statistics.quantiles((one / other for one, other in zip(ours, reference, strict=True)), n=4)
    note = f"median {middle:.3f} of {len(ours)} ratios, half of them within {low:.3f} and {high:.3f}"
    medians = statistics.median(ours), statistics.median(reference)
    return Comparison(case, unit, *medians, at_least=at_least, note=note, paired=middle)

"""Numbers that papers printed beside ours: how far apart, and whether our interval covers theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

from stnlab.reports import wording
from stnlab.reports.baselines import fits
from stnlab.reports.measures import interval_of, measure_called
from stnlab.reports.papers import Paper, Printed
from stnlab.reports.sections import Section
from stnlab.reports.study import Report, Row

MOST_LINES = 12
CSV_COLUMNS = ("published", "published_in", "published_difference", "published_covered")


@dataclass(frozen=True)
class Beside:
    """A cell with results and a number printed of it. difference: ours less theirs. covered: whether our 95% interval
    reaches what theirs may have been before it was rounded; None where there is no interval."""

    row: Row
    printed: Printed
    difference: float
    covered: bool | None


def beside(report: Report, papers: Sequence[Paper]) -> list[Beside]:
    """Each printed number beside every cell that is what it says: several, say with several recipes."""
    found = []
    for row in report.rows:
        for printed in (one for paper in papers for one in paper.printed):
            if fits(row.cell, printed.wanted) and row.cell.values(printed.measure):
                found.append(_beside(row, printed))
    return found


def _beside(row: Row, printed: Printed) -> Beside:
    ends = interval_of(row, measure_called(printed.measure))
    covered = None
    if ends is not None and not ends.runs:
        covered = ends.low <= printed.value + printed.rounding and ends.high >= printed.value - printed.rounding
    return Beside(row, printed, row.cell.mean(printed.measure) - printed.value, covered)


def section(found: Sequence[Beside]) -> Section | None:
    """As a table, in percent; the last two columns say how much of the paper's training ours is."""
    header = ("cell", "printed in", "covered", "printed", "ours", "difference", "n", "images seen")
    rows = [[(text, ""), *_numbers(one)] for one in found for text in [one.row.cell.name]]
    return Section("Printed numbers and ours, error in %", header, rows, (3, 0)) if rows else None


def _numbers(one: Beside) -> list[tuple[str, str]]:
    ends = interval_of(one.row, measure_called(one.printed.measure))
    mean, value = one.row.cell.mean(one.printed.measure), one.printed.value
    span = wording.span(ends.low, ends.high) if ends else ""
    apart = wording.span(ends.low - value, ends.high - value, signed=True) if ends else ""
    seen = {run.info.get("images_seen") for run in one.row.cell.finished}
    return [
        (f"{one.printed.paper}, {one.printed.place}", ""),
        ({True: "yes", False: "no", None: ""}[one.covered], ""),
        (f"{100 * value:.4g}", ""),
        (wording.percent(mean), span),
        (wording.percent(one.difference, signed=True), apart),
        (str(len(one.row.cell.finished)), ""),
        (" or ".join(sorted(f"{count:,}" for count in seen if count)), ""),
    ]


def summary(found: Sequence[Beside]) -> list[str]:
    """A line for each number; of many, how many are covered."""
    if len(found) > MOST_LINES:
        reached = sum(bool(one.covered) for one in found)
        return [f"Printed numbers: {reached} of {len(found)} are covered by our intervals; results.md has them."]
    return [_said(one) for one in found]


def _said(one: Beside) -> str:
    (place, _), _, (printed, _), (ours, span), *_ = _numbers(one)
    covered = {True: ", covered", False: ", not covered", None: ""}[one.covered]
    return f"{one.row.cell.name}: printed {printed}% ({place}), ours {ours}%{f' ({span})' if span else ''}{covered}."


def notes(found: Sequence[Beside], papers: Sequence[Paper]) -> list[str]:
    """What stands below: what covered means, and what is to be known of the tables that numbers came from."""
    if not found:
        return []
    used = {one.printed.place.partition(",")[0] for one in found}
    names = {one.printed.paper for one in found}
    said = [note for paper in papers if paper.name in names for note in paper.notes if _is_about(note, paper, used)]
    return [
        "Covered: our 95% interval reaches the printed number, give or take its rounding. It says what ours says: see "
        "above. A paper's own spread over trainings is not known.",
        *said,
    ]


def _is_about(note: str, paper: Paper, tables: set[str]) -> bool:
    """Whether it is about one of the tables, or about none in particular."""
    head = note.partition(":")[0]
    return not head.startswith(f"{paper.name}, ") or head.removeprefix(f"{paper.name}, ") in tables


def csv_values(found: Sequence[Beside], row: Row) -> dict[str, str | float]:
    """Of one cell, empty where nothing was printed; of several numbers the first."""
    for one in found:
        if one.row is row:
            covered = "" if one.covered is None else str(one.covered).lower()
            place = f"{one.printed.paper}, {one.printed.place}"
            return dict(zip(CSV_COLUMNS, (one.printed.value, place, one.difference, covered), strict=True))
    return {}

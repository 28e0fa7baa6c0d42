"""Numbers and findings in words: the same in the terminal, in Markdown and on the page."""

import re
from collections.abc import Sequence

from stnlab.reports.cells import ABSENT, Cell
from stnlab.reports.inference import PairFindings
from stnlab.reports.study import FEW_SEEDS, Report, Row

SIGNIFICANT = 0.05
SMALLEST_P = 1e-10
AS_LARGE = (
    "A transformer brings parameters. As large: a baseline with a backbone that makes up for them, the same otherwise; "
    "what remains against it is not a matter of size."
)


def percent(fraction: float, signed: bool = False) -> str:
    """`2.10`, or `+2.10` where the sign matters."""
    text = f"{100 * fraction:+.2f}" if signed else f"{100 * fraction:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def span(low: float, high: float, signed: bool = False) -> str:
    """`1.83 to 2.40`, in percent or points."""
    return f"{percent(low, signed)} to {percent(high, signed)}"


def unbroken(heading: str) -> str:
    """A heading whose units stay with what they are of: `agreement %` breaks before neither."""
    return re.sub(r" (?=%|\d|px|points)", "\N{NO-BREAK SPACE}", heading)


def p_value(p: float) -> str:
    """`0.012`, `3e-05`, `< 1e-10`."""
    if p < SMALLEST_P:
        return f"< {SMALLEST_P:.0e}"
    return f"{p:.1g}" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def verdict(found: PairFindings) -> str:
    """`likely better, over only 2 seeds`; `significantly better` is said from 5 seeds on."""
    seeds = found.error.n_seeds
    sure = "significantly" if seeds >= FEW_SEEDS else "likely"
    words = []
    for one, what in ((found.error, ""), (found.ece, " calibrated")):
        if one.p_holm < SIGNIFICANT:
            words.append(f"{'better' if one.difference < 0 else 'worse'}{what}")
    nothing = "no significant difference" if seeds >= FEW_SEEDS else "no difference shown"
    return (f"{sure} {', '.join(words)}" if words else nothing) + few_seeds(seeds)


OF_FAMILIES = (
    "Means over seeds; with them 95% intervals, or of two runs where they lie. Intervals of calibration errors and of "
    "reliability are less the noise that inflates the estimate: an upper end may be the estimate itself."
)
"""What stands above the tables of what else is measured."""


def few_seeds(seeds: int) -> str:
    """`, over only 2 seeds`: the caveat of what fewer than 5 say."""
    return f", over only {seeds} seed{'s' if seeds > 1 else ''}" if seeds < FEW_SEEDS else ""


def findings(report: Report) -> list[str]:
    """What was found of each cell that was compared, or why it was not; names between backticks."""
    return [sentence for row in report.rows for sentence in _findings(row)]


def not_compared(report: Report) -> list[str]:
    """Of these, why cells were not."""
    return [finding(row) for row in report.rows if row.not_compared]


def _findings(row: Row) -> list[str]:
    if row.not_compared:
        return [finding(row)]
    return [_found(row, other, found) for other, found in row.comparisons]


def finding(row: Row) -> str:
    """`input affine` has 2.10 points less error than `none` (p = 0.001): likely better, over only 2 seeds."""
    if row.found is None or row.baseline is None:
        return f"`{row.cell.name}` is not compared: {row.not_compared}."
    return _found(row, row.baseline, row.found)


def _found(row: Row, other: Cell, both: PairFindings) -> str:
    found = both.error
    amount = f"{percent(abs(found.difference))} points {'less' if found.difference < 0 else 'more'} error than"
    size = ", which is as large" if other is row.control else ""
    return (
        f"`{row.cell.name}` has {amount if found.difference else 'the same error as'} `{other.name}`{size} "
        f"({p_equals(found.p_holm)}): {verdict(both)}."
    )


def p_equals(p: float) -> str:
    """`p = 0.012`."""
    text = p_value(p)
    return f"p {text if text[0] == '<' else '= ' + text}"


def state(row: Row) -> str:
    """`1 failed, 1 missing, 1 collapsed, 1 guessing`: what a table says beside the number of seeds; empty if all is
    well."""
    failed = sum(run.info.get("state") == "failed" for run in row.without_results)
    unfinished = len(row.without_results) - failed
    counts = [(failed, "failed"), (unfinished, "unfinished"), (len(row.missing), "missing")]
    return ", ".join(f"{count} {what}" for count, what in [*counts, *_bad_ends(row)] if count)


def ended_badly(row: Row) -> str:
    """`1 of 2 collapsed`: what stands by a cell's name; empty if none is and none guesses."""
    return ", ".join(f"{count} of {len(row.cell.finished)} {what}" for count, what in _bad_ends(row) if count)


def _bad_ends(row: Row) -> list[tuple[int, str]]:
    return [(len(row.collapsed), "collapsed"), (len(row.guessing), "guessing")]


def coverage(report: Report, measures: Sequence[str] = ()) -> list[str]:
    """What stands below the table: what its numbers are and what its intervals cover. measures: names of those beside
    error and ECE in the grids."""
    several = {len(row.cell.finished) > 1 for row in report.rows if row.error}
    if not several:
        return ["No run of this study has results yet."]
    images = "test images only where n = 1 (another training may land outside them)"
    both = "test images and seeds where n > 1 (Student's t of the seeds' spread, added to that of the images)"
    over = {(False,): images, (True,): both, (False, True): f"{images}, {both}"}[tuple(sorted(several))]
    lines = [
        f"n: seeds with results; every number is the mean over them. 95% intervals of error and ECE cover {over}.",
        "ECE: expected calibration error, 15 bins of equal width, biased upwards in a finite sample, so that its "
        "interval reaches further down. Gap: mean confidence minus accuracy, in points; positive: overconfident.",
        "NLL in nats. Brier: squared error summed over classes, 0 to 2. Bold: the best, on each data set.",
    ]
    if set(measures) - {"test/error", "test/ece"}:
        lines.insert(
            1,
            "Other measures: n = 1, the run's own 95% interval over test images, if it has one; "
            "\u201cruns a to b\u201d is no interval but the lowest and the highest run (n = 2, or no interval of their "
            "own); n > 2, 95% over test images and seeds.",
        )
    return lines


def comparison_notes(report: Report) -> list[str]:
    """What stands below the table of comparisons."""
    compared = [found.error for row in report.rows for _, found in row.comparisons]
    if not compared:
        return []
    tests = " or ".join(dict.fromkeys(one.test for one in compared))
    count = f", Holm-corrected for {len(compared)} comparisons" if len(compared) > 1 else ""
    several = any(one.n_seeds > 1 for one in compared)
    over = "test images where one seed is shared" if any(one.n_seeds == 1 for one in compared) else ""
    over += ", " if over and several else ""
    over += "test images and the shared seeds" if several else ""
    return [
        f"Differences to the baseline in percentage points, with 95% intervals over {over}. p: {tests}, two-sided"
        f"{count}; p ECE alike, by a paired bootstrap over images, with or without its bias, whichever finds less.",
        *[AS_LARGE] * any(row.control for row in report.rows),
    ]


def problems(report: Report) -> list[tuple[str, str]]:
    """Name of each run without results, that collapsed or learnt nothing, or that is missing altogether, and why or
    which."""
    found = [(run.directory.name, run.problem) for run in report.runs if run.problem]
    found += list(report.unreadable.items())
    found += [
        (run.directory.name, "collapsed: a transformer ends with blank or constant views; its results count")
        for run in report.runs
        if run.collapsed
    ]
    found += [
        (run.directory.name, "has learnt nothing: saying the same of every image errs no more; its results count")
        for run in report.runs
        if run.guesses
    ]
    for row in report.rows:
        if row.missing:
            seeds = f"seed{'s' if len(row.missing) > 1 else ''} {', '.join(map(str, row.missing))}"
            found.append((row.cell.name, f"missing: {seeds}, which other cells have"))
    names = [" ".join(value for value in one.values() if value != ABSENT) for one in report.missing]
    found += [(name, "missing: no run is of this combination") for name in names]
    return found + [(name, "not started, although a sweep asked for it") for name in report.not_started]

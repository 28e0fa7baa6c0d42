"""Numbers and findings in words: the same in the terminal, in Markdown and on the page."""

from stnlab.reports.cells import ABSENT, Cell
from stnlab.reports.inference import PairFindings
from stnlab.reports.study import Report, Row

SIGNIFICANT = 0.05
SMALLEST_P = 1e-10


def percent(fraction: float, signed: bool = False) -> str:
    """`2.10`, or `+2.10` where the sign matters."""
    text = f"{100 * fraction:+.2f}" if signed else f"{100 * fraction:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def span(low: float, high: float, signed: bool = False) -> str:
    """`1.83 to 2.40`, in percent or points."""
    return f"{percent(low, signed)} to {percent(high, signed)}"


def p_value(p: float) -> str:
    """`0.012`, `3e-05`, `< 1e-10`."""
    if p < SMALLEST_P:
        return f"< {SMALLEST_P:.0e}"
    return f"{p:.1g}" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def findings(report: Report) -> list[str]:
    """What was found of each cell that was compared, or why it was not; names between backticks."""
    return [finding(row) for row in report.rows if row.comparison or row.not_compared]


def finding(row: Row) -> str:
    """`input affine` has 2.10 points less error than `none` … : significantly better. Then of its calibration."""
    if row.found is None or row.baseline is None:
        return f"`{row.cell.name}` is not compared: {row.not_compared}."
    return f"{_of_error(row, row.found, row.baseline)} {_of_calibration(row, row.found, row.baseline)}"


def _of_error(row: Row, both: PairFindings, baseline: Cell) -> str:
    found = both.error
    less = found.difference < 0
    low, high = (-found.high, -found.low) if less else (found.low, found.high)
    amount = f"{percent(abs(found.difference))} points {'less' if less else 'more'} error than"
    over = found.covers.replace("seeds", f"{found.n_seeds} seeds")
    verdict = "no significant difference"
    if found.p_holm < SIGNIFICANT:
        verdict = f"significantly {'better' if less else 'worse'}{_only_this_seed(found.n_seeds)}"
    return (
        f"`{row.cell.name}` has {amount if found.difference else 'the same error as'} `{baseline.name}` "
        f"(95% interval {span(low, high)}, over {over}; {found.test}, {_p(found.p_holm)}): {verdict}.{_reduced(both)}"
    )


def _only_this_seed(seeds: int) -> str:
    return "" if seeds > 1 else ", as far as one seed can say"


def _reduced(both: PairFindings) -> str:
    """The relative size: `It makes 32% fewer errors (26 to 38%).`"""
    found = both.reduction
    if found is None or not found.value:
        return ""
    ends = sorted((found.low, found.high), key=lambda end: end if found.value > 0 else -end)
    sign = 1 if found.value > 0 else -1
    kind = "fewer" if found.value > 0 else "more"
    low, high = (f"{100 * sign * end:z.0f}".replace("-", "\N{MINUS SIGN}") for end in ends)
    return f" It makes {100 * abs(found.value):.0f}% {kind} errors ({low} to {high}%)."


def _of_calibration(row: Row, both: PairFindings, baseline: Cell) -> str:
    found = both.ece
    less = found.difference < 0
    low, high = (-found.high, -found.low) if less else (found.low, found.high)
    verdict = "no significant difference in calibration"
    if found.p_holm < SIGNIFICANT:
        verdict = f"significantly {'better' if less else 'worse'} calibrated{_only_this_seed(both.error.n_seeds)}"
    amount = f"{percent(abs(found.difference))} points {'lower' if less else 'higher'}"
    return (
        f"Its ECE is {amount if found.difference else 'the same'} "
        f"({span(low, high)}; paired bootstrap, {_p(found.p_holm)}): {verdict}; "
        f"it is {confident(found.gap)}, `{baseline.name}` {confident(found.baseline_gap)}."
    )


def confident(gap: float) -> str:
    """`overconfident by 0.31 points`."""
    if abs(gap) < 0.5e-4:
        return "as confident as it is right"
    return f"{'over' if gap > 0 else 'under'}confident by {percent(abs(gap))} points"


def _p(p: float) -> str:
    text = p_value(p)
    return f"p {text if text[0] == '<' else '= ' + text}"


def state(row: Row) -> str:
    """`1 failed, seed 2 missing, 1 collapsed`: what a table says beside the number of seeds; empty if all is well."""
    failed = sum(run.info.get("state") == "failed" for run in row.without_results)
    unfinished = len(row.without_results) - failed
    counts = [(failed, "failed"), (unfinished, "unfinished"), (len(row.missing), "missing")]
    return ", ".join(f"{count} {what}" for count, what in [*counts, (len(row.collapsed), "collapsed")] if count)


def coverage(report: Report) -> list[str]:
    """What stands below the table: what its numbers are and what its intervals cover."""
    several = {len(row.cell.finished) > 1 for row in report.rows if row.error}
    scopes = {
        (False,): "test images only: another training may land outside them",
        (True,): "test images and seeds",
        (False, True): "test images only where n = 1, and over test images and seeds where n is larger",
    }
    if not several:
        return ["No run of this study has results yet."]
    lines = [
        "n: seeds with results; every number is the mean over them. "
        f"Intervals are 95%, over {scopes[tuple(sorted(several))]}.",
        "ECE: expected calibration error, 15 bins of equal width. That of a finite sample is biased upwards; "
        "its interval takes the bias off, and so reaches further down than up.",
        "Gap: mean confidence minus accuracy in percentage points; positive is overconfident, negative underconfident.",
        "NLL: negative log-likelihood in nats. Brier: squared error summed over classes, 0 to 2.",
    ]
    compared = [row.comparison for row in report.rows if row.comparison]
    if compared:
        tests = " or ".join(dict.fromkeys(one.test for one in compared))
        count = f", Holm-corrected for {len(compared)} comparisons" if len(compared) > 1 else ""
        lines.append(
            "Δ error: difference to the baseline in percentage points, over the same test images and shared seeds; "
            f"p: {tests}, two-sided{count}."
        )
        lines.append(
            "\u0394 ECE: the same of the ECE, by the paired hierarchical bootstrap with and without its estimate of "
            "the bias, whichever finds less; rough where one of the two is next to perfectly calibrated. p ECE is "
            "corrected in the same way."
        )
        lines.append("Bold: the lowest, on each data set.")
    return lines


def problems(report: Report) -> list[tuple[str, str]]:
    """Name of each run without results, that collapsed, or that is missing altogether, and why or which."""
    found = [(run.directory.name, run.problem) for run in report.runs if run.problem]
    found += list(report.unreadable.items())
    found += [
        (run.directory.name, "collapsed: a transformer ends with blank or constant views; its results count")
        for run in report.runs
        if run.collapsed
    ]
    for row in report.rows:
        if row.missing:
            seeds = f"seed{'s' if len(row.missing) > 1 else ''} {', '.join(map(str, row.missing))}"
            found.append((row.cell.name, f"missing: {seeds}, which other cells have"))
    names = [" ".join(value for value in one.values() if value != ABSENT) for one in report.missing]
    return found + [(name, "missing: no run is of this combination") for name in names]

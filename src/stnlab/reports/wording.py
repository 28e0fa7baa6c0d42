"""Numbers and findings in words: the same in the terminal, in Markdown and on the page."""

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
    """One sentence for each comparison, and for each cell that could not be compared; names between backticks."""
    return [finding(row) for row in report.rows if row.comparison or row.not_compared]


def finding(row: Row) -> str:
    """`input affine` has 2.10 points less error than `none` (95% interval …): significantly better."""
    found = row.comparison
    if found is None or row.baseline is None:
        return f"`{row.cell.name}` is not compared: {row.not_compared}."
    less = found.difference < 0
    low, high = (-found.high, -found.low) if less else (found.low, found.high)
    amount = f"{percent(abs(found.difference))} points {'less' if less else 'more'} error than"
    over = found.covers.replace("seeds", f"{found.n_seeds} seeds")
    p = p_value(found.p_holm)
    verdict = "no significant difference"
    if found.p_holm < SIGNIFICANT:
        verdict = f"significantly {'better' if less else 'worse'}"
    return (
        f"`{row.cell.name}` has {amount if found.difference else 'the same error as'} `{row.baseline.name}` "
        f"(95% interval {span(low, high)}, over {over}; {found.test}, p {p if p[0] == '<' else '= ' + p}): {verdict}."
    )


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
    return lines


def problems(report: Report) -> list[tuple[str, str]]:
    """Name of each run without results, and why."""
    found = [(run.directory.name, run.problem) for run in report.runs if run.problem]
    return found + list(report.unreadable.items())

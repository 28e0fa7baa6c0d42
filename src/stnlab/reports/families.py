"""What else is measured: means over seeds of `metrics.json`, in small tables by family, and what they say in words."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import inf

from stnlab.evaluation.invariance import WHOLE
from stnlab.evaluation.seeds import FEWEST
from stnlab.evaluation.temperature import NO_VALIDATION
from stnlab.reports import wording
from stnlab.reports.cells import ABSENT
from stnlab.reports.measures import measure_called, span_of
from stnlab.reports.results import Run
from stnlab.reports.sections import Section
from stnlab.reports.study import Report, Row

ARROW = " \N{RIGHTWARDS ARROW} "
MOST_NAMED = 3
"""Cells that a sentence says it of."""

Shown = tuple[str, str]
"""A value and what stands below it."""
Column = tuple[str, Callable[[Row], Shown]]

CALIBRATION = {
    "adaptive ECE %": "ece_adaptive",
    "classwise ECE %": "ece_classwise",
    "MCE %": "mce",
    "gap, points": "gap",
}
SCORES = {
    "NLL": "nll",
    "Brier": "brier",
    "reliability": "brier_reliability",
    "resolution": "brier_resolution",
    "AURC": "aurc",
}
SIDES = {
    "rotation": "rotation, \N{DEGREE SIGN}",
    "scale": "scale, octaves",
    "shift": "shift, px",
    "corners": "corners, px",
}
ORBITS = {
    "accuracy %": ("accuracy", wording.percent),
    "agreement %": ("agreement", wording.percent),
    "total variation": ("total_variation", "{:.3f}".format),
    "gap, points": ("gap", lambda value: wording.percent(value, signed=True)),
}
UNDONE = (
    (0.5, "mostly undone (less than half is left)"),
    (0.9, "partly undone (half or more is left)"),
    (inf, "not undone (nine tenths or more are left)"),
)
"""Below which share of the deviation is left, and what that is called."""
INVARIANCE = (
    "Invariance: the same images moved, inside / outside the range of training; whole: over all values that crop less "
    f"than {100 * WHOLE:.0f}% of them, where others crop more"
)
HEALTH = {
    "outside": ("pixels outside %", wording.percent),
    "blank": ("blank views %", wording.percent),
    "theta_spread": ("spread of warps, px", "{:.2f}".format),
    "theta_drift": ("mean warp from identity, px", "{:.2f}".format),
}


def families(report: Report) -> list[Section]:
    """Calibration, also after temperature scaling, invariance, rectification with equivariance, and health; of columns
    those that some cell has."""
    rows = [row for row in report.rows if row.cell.finished]
    names = sorted({name for row in rows for run in row.cell.finished if run.result for name in run.result.metrics})
    scaled = {"ECE %": "ece"} | CALIBRATION | SCORES
    after = _measures("temperature", scaled)
    found = [
        _section("Calibration", rows, [*_temperature(), *_measures("test", CALIBRATION)]),
        _section("Scores", rows, _measures("test", SCORES)),
        _section("After temperature scaling", rows, after),
        _section(INVARIANCE, rows, _invariance(rows, names)),
        _section("Rectification: input \N{RIGHTWARDS ARROW} residual", rows, _rectification(names)),
        _section("Equivariance error by depth (0: features move along)", rows, _equivariance(names)),
        _section("Health of the transformers", rows, _health(names)),
    ]
    return [one for one in found if one is not None]


def _section(title: str, rows: Sequence[Row], columns: Sequence[Column]) -> Section | None:
    """Without columns and cells that have nothing to say."""
    every = [(name, [of(row) for row in rows]) for name, of in columns]
    kept = [(name, shown) for name, shown in every if any(value for value, _ in shown)]
    lines = [
        [(row.cell.name, wording.ended_badly(row)), *(shown[number] for _, shown in kept)]
        for number, row in enumerate(rows)
        if any(shown[number][0] for _, shown in kept)
    ]
    return Section(title, ("cell", *(name for name, _ in kept)), lines) if kept else None


def _plain(name: str, form: Callable[[float], str] | None = None) -> Callable[[Row], Shown]:
    form = form or measure_called(name).text
    return lambda row: (form(row.cell.mean(name)) if row.cell.values(name) else "", "")


def _with_span(name: str) -> Callable[[Row], Shown]:
    measure = measure_called(name)
    return lambda row: (measure.text(row.cell.mean(name)), span_of(row, measure)) if row.cell.values(name) else ("", "")


def _both(first: str, second: str, form: Callable[[float], str], between: str = ARROW) -> Callable[[Row], Shown]:
    """`first -> second`; a dash for either that there is not, nothing if there is neither."""

    def shown(row: Row) -> Shown:
        texts = [form(row.cell.mean(name)) if row.cell.values(name) else ABSENT for name in (first, second)]
        return (between.join(texts) if row.cell.values(first) or row.cell.values(second) else ""), ""

    return shown


def _temperature() -> list[Column]:
    return [
        ("ECE %" + ARROW + "scaled", _both("test/ece", "temperature/ece", wording.percent)),
        ("T", _with_span("temperature/value")),
    ]


def _measures(split: str, measures: Mapping[str, str]) -> list[Column]:
    return [(title, _with_span(f"{split}/{name}")) for title, name in measures.items()]


def _invariance(rows: Sequence[Row], names: Sequence[str]) -> list[Column]:
    """Inside and outside the range of training; where an orbit crops images, over its values that leave them whole."""
    orbits = dict.fromkeys(found[1] for name in names if (found := re.match(r"invariance/(\w+)/accuracy$", name)))
    columns: list[Column] = []
    for orbit in orbits:
        stem, cropped = f"invariance/{orbit}", any(_crops(row, orbit) for row in rows)
        for title, (measure, form) in ORBITS.items():
            sides = _both(f"{stem}/inside/{measure}", f"{stem}/outside/{measure}", form, " / ")
            shown = _plain(f"{stem}/whole/{measure}", form) if cropped else sides
            columns.append((f"{orbit}{', whole' if cropped else ''}: {title}", shown))
    return columns


def _crops(row: Row, orbit: str) -> bool:
    """Whether some value of an orbit takes images out of the frame: what a network loses there is no lack of
    invariance."""
    return any(
        value >= WHOLE
        for run in row.cell.finished
        if run.result
        for name, value in run.result.metrics.items()
        if re.fullmatch(rf"invariance/{orbit}/[^/]+/cut", name)
    )


def _rectification(names: Sequence[str]) -> list[Column]:
    pattern = r"rectification/(\d+)/(rotation|scale|shift|corners)/input$"
    found = [match for name in names if (match := re.match(pattern, name))]
    several = len({match[1] for match in found}) > 1

    def form(value: float) -> str:
        return f"{value:.2f}"

    found.sort(key=lambda match: (int(match[1]), list(SIDES).index(match[2])))
    return [
        (
            SIDES[match[2]] + (f", transformer {match[1]}" if several else ""),
            _both(match[0], match[0].replace("/input", "/residual"), form),
        )
        for match in found
    ]


def _equivariance(names: Sequence[str]) -> list[Column]:
    found = [match for name in names if (match := re.match(r"equivariance/(\w+)/depth_(\d+)$", name))]
    found.sort(key=lambda match: (match[1], int(match[2])))
    return [(f"{match[1]}, depth {match[2]}", _plain(match[0])) for match in found]


def _health(names: Sequence[str]) -> list[Column]:
    numbers = sorted({found[1] for name in names if (found := re.match(r"health/outside/(\d+)$", name))}, key=int)
    columns: list[Column] = [
        (title + (f", transformer {number}" if len(numbers) > 1 else ""), _plain(f"health/{name}/{number}", form))
        for number in numbers
        for name, (title, form) in HEALTH.items()
    ]
    return [*columns, ("collapsed", _collapsed)] if numbers else []


def _collapsed(row: Row) -> Shown:
    found = row.cell.values("health/collapsed") if row.cell.values("health/outside/0") else []
    return (f"{sum(map(bool, found))} of {len(found)}" if found else ""), ""


def answers(report: Report) -> list[str]:
    """One sentence each, as far as there are measures: is a transformer better calibrated, is it better than a network
    as large, what does temperature scaling do, where is a network overconfident, is rotation undone. Names between
    backticks."""
    rows = [row for row in report.rows if row.cell.finished]
    said = (_calibrated(rows), _beyond_size(rows), _scaled(rows), _overconfident(rows), *_undone(rows), _unscaled(rows))
    return [one for one in said if one]


def _named(cells: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in cells[:MOST_NAMED])
    return shown + (f" and {len(cells) - MOST_NAMED} more" if len(cells) > MOST_NAMED else "")


def _calibrated(rows: Sequence[Row]) -> str:
    compared = [(row, row.found) for row in rows if row.found]
    if not compared:
        return ""
    sure = [(row.cell.name, found) for row, found in compared if found.ece.p_holm < wording.SIGNIFICANT]
    better = [name for name, found in sure if found.ece.difference < 0]
    worse = [name for name, found in sure if found.ece.difference > 0]
    parts = [f"{what} in {_named(names)}" for what, names in (("better", better), ("worse", worse)) if names]
    fewest = min(found.error.n_seeds for _, found in compared)
    return (
        f"Better calibrated than the baseline (ECE, p < 0.05)? {', '.join(parts) or 'Not shown'}; "
        f"{len(compared)} compared{wording.few_seeds(fewest)}."
    )


def _beyond_size(rows: Sequence[Row]) -> str:
    """Is what a transformer gains more than its parameters would?"""
    compared = [(row.cell.name, row.against_control) for row in rows if row.against_control]
    if not compared:
        return ""
    parts = []
    for measure, better, worse in (
        ("error", "less error", "more error"),
        ("ece", "better calibrated", "worse calibrated"),
    ):
        found = [(name, getattr(one, measure)) for name, one in compared]
        sure = [(name, one.difference < 0) for name, one in found if one.p_holm < wording.SIGNIFICANT]
        for what, wanted in ((better, True), (worse, False)):
            names = [name for name, lower in sure if lower == wanted]
            parts += [f"{what} in {_named(names)}"] if names else []
    fewest = min(found.error.n_seeds for _, found in compared)
    return (
        f"Against a network as large (p < 0.05): {'; '.join(parts) or 'no difference shown'}; "
        f"{len(compared)} compared{wording.few_seeds(fewest)}."
    )


def _scaled(rows: Sequence[Row]) -> str:
    pairs = [
        (row.cell.name, row.cell.mean("test/ece"), row.cell.mean("temperature/ece"))
        for row in rows
        if row.cell.values("temperature/ece")
    ]
    if not pairs:
        return ""
    changes = [after - before for _, before, after in pairs]
    worse = [name for name, before, after in pairs if after > before]
    if not worse:
        return f"Temperature scaling lowers the test ECE of all {len(pairs)} cells it was fitted for (not tested)."
    most = f"by at most {wording.percent(max(changes))} points, not tested"
    return (
        f"Temperature scaling makes the test ECE worse in {len(worse)} of {len(pairs)} cells: {_named(worse)} ({most})."
    )


def _overconfident(rows: Sequence[Row]) -> str:
    """The largest signed gap, of bins of the true pose and of poses outside the training range; where these crop
    images, of those that leave them whole."""
    found: list[tuple[float, str, str]] = []
    for row in rows:
        cell, names = row.cell, {name for run in row.cell.finished if run.result for name in run.result.metrics}
        for name in names:
            if match := re.fullmatch(r"by_pose/(\w+)/(\d\d)/confidence", name):
                stem = name.removesuffix("confidence")
                low, high = (cell.mean(stem + end) for end in ("low", "high"))
                gap = cell.mean(name) - 1 + cell.mean(stem + "error")
                found.append((gap, cell.name, f"at {match[1]} {low:.4g} to {high:.4g}".replace("-", "\N{MINUS SIGN}")))
            match = re.fullmatch(r"invariance/(\w+)/(outside|whole)/gap", name)
            if match and (match[2] == "whole") == _crops(row, match[1]):
                where = f"outside the {match[1]} range of training"
                whole = f"over every {match[1]} that leaves images whole"
                found.append((cell.mean(name), cell.name, whole if match[2] == "whole" else where))
    if not found:
        return ""
    gap, name, where = max(found)
    if gap <= 0:
        return "No cell is overconfident at any pose that was measured."
    return f"Most overconfident: `{name}`, {where}, by {wording.percent(gap)} points."


def _undone(rows: Sequence[Row]) -> list[str]:
    """Of each placement, for the cell whose transformer leaves the least: circular deviations before and after. A word
    for it only from as many seeds on as an interval needs."""
    names = ("rectification/0/rotation/input", "rectification/0/rotation/residual")
    by_placement: dict[str, list[tuple[float, float, str, int]]] = {}
    for row in rows:
        if all(row.cell.values(name) for name in names):
            before, after = (row.cell.mean(name) for name in names)
            if before > 1:  # degrees: else there is nothing to undo
                placement = str(row.cell.config["choices"]["placement"])
                by_placement.setdefault(placement, []).append(
                    (after / before, before, row.cell.name, len(row.cell.values(names[1])))
                )
    said = []
    for placement, members in by_placement.items():
        share, before, name, seeds = min(members)
        left = f"from {before:.1f}\N{DEGREE SIGN} to {share * before:.1f}\N{DEGREE SIGN} within a class (`{name}`)"
        few = wording.few_seeds(seeds)
        word = next(word for most, word in UNDONE if share < most)
        verdict = f"rotation is {word}: at best {left}{few}"
        measured = f"the least rotation left: {left}{few}, too few for a verdict"
        said.append(f"`placement={placement}`: {verdict if seeds >= FEWEST else measured}.")
    return said


def without_validation(runs: Sequence[Run]) -> list[Run]:
    """Those that have no temperature because no images were kept to fit it on."""
    needed = {"temperature/value", "val/error"}
    return [run for run in runs if run.result and not needed & set(run.result.metrics)]


def _unscaled(rows: Sequence[Row]) -> str:
    runs = [run for row in rows for run in row.cell.finished]
    lacking = without_validation(runs)
    return f"{len(lacking)} of {len(runs)} runs: {NO_VALIDATION}." if lacking else ""

"""A page for each run: everything that is known of it. Written again only when the run or the code has changed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import yaml
from matplotlib.figure import Figure

from stnlab.errors import StnlabError
from stnlab.evaluation import Interval
from stnlab.evaluation.catalogue import explanations
from stnlab.evaluation.intervals import covered
from stnlab.evaluation.temperature import NO_VALIDATION
from stnlab.figures import data_uri, svg
from stnlab.reports import cell_figures, line_figures
from stnlab.reports.cell_figures import Animation
from stnlab.reports.cells import Cell
from stnlab.reports.families import without_validation
from stnlab.reports.kept import digest
from stnlab.reports.page import templates
from stnlab.reports.pictures import Picture, moving_picture
from stnlab.reports.provenance import command, facts
from stnlab.reports.results import Run
from stnlab.reports.study import Report, Row
from stnlab.runs.files import write_bytes

SHOWN = ("python", "torch", "parameters")
"""Of `run.json`, beside what a study's page says of all runs."""
TITLES = {
    "reliability": "Calibration",
    "pose": "By pose",
    "orbit": "Invariance",
    "views": "What the transformer looks at",
    "frames": "Over the epochs of training",
    "rectification": "Rectification",
    "means": "Mean image of each class",
    "curves": "Learning curve",
}


def write_run_pages(report: Report, folder: Path, wanted: bool) -> dict[str, str]:
    """Path of a run -> address of its page, relative to the report. Writes those that are missing or out of date if
    they are wanted; else those that an earlier report wrote and are still true are linked."""
    pages: dict[str, str] = {}
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
    several = len(report.studies) > 1
    for row in report.rows:
        for run in row.cell.runs:
            name = f"{run.study}-{run.directory.name}" if several else run.directory.name
            path, made_of = folder / f"{name}.html", digest(run.made_of, row.cell.name, report.name)
            fresh = path.exists() and _noted(path) == made_of
            if wanted and not fresh:
                write_bytes(path, _page(report, row.cell, run, made_of))
            if wanted or fresh:
                pages[str(run.directory.path)] = f"{folder.name}/{path.name}"
    return pages


def _noted(path: Path) -> str | None:
    with path.open(encoding="utf-8") as file:
        found = re.search(r'name="stnlab-made-of" content="(\w+)"', file.read(1000))
    return found[1] if found else None


def _page(report: Report, cell: Cell, run: Run, made_of: str) -> bytes:
    sections, undrawn = _sections(cell, run)
    metrics = run.result.metrics if run.result else {}
    known = {key: value for key, value in run.info.items() if key not in ("overrides", "error", "schema", "state")}
    page = templates().get_template("run.html.j2")
    text = page.render(
        made_of=made_of,
        study=report.name,
        name=run.directory.name,
        cell=cell.name,
        seed=run.seed,
        problem=run.problem,
        facts=facts([run])
        | {key: f"{value:,}" if isinstance(value, int) else value for key, value in known.items() if key in SHOWN},
        command=command(cell, [run], run.study),
        undrawn=undrawn,
        unscaled=NO_VALIDATION if without_validation([run]) else "",
        sections=sections,
        measures=_measures(metrics),
        config=yaml.safe_dump(run.directory.config, sort_keys=False),
        info=json.dumps(run.info, indent=2),
        path=run.directory.path,
    )
    return text.encode()


def _measures(metrics: dict[str, float]) -> list[tuple[str, str, str, str, str]]:
    """Name, value, interval if there is one, unit or range, and what it is (of a name from other code: nothing)."""
    found = []
    for name, value in metrics.items():
        stem = name.removesuffix("_low").removesuffix("_high")
        if stem != name and stem in metrics:
            continue
        ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
        span = f"{_number(ends[0])} to {_number(ends[1])}" if ends[0] is not None and ends[1] is not None else ""
        rows = explanations(name)
        unit, meaning = "; ".join(dict.fromkeys(row.unit for row in rows)), "; ".join(row.meaning for row in rows)
        found.append((name, _number(value), span, unit, meaning))
    return found


def _number(value: float) -> str:
    return f"{value:.5g}".replace("-", "\N{MINUS SIGN}")


def _sections(cell: Cell, run: Run) -> tuple[list[tuple[str, list[Picture]]], list[str]]:
    """Titles and figures, and what could not be drawn."""
    name = f"{cell.name}, seed {run.seed}"
    row = Row(replace(cell, runs=[run]), ece=_own_interval(run))
    drawn: dict[str, list[Picture]] = {}
    undrawn = []
    for kind, make in cell_figures.KINDS.items():
        try:
            drawn[kind] = [_picture(figure, f"{kind} of {name}") for _, figure in make(row)]
        except StnlabError as error:
            undrawn.append(f"{kind} is not drawn: {error}")
    for kind, make_lines in line_figures.KINDS.items():
        try:
            drawn[kind] = [_picture(figure, f"{kind} of {name}") for _, figure in make_lines([row], "")]
        except StnlabError as error:
            undrawn.append(f"{kind} is not drawn: {error}")
    return [(title, drawn[kind]) for kind, title in TITLES.items() if drawn.get(kind)], undrawn


def _own_interval(run: Run) -> Interval | None:
    """Of its ECE, if the run has noted one."""
    metrics = run.result.metrics if run.result else {}
    if "test/ece_low" not in metrics or "test/ece_high" not in metrics:
        return None
    return Interval(metrics["test/ece_low"], metrics["test/ece_high"], covered(1))


def _picture(figure: Figure | Animation, shows: str) -> Picture:
    if isinstance(figure, Animation):
        return moving_picture(figure)
    return Picture("", shows, data_uri(svg(figure)), round(96 * figure.get_figwidth()))

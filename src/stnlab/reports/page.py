"""The study as one HTML page that needs nothing but itself."""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from stnlab.evaluation.seeds import FEWEST
from stnlab.reports import wording
from stnlab.reports.cells import ABSENT, flat, value_at
from stnlab.reports.families import answers, families
from stnlab.reports.measures import Measure
from stnlab.reports.options import DEFAULT, Options, arguments
from stnlab.reports.pictures import Pictures
from stnlab.reports.pivot import Grid, Key, grid_texts
from stnlab.reports.provenance import commands, facts
from stnlab.reports.results import Run
from stnlab.reports.sections import comparisons
from stnlab.reports.study import Report, code_name
from stnlab.reports.tables import best_cells, numbers, own_columns

MOST_SHOWN = 12
"""Sentences, rows, problems that a page shows without being asked for more."""


@cache
def templates() -> jinja2.Environment:
    """Of the study's page and of a run's: names are escaped, and a name that is not there is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stnlab.reports", "html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["file"] = _file
    environment.filters["unbroken"] = wording.unbroken
    return environment


def _file(name: str) -> Markup:
    """Style and script go into the page as they are."""
    return Markup(resources.files("stnlab.reports").joinpath("html", name).read_text(encoding="utf-8"))


def to_page(
    report: Report,
    pictures: Pictures,
    grid: Grid | None = None,
    measures: Sequence[Measure] = (),
    pages: Mapping[str, str] | None = None,
    options: Options = DEFAULT,
) -> bytes:
    """HTML with its style and figures inside. The same report gives the same bytes, whenever it is made.

    pages: path of a run -> relative address of its page. options: what the report was asked for, to ask for it again.
    """
    own, marked = own_columns(report), best_cells(report)
    page = templates().get_template("study.html.j2")
    text = page.render(
        report=report,
        summary=_summary(report),
        grid=grid,
        rows_begin=_beginnings(grid.rows) if grid else {},
        grids=[(measure, grid_texts(report, grid, measure)) for measure in measures] if grid else [],
        numbers=own,
        table=[
            (row, [(numbers(row)[name], number in marked.get(name, ())) for name in own])
            for number, row in enumerate(report.rows)
        ],
        coverage=wording.coverage(report, [measure.name for measure in measures]),
        notes=[*report.notes, *pictures.problems],
        compared=comparisons(report),
        comparison_notes=wording.comparison_notes(report),
        answers=answers(report),
        not_compared=wording.not_compared(report),
        beside=report.beside.tables if report.beside else [],
        families=families(report),
        of_families=wording.OF_FAMILIES,
        problems=wording.problems(report),
        pictures=pictures.sections,
        scaled=any(one.file.endswith("-scaled") for one in pictures.sections.get("reliability", [])),
        left_out=pictures.left_out,
        seeds=max(len(row.cell.finished) for row in report.rows),
        few=FEWEST,
        datasets=len({value_at(row.cell.config, "data") for row in report.rows}),
        facts=facts(report.runs),
        commands=commands(report),
        again=shlex.join(["python", "-m", "stnlab.report", *map(str, report.studies), *arguments(options)]),
        runs=[_run(run, (pages or {}).get(str(run.directory.path))) for run in report.runs],
        shared=_shared(report.runs),
        most=MOST_SHOWN,
    )
    return text.encode()


def _beginnings(keys: Sequence[Key]) -> dict[Key, bool]:
    """Whether the first part of a row's key is another than that of the row above: it is not printed again."""
    return {key: number == 0 or keys[number - 1][0] != key[0] for number, key in enumerate(keys)}


def _summary(report: Report) -> str:
    """What is the same for all cells, and how much there is of everything."""
    choices = [row.cell.config["choices"] for row in report.rows]
    groups = [group for group in ("data", "backbone", "recipe") if len({str(one.get(group)) for one in choices}) == 1]
    same = [str(choices[0][group]) for group in groups if group in choices[0]]
    images = {f"{len(outcomes.indices):,}" for row in report.rows if (outcomes := row.cell.outcomes)}
    counts = [f"{len(report.rows)} cells", f"{len(report.runs)} runs"]
    counts += [f"{' or '.join(sorted(images))} test images"] if images else []
    return " · ".join([*same, *counts])


def _run(run: Run, page: str | None) -> dict[str, str | None]:
    """A line of the table of runs, with the address of the run's page if it has one."""
    info = run.info

    def shown(key: str, form: str) -> str:
        return format(info[key], form) if info.get(key) is not None else ABSENT

    return {
        "name": run.directory.name,
        "page": page,
        "state": "collapsed" if run.collapsed else "guesses" if run.guesses else str(info.get("state")),
        "images": shown("images_seen", ",d"),
        "parameters": shown("parameters", ",d"),
        "seconds": shown("train_seconds", ",.0f"),
        "speed": shown("images_per_second", ",.0f"),
        "code": code_name(info),
    }


def _shared(runs: Sequence[Run]) -> list[str]:
    """`group.key: value` of everything that is the same in all runs."""
    every = [flat({key: value for key, value in run.config.items() if key != "choices"}) for run in runs]
    return [f"{key}: {value}" for key, value in every[0].items() if all(other.get(key) == value for other in every)]

"""The figures of a report, drawn and saved: one SVG for the page, one PNG for everything else, one PDF for papers if
asked for."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from stnlab.errors import StnlabError
from stnlab.figures import data_uri, pdf, png, svg
from stnlab.reports import cell_figures, line_figures
from stnlab.reports.cell_figures import Animation
from stnlab.reports.choice import drawn_rows, line_rows, not_drawn
from stnlab.reports.kept import digest, read_kept
from stnlab.reports.study import Report, Row
from stnlab.runs.files import write_bytes, write_json

KINDS = (*cell_figures.KINDS, *line_figures.KINDS)
STILL = "-last"
"""In the name of the file that is the end of an animation."""


@dataclass(frozen=True)
class Picture:
    """A saved figure: the name of its file without its ending, what it shows, its source as a data URI, its width in
    CSS pixels. still: of an animation, its end."""

    file: str
    shows: str
    source: str
    width: int
    still: str | None = None


@dataclass
class Pictures:
    """sections: kind of figure -> pictures in order of the table. problems: what could not be drawn, and why. left_out:
    in words, what was not drawn."""

    sections: dict[str, list[Picture]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def files(self) -> set[str]:
        return {picture.file for pictures in self.sections.values() for picture in pictures}


@dataclass(frozen=True)
class Task:
    """Figures to draw: their kind, what is in the names of their files, what they show, a digest of what they are made
    of, and what makes them."""

    kind: str
    name: str
    shows: str
    key: str
    make: Callable[[], Iterable[tuple[str, Figure | Animation]]]


def draw(report: Report, folder: Path, wanted: str | None = None, as_pdf: bool = False) -> Pictures:
    """Draw into `folder` what is not there already, made of the same, and remove from it the figures of an earlier
    report that are not drawn any more. as_pdf: as PDF, too, which takes as long as all else."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = report.folder / "cache" / "figures.json"
    drawn, known = Pictures(left_out=not_drawn(report, wanted)), read_kept(cache)
    made: dict[str, Any] = {}
    for task in [*_cell_tasks(report, wanted), *_line_tasks(report, wanted)]:
        entry = known.get(f"{task.kind}-{task.name}", {})
        pictures = _kept(folder, entry, as_pdf) if entry.get("key") == task.key else None
        if pictures is None:
            pictures, problem = _drawn(task, folder, as_pdf)
            if problem:
                drawn.problems.append(problem)
                entry = {}
            else:
                facts = [(one.file, one.shows, one.width, one.still is not None) for one in pictures]
                entry = {"key": task.key, "pictures": facts}
        made |= {f"{task.kind}-{task.name}": entry} if entry else {}
        drawn.sections[task.kind] += pictures
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_json(cache, made)
    for path in folder.iterdir():
        if path.suffix in (".svg", ".pdf", ".png") and path.stem.removesuffix(STILL) not in drawn.files:
            path.unlink()
    return drawn


def _drawn(task: Task, folder: Path, as_pdf: bool) -> tuple[list[Picture], str | None]:
    """What could be drawn, and in words what could not."""
    pictures: list[Picture] = []
    try:
        for suffix, figure in task.make():
            pictures.append(save(figure, folder, _file(task, suffix), f"{task.kind} of {task.shows}", as_pdf))
    except StnlabError as error:
        return pictures, f"{task.kind} of {task.shows} is not drawn, or lacks something: {error}"
    return pictures, None


def _cell_tasks(report: Report, wanted: str | None) -> Iterator[Task]:
    for row, name in _named(drawn_rows(report, wanted)):
        key = digest([run.made_of for run in row.cell.runs], row.cell.name, row.error, row.ece)
        for kind, make in cell_figures.KINDS.items():
            yield Task(kind, name, row.cell.name, key, partial(make, row))


def _line_tasks(report: Report, wanted: str | None) -> Iterator[Task]:
    lines = line_rows(report, wanted)
    for data, rows in lines.items():
        title = data if len(lines) > 1 else ""
        key = digest([(row.cell.name, run.made_of) for row in rows for run in row.cell.runs], title)
        for kind, make in line_figures.KINDS.items():
            yield Task(kind, title, title or report.name, key, partial(make, rows, title))


def _file(task: Task, suffix: str) -> str:
    return "-".join(part for part in (task.kind, task.name, suffix) if part)


def _kept(folder: Path, entry: dict[str, Any], as_pdf: bool) -> list[Picture] | None:
    """The pictures of an earlier report, None if one of their files is gone."""
    pictures = []
    for file, shows, width, moves in entry["pictures"]:
        names = [f"{file}.png", f"{file}{STILL}.png"] if moves else [f"{file}.svg", f"{file}.png"]
        names += [f"{file}.pdf"] if as_pdf and not moves else []
        if not all((folder / name).exists() for name in names):
            return None
        sources = [data_uri((folder / name).read_bytes(), "png" if moves else "svg+xml") for name in names[: 1 + moves]]
        pictures.append(Picture(file, shows, sources[0], width, sources[1] if moves else None))
    return pictures


def _named(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Each row with its cell's name as part of a file name, no two the same, whatever the case; without dots, which
    LaTeX takes for the beginning of a suffix."""
    taken: set[str] = set()
    for row in rows:
        plain = name = re.sub(r"[^\w=]+", "-", row.cell.name.replace(".", "_"))[:80].strip("-")
        while name.lower() in taken:
            name = f"{plain}-{len(taken)}"
        taken.add(name.lower())
        yield row, name


def save(figure: Figure | Animation, folder: Path, name: str, shows: str, as_pdf: bool = False) -> Picture:
    """Write the files of a figure: SVG, PNG and PDF if asked for, or the moving and the still PNG of an animation."""
    if isinstance(figure, Animation):
        write_bytes(folder / f"{name}.png", figure.moving)
        write_bytes(folder / f"{name}{STILL}.png", figure.still)
        return moving_picture(figure, name)
    drawn = svg(figure)
    write_bytes(folder / f"{name}.svg", drawn)
    if as_pdf:
        write_bytes(folder / f"{name}.pdf", pdf(figure))
    else:
        (folder / f"{name}.pdf").unlink(missing_ok=True)  # of an earlier report, of other runs
    write_bytes(folder / f"{name}.png", png(figure))
    return Picture(name, shows, data_uri(drawn), round(96 * figure.get_figwidth()))


def moving_picture(figure: Animation, name: str = "") -> Picture:
    moving, still = data_uri(figure.moving, "png"), data_uri(figure.still, "png")
    return Picture(name, figure.title, moving, figure.width, still)

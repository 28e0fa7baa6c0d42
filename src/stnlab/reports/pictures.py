"""The figures of a report, drawn and saved: one SVG for the page and for print, one PNG for everything else."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from stnlab.errors import StnlabError
from stnlab.figures import data_uri, png, svg
from stnlab.reports import cell_figures, line_figures
from stnlab.reports.cell_figures import Animation
from stnlab.reports.choice import drawn_rows, line_rows, not_drawn
from stnlab.reports.study import Report, Row
from stnlab.runs.files import write_bytes


@dataclass(frozen=True)
class Picture:
    """A saved figure: the name of its files, what it shows, its source as a data URI, its width in CSS pixels. still:
    of an animation, its end."""

    file: str
    shows: str
    source: str
    width: int
    still: str | None = None


@dataclass
class Pictures:
    """sections: kind of figure -> pictures in order of the table. problems: what could not be drawn, and why. left_out:
    in words, what was not drawn."""

    sections: dict[str, list[Picture]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def files(self) -> set[str]:
        return {picture.file for pictures in self.sections.values() for picture in pictures}

    def add(self, kind: str, picture: Picture) -> None:
        self.sections.setdefault(kind, []).append(picture)


def draw(report: Report, folder: Path, wanted: str | None = None) -> Pictures:
    """Draw into `folder`, and remove from it the figures of an earlier report that are not drawn any more."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = Pictures(left_out=not_drawn(report, wanted))
    for row, name in _named(drawn_rows(report, wanted)):
        for kind, make in cell_figures.KINDS.items():
            try:
                for suffix, figure in make(row):
                    drawn.add(kind, save(figure, folder, f"{kind}-{name}{suffix}", f"{kind} of {row.cell.name}"))
            except StnlabError as error:
                drawn.problems.append(f"{row.cell.name}: its {kind} is not drawn: {error}")
    lines = line_rows(report, wanted)
    for data, rows in lines.items():
        name = f"-{data}" if len(lines) > 1 else ""
        for kind, make_lines in line_figures.KINDS.items():
            try:
                for suffix, one in make_lines(rows, data if len(lines) > 1 else ""):
                    drawn.add(kind, save(one, folder, f"{kind}{suffix}{name}", f"{kind} {suffix} {data}"))
            except StnlabError as error:
                drawn.problems.append(f"{data}: {kind} is not drawn: {error}")
    for path in folder.iterdir():
        if path.suffix in (".svg", ".png") and path.stem not in drawn.files:
            path.unlink()
    return drawn


def _named(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Each row with its cell's name as part of a file name, no two the same, whatever the case."""
    taken: set[str] = set()
    for row in rows:
        plain = name = re.sub(r"[^\w.=]+", "-", row.cell.name)[:80].strip("-")
        while name.lower() in taken:
            name = f"{plain}-{len(taken)}"
        taken.add(name.lower())
        yield row, name


def save(figure: Figure | Animation, folder: Path, name: str, shows: str) -> Picture:
    """Write the files of a figure; an animation is a PNG alone."""
    if isinstance(figure, Animation):
        write_bytes(folder / f"{name}.png", figure.moving)
        source, still = data_uri(figure.moving, "png"), data_uri(figure.still, "png")
        return Picture(name, figure.title, source, figure.width, still)
    drawn = svg(figure)
    write_bytes(folder / f"{name}.svg", drawn)
    write_bytes(folder / f"{name}.png", png(figure))
    return Picture(name, shows, data_uri(drawn), round(96 * figure.get_figwidth()))

"""The results as a table: for the terminal, as CSV for machines, as Markdown for people."""

import csv
import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stnlab.evaluation import Reduction
from stnlab.evaluation.catalogue import is_headline
from stnlab.reports import wording
from stnlab.reports.cells import ABSENT
from stnlab.reports.families import answers, families
from stnlab.reports.measures import Measure, best, measure_called
from stnlab.reports.pivot import Grid, Place, grid_texts
from stnlab.reports.provenance import commands, distinct, facts
from stnlab.reports.results import FIVE
from stnlab.reports.sections import Section, comparisons
from stnlab.reports.study import Report, Row

OWN = ("n", "parameters", "error %", "ECE %", "gap", "NLL", "Brier")
NUMBERS = (*OWN, "\u0394 error", "p", "\u0394 ECE", "p ECE")
NARROWER = (("parameters",), ("NLL", "Brier"), ("\u0394 ECE", "p ECE"), ("gap",))
"""What a terminal that is too narrow does without, in this order."""
MOST_FINDINGS = 12
"""What a terminal is told in words; the page has all."""
MOST_PROBLEMS = 20
MEASURES = ["error", "error_low", "error_high", "ece", "ece_low", "ece_high", "nll", "brier", "gap", "intervals_cover"]
COMPARED = ["baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "test", "compared_seeds"]
COMPARED += ["error_reduction", "error_reduction_low", "error_reduction_high"]
COMPARED += ["ece_difference", "ece_difference_low", "ece_difference_high", "ece_p", "ece_p_holm"]
COMPARED += [f"control{end}" for end in ("", "_difference", "_difference_low", "_difference_high", "_p_holm")]
COMPARED += [f"control_ece{end}" for end in ("_difference", "_difference_low", "_difference_high", "_p_holm")]
TRAINING = ["val_error", "val_ece", "parameters", "images_seen", "train_seconds"]
MADE = ["commit", "device", "precision", "threads"]
STATES = ["seeds_missing", "seeds_collapsed", "seeds_guessing", "problems"]
CSV_COLUMNS = ["n_seeds", "seeds", "n_images", *MEASURES, *COMPARED, *TRAINING, *MADE, *STATES]
"""After the columns that tell the cells apart. Fractions, not percent; empty where there is nothing to say."""


def numbers(row: Row) -> dict[str, tuple[str, str]]:
    """What stands under NUMBERS: each value and, beside or below it, its interval; empty where there is none.
    Beside the number of seeds stand those that failed, are missing, collapsed, or guess."""
    shown = dict.fromkeys(NUMBERS, ("", "")) | {"n": (str(len(row.cell.finished)), wording.state(row))}
    if row.error is None or row.ece is None:
        return shown
    mean, size = row.cell.mean, row.cell.parameters
    shown |= {
        "parameters": ("" if size is None else f"{size:,}", ""),
        "error %": (wording.percent(mean("error")), wording.span(row.error.low, row.error.high)),
        "ECE %": (wording.percent(mean("ece")), wording.span(row.ece.low, row.ece.high)),
        "gap": (wording.percent(row.cell.gap, signed=True), ""),
        "NLL": (f"{mean('nll'):.3f}", ""),
        "Brier": (f"{mean('brier'):.4f}", ""),
    }
    found = row.found
    pairs = (("error", "p", found.error), ("ECE", "p ECE", found.ece)) if found else ()
    for name, p, one in pairs:
        difference = wording.percent(one.difference, signed=True), wording.span(one.low, one.high, signed=True)
        shown |= {f"\u0394 {name}": difference, p: (wording.p_value(one.p_holm), "")}
    return shown


def own_columns(report: Report) -> list[str]:
    """Of OWN, those to show: how large networks are where they are not all alike."""
    sizes = {row.cell.parameters for row in report.rows if row.cell.finished}
    return [name for name in OWN if name != "parameters" or len(sizes) > 1]


def best_cells(report: Report) -> dict[str, set[int]]:
    """Of the columns of NUMBERS that are marked: the numbers of the rows that are best."""
    named = {"error %": "error", "ECE %": "ece", "NLL": "nll", "Brier": "brier"}
    return {column: best(report.rows, measure_called(name)) for column, name in named.items()}


def to_csv(report: Report) -> bytes:
    """One line a cell: what tells it from the others, CSV_COLUMNS, then the other measures of `metrics.json` that are
    no detail, under their names there, as means over seeds; numbers to the last digit."""
    buffer = io.StringIO()
    more = scalars(report)
    columns = [*CSV_COLUMNS, *(report.beside.csv_columns() if report.beside else ()), *more]
    writer = csv.DictWriter(buffer, [*report.columns, *columns], lineterminator="\n")
    writer.writeheader()
    for row in report.rows:
        means = {name: row.cell.mean(name) for name in more if row.cell.values(name)}
        labels = {column: "" if value == ABSENT else value for column, value in row.cell.labels.items()}
        writer.writerow(labels | _csv_values(row) | (report.beside.csv_values(row) if report.beside else {}) | means)
    return buffer.getvalue().encode()


def scalars(report: Report) -> list[str]:
    """Names of the measures that some run has and CSV_COLUMNS have not."""
    every = dict.fromkeys(name for run in report.runs if run.result for name in run.result.metrics)
    known = {f"test/{name}" for name in (*FIVE, "gap")}
    return sorted(name for name in every if is_headline(name) and not name.startswith("val/") and name not in known)


def _csv_values(row: Row) -> dict[str, str | float]:
    finished = row.cell.finished
    problems = [f"seed {run.seed}: {run.problem}" for run in row.cell.runs if run.problem]
    values: dict[str, str | float] = {
        "n_seeds": len(finished),
        "seeds": " ".join(str(run.seed) for run in finished),
        "seeds_missing": " ".join(map(str, row.missing)),
        "seeds_collapsed": " ".join(str(run.seed) for run in row.collapsed),
        "seeds_guessing": " ".join(str(run.seed) for run in row.guessing),
        "problems": "; ".join(problems),
    }
    values |= {name: distinct(finished, name) for name in MADE}
    if outcomes := row.cell.outcomes:
        values["n_images"] = len(outcomes.indices)
        values |= {name: row.cell.mean(name) for name in ("error", "ece", "nll", "brier")} | {"gap": row.cell.gap}
    if row.error and row.ece:
        values |= {"error_low": row.error.low, "error_high": row.error.high, "intervals_cover": row.error.covers}
        values |= {"ece_low": row.ece.low, "ece_high": row.ece.high}
    if (both := row.found) and (found := row.comparison) and row.baseline:
        values |= {"baseline": row.baseline.name, "p": found.p, "p_holm": found.p_holm, "test": found.test}
        values |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
        values |= {"compared_seeds": found.n_seeds, "ece_p": both.ece.p, "ece_p_holm": both.ece.p_holm}
        for name, one in (("error_reduction", both.reduction), ("ece_difference", both.ece)):
            if one is not None:
                observed = one.value if isinstance(one, Reduction) else one.difference
                values |= {name: observed, f"{name}_low": one.low, f"{name}_high": one.high}
    if row.control and row.against_control:
        values["control"] = row.control.name
        for name, against in (("control", row.against_control.error), ("control_ece", row.against_control.ece)):
            values |= {f"{name}_difference": against.difference, f"{name}_p_holm": against.p_holm}
            values |= {f"{name}_difference_low": against.low, f"{name}_difference_high": against.high}
    return values | _training_values(row)


def _training_values(row: Row) -> dict[str, float]:
    """Means over the seeds with results: validation (what choices are made on), size and cost."""
    recorded = [run.info | run.directory.metrics for run in row.cell.finished]
    names = {"val/error": "val_error", "val/ece": "val_ece"} | {name: name for name in TRAINING[2:]}
    return {
        column: sum(one[name] for one in recorded) / len(recorded)
        for name, column in names.items()
        if recorded and all(name in one for one in recorded)
    }


def to_markdown(report: Report, grid: Grid | None = None, measures: Sequence[Measure] = ()) -> bytes:
    """Title, grids, table, what its intervals cover, findings, and what is missing. The best is bold."""
    lines = [f"# {report.name}", ""]
    for measure in measures if grid else ():
        lines += _grid_lines(report, grid, measure) if grid else []
    own, marked = own_columns(report), best_cells(report)
    lines += [_line([*report.columns, *own]), _line(["---"] * len(report.columns) + ["---:"] * len(own))]
    for number, row in enumerate(report.rows):
        shown, values = [], numbers(row)
        for column in own:
            value, span = values[column]
            strong = f"**{value}**" if value and number in marked.get(column, ()) else value
            shown.append(f"{strong} ({span})" if span else strong)
        lines.append(_line([*row.cell.shown.values(), *shown]))
    below = wording.coverage(report, [measure.name for measure in measures])
    lines += ["", *(f"{line}  " for line in below), ""]
    if found := comparisons(report):
        lines += [*_section_lines(found), *(f"{line}  " for line in wording.comparison_notes(report)), ""]
    lines += [f"- {sentence}" for sentence in (*answers(report), *wording.not_compared(report))]
    for section, notes in report.beside.tables if report.beside else ():
        lines += ["", *_section_lines(section), *(f"{line}  " for line in notes)]
    if measured := families(report):
        lines += ["", wording.OF_FAMILIES]
    for section in measured:
        lines += ["", *_section_lines(section)]
    lines += ["", "**How it was made**", "", *(f"- {name}: {value}" for name, value in facts(report.runs).items())]
    lines += ["", "```bash", *commands(report), "```"]
    lines += ["", *report.notes] if report.notes else []
    lines += ["", *(f"- `{name}`: {problem}" for name, problem in wording.problems(report))]
    return ("\n".join(lines).rstrip() + "\n").encode()


def _section_lines(section: Section) -> list[str]:
    rule = ["---" if section.is_words(column) else "---:" for column in range(len(section.header))]
    rows = [_line([f"{value} ({span})" if span else value for value, span in row]) for row in section.rows]
    return [f"**{section.title}**", "", _line(list(section.header)), _line(rule), *rows, ""]


def _grid_lines(report: Report, grid: Grid, measure: Measure) -> list[str]:
    """One measure of a grid as a Markdown table with its title."""
    header = [*grid.down, *(" ".join(column) for column in grid.columns)]
    lines = [f"**{measure.heading}**", "", _line(header)]
    lines.append(_line(["---"] * len(grid.down) + ["---:"] * len(grid.columns)))
    for row, places in grid_texts(report, grid, measure):
        texts = [_place_text(place) for place in places]
        lines.append(_line([*row, *texts]))
    return [*lines, ""]


def _place_text(place: Place) -> str:
    value = f"**{place.value}**" if place.best else place.value
    return f"{value} ({place.inside})".strip() if place.inside else value


def print_table(report: Report, console: Console) -> None:
    """The table, its footnotes, the findings and the missing runs. A narrow terminal gets fewer columns."""
    own, width = own_columns(report), console.options.update(max_width=1000)
    names = [name for name in NUMBERS if name not in OWN or name in own]
    for dropped in NARROWER:
        if console.measure(_table(report, names), options=width).maximum <= console.width:
            break
        names = [name for name in names if name not in dropped]
    console.print(_table(report, names))
    for line in (*wording.coverage(report), *wording.comparison_notes(report)):
        console.print(Text(line, style="dim"))
    console.print()
    findings = [*wording.findings(report), *answers(report)]
    for sentence in findings[:MOST_FINDINGS]:
        console.print(Text(sentence.replace("`", "")))
    if len(findings) > MOST_FINDINGS:
        console.print(Text(f"{len(findings) - MOST_FINDINGS} more such lines are on the page.", style="dim"))
    for note in report.notes:
        console.print(Text(note, style="yellow"))
    problems = wording.problems(report)
    for name, problem in problems[:MOST_PROBLEMS]:
        console.print(Text(f"{name}: {problem}", style="red"))
    if len(problems) > MOST_PROBLEMS:
        console.print(Text(f"{len(problems) - MOST_PROBLEMS} more such runs are on the page.", style="red"))


def print_grid(report: Report, grid: Grid, measure: Measure, console: Console) -> None:
    """One measure laid out in rows and columns, as on the page; in several blocks of columns if they are too wide."""
    across = f", columns: {', '.join(grid.across)}" if grid.across else ""
    console.print(Text(f"study {report.name}: {measure.heading}{across}", style="bold"))
    numbers, width = list(range(len(grid.columns))), console.options.update(max_width=1000)
    while numbers:
        count = len(numbers)
        while count > 1:
            block = _grid_block(report, grid, measure, numbers[:count])
            if console.measure(block, options=width).maximum <= console.width:
                break
            count -= 1
        console.print(_grid_block(report, grid, measure, numbers[:count]))
        numbers = numbers[count:]


def _grid_block(report: Report, grid: Grid, measure: Measure, numbers: Sequence[int]) -> Table:
    """The columns of these numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in grid.down:
        table.add_column(Text(name.replace(".", ".\n")), overflow="fold", min_width=5)
    for number in numbers:
        table.add_column(Text(" ".join(grid.columns[number]) or measure.heading), justify="right", no_wrap=True)
    for row, places in grid_texts(report, grid, measure):
        chosen = [places[number] for number in numbers]
        shown = [_two_lines(place.value, place.inside.replace("; ", "\n"), place.best) for place in chosen]
        table.add_row(*map(Text, row), *shown)
    return table


def _table(report: Report, names: Sequence[str]) -> Table:
    """The results, of NUMBERS those named; as tight as can be if that is not all."""
    tight = len(names) < len(NUMBERS)
    title = Text(f"study {report.name}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", collapse_padding=tight, pad_edge=False)
    for column in report.columns:
        table.add_column(Text(column.replace(".", ".\n")), overflow="fold", min_width=5)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    marked = best_cells(report)
    for number, row in enumerate(report.rows):
        style = "" if row.cell.finished else "red"
        labels = [Text(value, style=style) for value in row.cell.shown.values()]
        values = numbers(row)
        shown = [_two_lines(*values[name], strong=number in marked.get(name, ())) for name in names]
        table.add_row(*labels, *shown)
    return table


def _two_lines(value: str, span: str, strong: bool) -> Text:
    """The interval below its value, as short as can be, its ends apart from any sign."""
    text = Text(value, style="bold" if strong else "")
    if span:
        text.append("\n" + span.replace(" to ", "\N{HORIZONTAL ELLIPSIS}").replace(", ", "\n"), style="dim")
    return text


def _line(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", r"\|") for value in values) + " |"

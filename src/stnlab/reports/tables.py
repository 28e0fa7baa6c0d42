"""The results as a table: for the terminal, as CSV for machines, as Markdown for people."""

import csv
import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stnlab.reports import wording
from stnlab.reports.study import Report, Row

NUMBERS = ("n", "error %", "ECE %", "NLL", "Brier", "Δ error", "p")
MEASURES = ["error", "error_low", "error_high", "ece", "ece_low", "ece_high", "nll", "brier", "intervals_cover"]
COMPARED = ["baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "test", "compared_seeds"]
TRAINING = ["val_error", "val_ece", "parameters", "images_seen", "train_seconds"]
CSV_COLUMNS = ["n_seeds", "seeds", "n_images", *MEASURES, *COMPARED, *TRAINING, "problems"]
"""After the columns that tell the cells apart. Fractions, not percent; empty where there is nothing to say."""


def numbers(row: Row) -> list[tuple[str, str]]:
    """What stands under NUMBERS: each value and, beside or below it, its interval; empty where there is none."""
    count = str(len(row.cell.finished))
    if row.error is None or row.ece is None:
        return [(count, "")] + [("", "")] * (len(NUMBERS) - 1)
    mean, found = row.cell.mean, row.comparison
    shown = [
        (count, ""),
        (wording.percent(mean("error")), wording.span(row.error.low, row.error.high)),
        (wording.percent(mean("ece")), wording.span(row.ece.low, row.ece.high)),
        (f"{mean('nll'):.3f}", ""),
        (f"{mean('brier'):.4f}", ""),
    ]
    if found is None:
        return [*shown, ("", ""), ("", "")]
    difference = wording.percent(found.difference, signed=True), wording.span(found.low, found.high, signed=True)
    return [*shown, difference, (wording.p_value(found.p_holm), "")]


def to_csv(report: Report) -> bytes:
    """One line a cell: what tells it from the others, then CSV_COLUMNS, numbers to the last digit."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*report.columns, *CSV_COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.cell.labels | _csv_values(row) for row in report.rows)
    return buffer.getvalue().encode()


def _csv_values(row: Row) -> dict[str, str | float]:
    finished = row.cell.finished
    problems = [f"seed {run.seed}: {run.problem}" for run in row.cell.runs if run.problem]
    values: dict[str, str | float] = {
        "n_seeds": len(finished),
        "seeds": " ".join(str(run.seed) for run in finished),
        "problems": "; ".join(problems),
    }
    if outcomes := row.cell.outcomes:
        values["n_images"] = len(outcomes.indices)
        values |= {name: row.cell.mean(name) for name in ("error", "ece", "nll", "brier")}
    if row.error and row.ece:
        values |= {"error_low": row.error.low, "error_high": row.error.high, "intervals_cover": row.error.covers}
        values |= {"ece_low": row.ece.low, "ece_high": row.ece.high}
    if (found := row.comparison) and row.baseline:
        values |= {"baseline": row.baseline.name, "p": found.p, "p_holm": found.p_holm, "test": found.test}
        values |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
        values["compared_seeds"] = found.n_seeds
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


def to_markdown(report: Report) -> bytes:
    """Title, table, what its intervals cover, findings, and what is missing."""
    header = [*report.columns, *NUMBERS]
    lines = [f"# {report.name}", "", _line(header), _line(["---"] * len(report.columns) + ["---:"] * len(NUMBERS))]
    for row in report.rows:
        shown = [f"{value} ({span})" if span else value for value, span in numbers(row)]
        lines.append(_line([*row.cell.labels.values(), *shown]))
    lines += ["", *(f"{line}  " for line in wording.coverage(report)), ""]
    lines += [f"- {sentence}" for sentence in wording.findings(report)]
    lines += ["", *report.notes] if report.notes else []
    lines += ["", *(f"- `{name}`: {problem}" for name, problem in wording.problems(report))]
    return ("\n".join(lines).rstrip() + "\n").encode()


def print_table(report: Report, console: Console) -> None:
    """The table, its footnotes, the findings and the missing runs. A narrow terminal does without NLL and Brier."""
    whole = _table(report, NUMBERS)
    fits = console.measure(whole, options=console.options.update(max_width=1000)).maximum <= console.width
    console.print(whole if fits else _table(report, [name for name in NUMBERS if name not in ("NLL", "Brier")]))
    for line in wording.coverage(report):
        console.print(Text(line, style="dim"))
    console.print()
    for sentence in wording.findings(report):
        console.print(Text(sentence.replace("`", "")))
    for note in report.notes:
        console.print(Text(note, style="yellow"))
    for name, problem in wording.problems(report):
        console.print(Text(f"{name}: {problem}", style="red"))


def _table(report: Report, names: Sequence[str]) -> Table:
    """The results, of NUMBERS those named; as tight as can be if that is not all."""
    tight = len(names) < len(NUMBERS)
    title = Text(f"study {report.name}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", collapse_padding=tight, pad_edge=False)
    for column in report.columns:
        table.add_column(Text(column.replace(".", ".\n")), overflow="fold", min_width=5)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        style = "" if row.cell.finished else "red"
        labels = [Text(value, style=style) for value in row.cell.labels.values()]
        values = dict(zip(NUMBERS, numbers(row), strict=True))
        table.add_row(*labels, *(_two_lines(*values[name]) for name in names))
    return table


def _two_lines(value: str, span: str) -> Text:
    """The interval below its value, as short as can be."""
    text = Text(value)
    if span:
        joined = "\N{HORIZONTAL ELLIPSIS}" if "\N{MINUS SIGN}" in span else "\N{EN DASH}"
        text.append("\n" + span.replace(" to ", joined), style="dim")
    return text


def _line(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", r"\|") for value in values) + " |"

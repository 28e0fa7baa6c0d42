"""What papers say of a study, as tables and words that the page, Markdown, LaTeX and CSV share."""

from collections.abc import Sequence
from dataclasses import dataclass

from stnlab.reports import claims, published
from stnlab.reports.papers import Paper
from stnlab.reports.sections import Section
from stnlab.reports.study import Report, Row


@dataclass(frozen=True)
class BesidePapers:
    """printed: our numbers beside those of papers. decided: name of a paper -> its claims, as this study decides them.
    Both are empty where no paper is about these cells."""

    papers: Sequence[Paper]
    printed: list[published.Beside]
    decided: dict[str, list[claims.Decision]]

    @property
    def tables(self) -> list[tuple[Section, list[str]]]:
        """Each with what stands below it."""
        own = published.section(self.printed)
        tables = [(own, published.notes(self.printed, self.papers))] if own else []
        found = [claims.section(name, decisions) for name, decisions in self.decided.items()]
        sections = [one for one in found if one]
        last = len(sections) - 1
        return tables + [(one, claims.notes(self.decided) if n == last else []) for n, one in enumerate(sections)]

    @property
    def summaries(self) -> list[str]:
        """A line for each printed number, and `Claims of ...: 3 supported, 1 contradicted, 2 undecided.`"""
        return published.summary(self.printed) + [
            claims.summary(name, decisions) for name, decisions in self.decided.items()
        ]

    def csv_columns(self) -> list[str]:
        return list(published.CSV_COLUMNS) if self.printed else []

    def csv_values(self, row: Row) -> dict[str, str | float]:
        return published.csv_values(self.printed, row)


def beside_papers(report: Report, papers: Sequence[Paper]) -> BesidePapers:
    """Numbers and claims of the papers that this study has cells for."""
    decided = {paper.name: claims.decide(report, paper) for paper in papers if paper.claims}
    printed = published.beside(report, papers)
    return BesidePapers(papers, printed, {name: found for name, found in decided.items() if found})

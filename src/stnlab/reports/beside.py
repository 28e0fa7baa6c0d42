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
        named = dict.fromkeys(one.printed.paper for one in self.printed)
        tables = [(own, [*published.notes(self.printed, self.papers), *map(self._cited, named)])] if own else []
        found = {name: claims.section(name, decisions) for name, decisions in self.decided.items()}
        tables += [(section, [self._cited(name)]) for name, section in found.items() if section]
        if any(found.values()):
            tables[-1][1].extend(claims.notes(self.decided))
        return tables

    def _cited(self, name: str) -> str:
        return f"{name}: {next(paper.citation for paper in self.papers if paper.name == name)}"

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

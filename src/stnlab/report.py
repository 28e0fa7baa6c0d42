"""`python -m stnlab.report runs/<study>`: table, CSV, Markdown, LaTeX and page, from run directories alone."""

from stnlab.command import run_command
from stnlab.imports import importing
from stnlab.reports.options import HELP, USAGE, parse


def main(arguments: list[str]) -> int:
    """Write the report and print its table."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\n\n{HELP}")
        print("--metrics: explain every name in metrics.json instead, those of any study.")
        return 0
    if "--metrics" in arguments:
        from stnlab.reports.explanations import print_explanations

        print_explanations()
        return 0
    studies, options = parse(arguments)
    with importing():
        from stnlab.reports import print_report, write_report

    print_report(write_report(studies, options), options=options)
    return 0


if __name__ == "__main__":
    run_command(main)

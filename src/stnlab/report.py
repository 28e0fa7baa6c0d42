"""`python -m stnlab.report runs/<study>`: table, CSV, Markdown and page of a study, from its run directories alone."""

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError

USAGE = "python -m stnlab.report runs/<study> [baseline=placement=none]"


def main(arguments: list[str]) -> int:
    """Write `<study>/report/` and print its table."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\nbaseline: the cell that others are compared with; the one without a transformer.")
        print("--metrics: explain every name in metrics.json instead.")
        return 0
    if arguments == ["--metrics"]:
        from stnlab.reports.explanations import print_explanations

        print_explanations()
        return 0
    path, overrides = path_and_overrides(arguments, USAGE)
    baseline = None
    for option in overrides:
        key, _, value = option.partition("=")
        if key != "baseline" or not value:
            raise StnlabError(f"{option}: no such option; {USAGE}")
        baseline = value
    from stnlab.reports import print_report, write_report

    print_report(write_report(path, baseline))
    return 0


if __name__ == "__main__":
    run_command(main)

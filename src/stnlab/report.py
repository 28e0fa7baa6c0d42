"""`python -m stnlab.report runs/<study>`: table, CSV, Markdown and page of a study, from its run directories alone."""

from stnlab.command import path_and_overrides, run_command

USAGE = "python -m stnlab.report runs/<study> [baseline=placement=none]"


def main(arguments: list[str]) -> int:
    """Write `<study>/report/` and print its table."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\nbaseline: the cell that others are compared with; the one without a transformer.")
        return 0
    path, overrides = path_and_overrides(arguments, USAGE)
    from stnlab.compose import compose
    from stnlab.reports import print_report, write_report

    config = compose("report", overrides)
    print_report(write_report(path, config["baseline"]))
    return 0


if __name__ == "__main__":
    run_command(main)

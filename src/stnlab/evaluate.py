"""`python -m stnlab.evaluate runs/<study>/<run>`: the metrics of a finished run again, from its checkpoint."""

import math

from rich.console import Console
from rich.table import Table

from stnlab.command import path_and_overrides, run_command

USAGE = "python -m stnlab.evaluate runs/<study>/<run> [trainer=cpu|gpu] [root=<data folder>]"
TOLERANCE = 1e-6
"""Of another device, thread count or version of torch; the same machine gives the same bits."""


def main(arguments: list[str]) -> int:
    """Print both sets of metrics side by side; status 1 if they differ."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\nExit status 1 if a metric differs from metrics.json by more than {TOLERANCE:g}.")
        return 0
    path, overrides = path_and_overrides(arguments, USAGE)
    from stnlab.compose import compose

    config = compose("evaluate", overrides)
    from stnlab.training.evaluation import evaluate_run
    from stnlab.training.loading import finished

    run = finished(path)
    again, recorded = evaluate_run(run, config), run.metrics
    table = Table("metric", "checkpoint", "metrics.json", title=run.name)
    for name, value in again.items():
        table.add_row(name, f"{value:.6f}", f"{recorded.get(name, math.nan):.6f}")
    Console().print(table)
    largest = max(abs(value - recorded.get(name, math.nan)) for name, value in again.items())
    equal = largest <= TOLERANCE
    print("equal" if largest == 0 else f"largest difference {largest:.2g}{'' if equal else ': not equal'}")
    return 0 if equal else 1


if __name__ == "__main__":
    run_command(main)

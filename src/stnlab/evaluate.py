"""`python -m stnlab.evaluate runs/<study>/<run>`: the metrics of a finished run again, from its checkpoint."""

import math
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from stnlab.command import path_and_overrides, run_command
from stnlab.evaluation.catalogue import is_headline

USAGE = "python -m stnlab.evaluate runs/<study>/<run> [trainer=cpu|gpu] [root=<data folder>]"
TOLERANCE = 1e-6
"""Of another device, thread count or version of torch; the same machine gives the same bits."""


def main(arguments: list[str]) -> int:
    """Print both sets of metrics side by side; status 1 if one that `metrics.json` holds is another now."""
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
    Console().print(_table(run.name, again, recorded))
    if new := again.keys() - recorded.keys():
        print(f"{len(new)} metrics are not in metrics.json, which an earlier version wrote")
    differences = {name: abs(again.get(name, math.nan) - value) for name, value in recorded.items()}
    differing = [name for name, difference in differences.items() if not difference <= TOLERANCE]
    if differing:
        print(f"{len(differing)} of {len(recorded)} metrics differ: not equal")
        return 1
    largest = max(differences.values(), default=0.0)
    print("equal" if largest == 0 else f"largest difference {largest:.2g}")
    return 0


def _table(title: str, again: Mapping[str, float], recorded: Mapping[str, float]) -> Table:
    """What people read, and every metric that differs."""
    table = Table("metric", "checkpoint", "metrics.json", title=title)
    for name in dict.fromkeys([*again, *recorded]):
        pair = [values.get(name, math.nan) for values in (again, recorded)]
        if is_headline(name) or (name in recorded and not abs(pair[0] - pair[1]) <= TOLERANCE):
            table.add_row(name, *(f"{value:.6f}" for value in pair))
    return table


if __name__ == "__main__":
    run_command(main)

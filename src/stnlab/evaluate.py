"""`python -m stnlab.evaluate runs/<study>/<run>`: the metrics of a finished run again, from its checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError
from stnlab.evaluation.catalogue import is_headline
from stnlab.runs.directory import RunDirectory, find_runs

USAGE = (
    "python -m stnlab.evaluate runs/<study>[/<run>] [--update] [--config-dir=my_conf] [trainer=cpu|gpu] "
    "[root=<data folder>]"
)
TOLERANCE = 1e-6
"""Of another device, thread count or version of torch; the same machine gives the same bits."""
SAID = ("test/error", "test/ece", "test/nll")
"""What must be as it was before other measures may be written: the network still says the same."""
HELP = f"""\
Exit status 1 if a metric differs from metrics.json by more than {TOLERANCE:g}.
--config-dir: your folder of choices, for runs with a class of your own: a run directory alone may name none.
--update: write what today's code measures into the run directories, for runs from before a measure was there; never
where {", ".join(SAID)} differ."""


def main(arguments: list[str]) -> int:
    """Print both sets of metrics side by side; status 1 if one that `metrics.json` holds is another now."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\n{HELP}")
        return 0
    path, rest = path_and_overrides([one for one in arguments if one != "--update"], USAGE)
    from stnlab.compose import compose, folders_and_overrides

    own_folders, overrides = folders_and_overrides(rest, "evaluate")
    config = compose("evaluate", overrides)
    return max(_evaluate(run, config, own_folders, update="--update" in arguments) for run in _runs(path))


def _runs(path: Path) -> list[RunDirectory]:
    """A run, or those of a study that have results."""
    if (path / "run.json").exists() or not list(path.glob("*/run.json")):
        from stnlab.training.loading import finished

        return [finished(path)]
    found = [run for run in find_runs(path) if run.state == "done"]
    if not found:
        raise StnlabError(f"{path}: no run of this study has results yet; train it first")
    return found


def _evaluate(run: RunDirectory, config: dict[str, Any], own_folders: list[Path], update: bool) -> int:
    from stnlab.training.evaluation import evaluate_run

    found, recorded = evaluate_run(run, config, own_folders), run.metrics
    again = found.metrics
    differences = {name: abs(again.get(name, math.nan) - value) for name, value in recorded.items()}
    differing = [name for name, difference in differences.items() if not difference <= TOLERANCE]
    if update:
        if moved := sorted(set(SAID) & set(differing)):
            raise StnlabError(f"{run.path}: {', '.join(moved)} differ from metrics.json; nothing is written")
        found.write(run)
        print(
            f"{run.path}: {len(again)} metrics written, {len(again.keys() - recorded.keys())} of them new", flush=True
        )
        return 0
    Console().print(_table(run.name, again, recorded))
    if new := again.keys() - recorded.keys():
        print(f"{len(new)} metrics are not in metrics.json, which an earlier version wrote; --update writes them")
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

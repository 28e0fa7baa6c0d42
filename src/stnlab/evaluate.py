"""`python -m stnlab.evaluate runs/<study>/<run>`: the metrics of a finished run again, from its checkpoint."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError, one_line
from stnlab.evaluation.catalogue import is_headline
from stnlab.imports import importing
from stnlab.runs.code_version import code_version
from stnlab.runs.directory import RunDirectory, find_runs

USAGE = (
    "python -m stnlab.evaluate runs/<study>[/<run>] [--update] [--config-dir=my_conf] [trainer=cpu|gpu] "
    "[root=<data folder>]"
)
TOLERANCE = 1e-6
"""Of another thread count or version of torch; the same machine gives the same bits."""
OF_ANOTHER_DEVICE = 1e-3
"""Between a CPU and a GPU, of values above 1 relative: GPUs round the inputs of convolutions to TF32, to 11 bits."""
SAID = ("test/error", "test/ece", "test/nll")
"""What must be as it was before other measures may be written: the network still says the same."""
HELP = f"""\
Exit status 1 if a metric differs from metrics.json by more than {TOLERANCE:g} ({OF_ANOTHER_DEVICE:g} if a CPU repeats
what a GPU measured, or a GPU what a CPU did), or a run of a study cannot be evaluated; the others are all the same.
root: of the images, which are looked for where the run found them.
--config-dir: your folder of choices, for runs with a class of your own: a run directory alone may name none.
--update: write what today's code measures into the run directories, for runs from before a measure was there; never
where {", ".join(SAID)} differ. Of a study, runs that today's code has measured already are left alone."""


def main(arguments: list[str]) -> int:
    """Print both sets of metrics side by side; status 1 if one that `metrics.json` holds is another now."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\n{HELP}")
        return 0
    path, rest = path_and_overrides([one for one in arguments if one != "--update"], USAGE)
    from stnlab.compose import compose, folders_and_overrides

    own_folders, overrides = folders_and_overrides(rest, "evaluate", ("--update",))
    config = compose("evaluate", overrides)
    update, runs, status = "--update" in arguments, _runs(path), 0
    if update and len(runs) > 1:
        current = [run for run in runs if _is_current(run)]
        print(f"{len(current)} of {len(runs)} runs were measured by today's code already", flush=True)
        runs = [run for run in runs if run not in current]
    failed = []
    for number, run in enumerate(runs, start=1):
        try:
            status = max(status, _evaluate(run, config, own_folders, update))
        except (StnlabError, OSError) as error:
            if len(runs) == 1 or (line := one_line(error)) is None:
                raise
            print(f"error: {run.path}: {line.removeprefix(f'{run.path}: ')}", file=sys.stderr, flush=True)
            failed.append(run.name)
        if len(runs) > 1:
            print(f"{number} of {len(runs)} runs evaluated", flush=True)
    if failed:
        print(f"could not be evaluated: {', '.join(failed)}", file=sys.stderr)
    return max(status, int(bool(failed)))


def _runs(path: Path) -> list[RunDirectory]:
    """A run, or those of a study that have results."""
    if (path / "run.json").exists() or not [*path.glob("*/run.json"), *path.glob("*/*/run.json")]:
        with importing():
            from stnlab.training.loading import finished

        return [finished(path)]
    found = [run for run in find_runs(path) if not run.damaged and run.state == "done"]
    if not found:
        raise StnlabError(f"{path}: no run of this study has results yet; train it first")
    return found


def _is_current(run: RunDirectory) -> bool:
    """Whether the code of today has written its results."""
    return bool(run.info.get("measured_by", run.info).get("source") == code_version()["source"])


def _evaluate(run: RunDirectory, config: dict[str, Any], own_folders: list[Path], update: bool) -> int:
    with importing():
        from stnlab.training.evaluation import evaluate_run

    found, recorded = evaluate_run(run, config, own_folders), run.metrics
    again = found.metrics
    elsewhere = not str(run.info.get("device", found.device)).startswith(found.device)
    differences = {name: abs(again.get(name, math.nan) - value) for name, value in recorded.items()}
    differing = [
        name
        for name, difference in differences.items()
        if not difference <= (OF_ANOTHER_DEVICE * max(1, abs(recorded[name])) if elsewhere else TOLERANCE)
    ]
    if update:
        if moved := sorted(set(SAID) & set(differing)):
            raise StnlabError(f"{run.path}: {', '.join(moved)} differ from metrics.json; nothing is written")
        with run.lock():
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

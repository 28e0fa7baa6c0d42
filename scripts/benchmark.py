"""Time ours against what one would write by hand, in turn, on this machine: `python scripts/benchmark.py [case ...]`.

Each case runs ours and its reference several times in turn, warm (what takes minutes, once), and prints medians, their
ratio (ours / reference) and the goal. Figures depend on the machine; ratios less so. What else runs on it disturbs
both: leave it alone.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from benchmark_cases import commands, finished_runs, sampling, stacking, throughput, training
from benchmark_cases.comparison import Comparison

from stnlab.errors import StnlabError
from stnlab.runs.code_version import code_version
from stnlab.training.devices import cpu_name

CASES: dict[str, Callable[[], list[Comparison]]] = {
    "sampler": sampling.sampler,
    "pipeline": training.pipeline,
    "loop": training.loop,
    "epoch": training.epoch,
    "startup": commands.startup,
    "sweep": commands.sweep,
    "eval": training.evaluation,
    "compile": throughput.compiling,
    "side_by_side": throughput.side_by_side,
    "stacked": stacking.stacked,
}
OF_RUNS = "time_to_error"
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "kornia", "hydra-core", "numpy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "cases", nargs="*", metavar="case", help=f"{', '.join(CASES)} (all if none is named), {OF_RUNS}"
    )
    parser.add_argument("--json", type=Path, help="write results, machine and versions to this file")
    parser.add_argument("--study", type=Path, help=f"of {OF_RUNS}: the directory of finished runs")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - {*CASES, OF_RUNS}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))} (choices: {', '.join([*CASES, OF_RUNS])})")
    print(" ".join(f"{name}={value}" for name, value in machine().items()), flush=True)
    results = []
    try:
        for name in arguments.cases or CASES:
            found = finished_runs.time_to_error(arguments.study) if name == OF_RUNS else CASES[name]()
            results += found
            for comparison in found:
                print(comparison.line(), flush=True)
            if arguments.json:  # after each case, for the next one may fail
                _write(arguments.json, results)
    except StnlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(error.cmd)} failed:\n{error.stderr.decode()}", file=sys.stderr)
        return 1
    return 0


def _write(path: Path, results: list[Comparison]) -> None:
    rows = [asdict(one) | {"ratio": one.ratio, "reached": one.reached} for one in results]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**machine(), "results": rows}, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **code_version(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main())

"""One of the processes of a run: `torchrun -m stnlab.training.worker <configuration file>`."""

import json
import sys
from pathlib import Path

from stnlab.command import run_command
from stnlab.training.run import train_run


def main(arguments: list[str]) -> None:
    """Take part in the run of a configuration file."""
    train_run(json.loads(Path(arguments[0]).read_text()), locked=True)


if __name__ == "__main__":
    sys.argv[0] = "stnlab.train"
    run_command(main)

"""One of the processes of a run: `torchrun -m stnlab.training.worker <configuration file> <pid>`."""

import json
import os
import sys
import threading
import time
from pathlib import Path

from stnlab.command import run_command
from stnlab.training.launch import WATCH
from stnlab.training.run import train_run


def main(arguments: list[str]) -> None:
    """Take part in the run of a configuration file, as long as the process that holds its lock lives."""
    threading.Thread(target=end_with, args=(int(arguments[1]),), daemon=True).start()
    train_run(json.loads(Path(arguments[0]).read_text()), locked=True)


def end_with(process: int) -> None:
    """End this process, without a word, when another one or the one that started it (torchrun) is no more."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(WATCH)
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            break
    os._exit(1)


if __name__ == "__main__":
    sys.argv[0] = "stnlab.train"
    run_command(main)

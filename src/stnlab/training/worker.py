"""One of the processes of a run: `torchrun -m stnlab.training.worker <configuration file> <pid>`."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from stnlab.command import run_command
from stnlab.imports import importing

with importing():
    from stnlab.training.launch import STOP, WATCH
    from stnlab.training.run import train_run


def main(arguments: list[str]) -> None:
    """Take part in the run of a configuration file, as long as the process that holds its lock lives and wants it."""
    file = Path(arguments[0])
    stop = file.with_name(STOP)
    threading.Thread(target=end_with, args=(int(arguments[1]), stop), daemon=True).start()
    try:
        train_run(json.loads(file.read_text()), locked=True)
    except KeyboardInterrupt:
        if not stop.exists():
            raise  # else as asked: torchrun would take a status for a failure, and end the others before they are ready


def end_with(process: int, stop: Path) -> None:
    """End this process, without a word, when another one or the one that started it (torchrun) is no more. Pass the
    wish to stop on as SIGTERM."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(WATCH)
        if stop.exists():
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            break
    os._exit(1)


if __name__ == "__main__":
    sys.argv[0] = "stnlab.train"
    run_command(main)

"""One process or several: how a run gets onto the devices that it asks for."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from stnlab.command import leaving_at_sigterm
from stnlab.errors import StnlabError
from stnlab.imports import importing
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config
from stnlab.training.devices import check_devices, claimed_devices

WATCH = 0.5
"""Seconds between two looks of a process at whether those that it works for are alive."""
PATIENCE = 60.0
"""Seconds for processes to stop: a job of SLURM has a little more (`warning_seconds`) until it cannot be requeued."""
STOP = "stop"
"""A file beside the configuration file of a run's processes: they are to stop."""


def launch(config: Config, run: RunDirectory) -> None:
    """Train a run here, or in as many processes as `trainer.devices` says. Raises what the run raises.

    The processes are started by torchrun from the run's own configuration, not from the command line: under a
    multirun that would start the whole sweep again. torchrun finds a free port and ends all if one dies.
    """
    shared = os.environ.get("STNLAB_JOBS_PER_DEVICE")
    if shared is None or config["trainer"].get("accelerator") == "cpu":
        _launch(config, run)
        return
    devices = config["trainer"].get("devices")
    with claimed_devices(devices if isinstance(devices, int) else 1, int(shared)):
        _launch(config, run)


def _launch(config: Config, run: RunDirectory) -> None:
    processes = check_devices(config["trainer"])
    with importing():
        from stnlab.training.run import check_run, train_run

    if processes == 1:
        train_run(config)
        return
    check_run(config)
    with run.lock(wait=config["busy"] == "wait"):
        if config["fresh"] or run.to_renew:
            run.clear()  # here, or a worker might look for the old checkpoint before another has cleared it
        elif run.finished:
            return  # the process that this one waited for has trained it
        _run_processes(config | {"fresh": False}, run, processes)


def _same_imports() -> dict[str, str]:
    """Environment of a process that imports what this one does, wherever it is started."""
    return {"PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path), "PYTHONSAFEPATH": "1"}


def _run_processes(config: Config, run: RunDirectory, processes: int) -> None:
    share = str(max(1, torch.get_num_threads() // processes))  # torchrun's own choice is one thread each
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config))
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        processes_of_run = subprocess.Popen(
            [*torchrun, "-m", "stnlab.training.worker", str(file), str(os.getpid())],
            env={**os.environ, "OMP_NUM_THREADS": share, **_same_imports()},
        )
        try:
            with leaving_at_sigterm():
                status = processes_of_run.wait()
        except KeyboardInterrupt:
            file.with_name(STOP).touch()  # each finishes its step and keeps it
            try:
                processes_of_run.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:  # one has left, and another waits for it on its GPU
                processes_of_run.terminate()
                processes_of_run.wait()
            raise
    if status < 0:
        time.sleep(4 * WATCH)  # torchrun itself was killed: its processes see it, and write no more
    if status != 0 or run.state != "done":
        if run.state == "running":  # a process that was killed could not say so
            killed = f"a process was killed (status {status}); perhaps there was not enough memory"
            run.fail(killed, "its output went to the terminal\n")
        reason = run.info["error"] if run.state == "failed" else f"exit status {status}"
        raise StnlabError(f"a process of this run failed ({reason}); its output is above")

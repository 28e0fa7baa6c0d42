"""One process or several: how a run gets onto the devices that it asks for."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config
from stnlab.training.devices import check_devices, claim_devices

STOP = "stop"
"""A file beside the configuration file of a run's processes: they are to stop."""


def launch(config: Config, run: RunDirectory) -> None:
    """Train a run here, or in as many processes as `trainer.devices` says. Raises what the run raises.

    The processes are started by torchrun from the run's own configuration, not from the command line: under a
    multirun that would start the whole sweep again. torchrun finds a free port and ends all if one dies.
    """
    if "STNLAB_JOBS_PER_DEVICE" in os.environ and config["trainer"].get("accelerator") != "cpu":
        devices = config["trainer"].get("devices")
        claim_devices(devices if isinstance(devices, int) else 1, int(os.environ["STNLAB_JOBS_PER_DEVICE"]))
    processes = check_devices(config["trainer"])
    from stnlab.training.run import check_run, train_run

    if processes == 1:
        train_run(config)
        return
    check_run(config)
    with run.lock(wait=config["busy"] == "wait"):
        if config["fresh"]:
            run.clear()  # here, or a worker might look for the old checkpoint before another has cleared it
        elif run.state == "done":
            return  # the process that this one waited for has trained it
        _run_processes(config | {"fresh": False}, run, processes)


def _run_processes(config: Config, run: RunDirectory, processes: int) -> None:
    share = str(max(1, torch.get_num_threads() // processes))  # torchrun's own choice is one thread each
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config))
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        processes_of_run = subprocess.Popen(
            [*torchrun, "-m", "stnlab.training.worker", str(file), str(os.getpid())],
            env={**os.environ, "OMP_NUM_THREADS": share},
        )
        try:
            status = processes_of_run.wait()
        except KeyboardInterrupt:
            file.with_name(STOP).touch()  # each finishes its step and keeps it
            processes_of_run.wait()
            raise
    if status != 0 or run.state != "done":
        if run.state == "running":  # a process that was killed could not say so
            run.fail(f"a process ended with status {status}", "its output went to the terminal\n")
        reason = run.info["error"] if run.state == "failed" else f"exit status {status}"
        raise StnlabError(f"a process of this run failed ({reason}); its output is above")

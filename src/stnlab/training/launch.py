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


def launch(config: Config, run: RunDirectory) -> None:
    """Train a run here, or in as many processes as `trainer.devices` says. Raises what the run raises.

    The processes are started by torchrun from the run's own configuration, not from the command line: under a
    multirun that would start the whole sweep again. torchrun finds a free port and ends all if one dies.
    """
    processes = count_processes(config)
    from stnlab.training.run import check_run, train_run

    if processes == 1 or "LOCAL_RANK" in os.environ or "SLURM_PROCID" in os.environ:
        train_run(config)
        return
    check_run(config)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config))
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        done = subprocess.run([*torchrun, "-m", "stnlab.training.worker", str(file)], check=False)
    if done.returncode != 0 or run.state != "done":
        reason = run.info["error"] if run.state == "failed" else f"exit status {done.returncode}"
        raise StnlabError(f"a process of this run failed ({reason}); its output is above")


def count_processes(config: Config) -> int:
    """Processes on this machine. Raises StnlabError if the devices asked for are not there."""
    trainer = config["trainer"]
    accelerator, devices = trainer["accelerator"], trainer["devices"]
    gpus = torch.cuda.device_count()
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    if devices == "auto":
        devices = max(gpus, 1) if on_gpu else 1
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise StnlabError(f"trainer.devices={devices}: give a number of devices from 1, or auto")
    if accelerator in ("gpu", "cuda") and gpus == 0 and not torch.backends.mps.is_available():
        raise StnlabError(
            f"trainer.accelerator={accelerator}: torch finds no GPU here; use trainer=cpu or trainer=auto"
        )
    if on_gpu and devices > gpus:
        raise StnlabError(f"trainer.devices={devices}: there are {gpus} GPUs here; give at most that")
    return devices

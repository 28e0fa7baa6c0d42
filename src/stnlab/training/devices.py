"""Which devices a run uses, checked before anything starts."""

import getpass
import itertools
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import torch
from annotated_types import Ge, Le

from stnlab.choices import check
from stnlab.errors import StnlabError, nearest

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
Precision = Literal["32-true", "64-true", "16-mixed", "bf16-mixed"]
Compile = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
"""torch.compile's own modes; `reduce-overhead` and `max-autotune` replay CUDA graphs on a GPU."""
OPTIONS: dict[str, Any] = {
    "_target_": str,
    "accelerator": Accelerator,
    "devices": Annotated[int, Ge(1)] | Literal["auto"],
    "precision": Precision,
    "threads": Annotated[int, Ge(1)] | None,
    "compile": Compile | None,
    "log_every_n_steps": Annotated[int, Ge(1)],
    "accumulate_grad_batches": Annotated[int, Ge(1)],
    "num_nodes": Annotated[int, Ge(1), Le(1)],  # torchrun starts a run's processes, on this machine
    "strategy": str,
    "deterministic": bool,
    "benchmark": bool | None,
    "detect_anomaly": bool,
    "sync_batchnorm": bool,
    "profiler": Literal["simple", "advanced"] | None,
}
"""What a configuration may say of `pytorch_lightning.Trainer`. What would skip data or tests is not among them."""


def check_options(trainer: dict[str, Any]) -> None:
    """Raises StnlabError for an option that there is not, is missing or has a wrong value."""
    for name, value in trainer.items():
        if name not in OPTIONS:
            raise StnlabError(f"trainer.{name}: no such option{nearest(name, set(OPTIONS) - {'_target_'})}")
        check(value, OPTIONS[name], f"trainer.{name}")
    for name in ("accelerator", "devices", "precision"):
        if name not in trainer:
            raise StnlabError(f"trainer.{name}: is missing; give a value")


def check_devices(trainer: dict[str, Any]) -> int:
    """Processes that a run needs on this machine. Raises StnlabError for options or devices that are not there."""
    check_options(trainer)
    if (tasks := int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))) > 1:
        raise StnlabError(
            f"srun started this command {tasks} times; trainer.devices says how many processes a run starts itself: "
            "give srun --ntasks=1"
        )
    accelerator, devices, gpus = trainer["accelerator"], trainer["devices"], count_gpus()
    if accelerator not in ("auto", "cpu") and gpus == 0:
        raise StnlabError(f"trainer.accelerator={accelerator}: torch finds no GPU here; use trainer=cpu or auto")
    on_gpu = accelerator != "cpu" and gpus > 0
    if trainer["precision"] == "16-mixed" and not on_gpu:
        raise StnlabError("trainer.precision=16-mixed: needs a GPU; on a CPU use bf16-mixed or 32-true")
    if trainer.get("compile") and (missing := missing_compiler(on_gpu)):
        raise StnlabError(f"trainer.compile={trainer['compile']}: {missing}; or give null")
    if devices == "auto":
        return gpus if on_gpu else 1
    if on_gpu and devices > gpus:
        raise StnlabError(f"trainer.devices={devices}: there are {gpus} GPUs here; give at most that")
    return int(devices)


def missing_compiler(on_gpu: bool) -> str | None:
    """What torch.compile lacks on this machine, in words: on a GPU a compiler of C and Python's headers (for Triton),
    else a compiler of C++."""
    usual = {"darwin": ["clang++"], "win32": ["cl"]}.get(sys.platform, ["g++"])
    variable, usual, language = ("CC", ["gcc", "clang"], "C") if on_gpu else ("CXX", usual, "C++")
    candidates = [os.environ[variable]] if os.environ.get(variable) else usual
    if not any(map(shutil.which, candidates)):
        names = " or ".join(candidates)
        return f"needs a {language} compiler, but {names} is not here; install it, or name one in {variable}"
    if on_gpu and not (header := Path(sysconfig.get_path("include")) / "Python.h").exists():
        return f"needs {header.name}, but {header.parent} has none; install Python's headers (python3-dev)"
    return None


def count_gpus() -> int:
    """CUDA devices, or 1 for Apple's."""
    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


@contextmanager
def hidden_gpus() -> Iterator[None]:
    """While a CPU trains, this process and those it starts see no GPU.

    Adam asks in each step whether there is a GPU, and torch, as Lightning sets it up, loads a library of NVIDIA's anew
    to answer: up to a twentieth of the step of a small network.
    """
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def cpu_name() -> str:
    """As Linux names it; elsewhere as Python does."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def claimed_devices(count: int, jobs_per_device: int) -> Iterator[None]:
    """A job takes so many GPUs for this process and hides the others; waits until they are free.

    A place on a device is a locked file, so that the jobs of several sweeps on a machine share out its GPUs. CUDA, once
    started, knows no others than it has seen: later jobs of this process take the same ones. Does nothing where there
    are fewer GPUs than that: the run's own check says so.
    """
    places = _claimed(count, jobs_per_device)
    try:
        yield
    finally:
        for place in places:
            place.release()


WAIT = 1.0
"""Seconds between two looks for a free GPU."""
_seen: list[str] = []
"""GPUs that the first job of this process took."""


def _claimed(count: int, jobs_per_device: int) -> list[filelock.BaseFileLock]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    names = _seen[:count] or names
    if not 0 < count <= len(names) or not torch.cuda.device_count():
        return []
    folder = Path(tempfile.gettempdir()) / f"stnlab-devices-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    for waited in itertools.count():
        for place in range(jobs_per_device):
            taken = {name: lock for name in names if (lock := _taken(folder / f"{name}-{place}.lock"))}
            for name in list(taken)[count if len(taken) >= count else 0 :]:
                taken.pop(name).release()
            if taken:
                if not _seen:
                    _seen.extend(taken)
                    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
                return list(taken.values())
        if not waited:
            print(f"waiting for {count} of the {len(names)} GPUs here: all are taken", flush=True)
        time.sleep(WAIT)
    raise AssertionError  # it waits for ever


def _taken(path: Path) -> filelock.BaseFileLock | None:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return None
    return lock


def prepare_determinism(wanted: bool) -> None:
    """Lightning sets torch's flag, and what it needs of cuBLAS, only where `trainer.deterministic` is given; but cuBLAS
    looks once, before the first job of this process, and the flag of a job would stay for the next."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a kernel for each tensor

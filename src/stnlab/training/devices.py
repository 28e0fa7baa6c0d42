"""Which devices a run uses, checked before anything starts."""

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge

from stnlab.choices import check
from stnlab.errors import StnlabError, nearest

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]
Precision = Literal["32-true", "64-true", "16-mixed", "bf16-mixed"]
OPTIONS: dict[str, Any] = {
    "_target_": str,
    "accelerator": Accelerator,
    "devices": Annotated[int, Ge(1)] | Literal["auto"],
    "precision": Precision,
    "threads": Annotated[int, Ge(1)] | None,
    "log_every_n_steps": Annotated[int, Ge(1)],
    "accumulate_grad_batches": Annotated[int, Ge(1)],
    "num_nodes": Annotated[int, Ge(1)],
    "strategy": str,
    "deterministic": bool,
    "benchmark": bool | None,
    "detect_anomaly": bool,
    "sync_batchnorm": bool,
    "profiler": str | None,
}
"""What a configuration may say of `pytorch_lightning.Trainer`. What would skip data or tests is not among them."""


def check_devices(trainer: dict[str, Any]) -> int:
    """Processes that a run needs on this machine. Raises StnlabError for options or devices that are not there."""
    for name, value in trainer.items():
        if name not in OPTIONS:
            raise StnlabError(f"trainer.{name}: no such option{nearest(name, set(OPTIONS) - {'_target_'})}")
        check(value, OPTIONS[name], f"trainer.{name}")
    for name in ("accelerator", "devices", "precision"):
        if name not in trainer:
            raise StnlabError(f"trainer.{name}: is missing; give a value")
    accelerator, devices, gpus = trainer["accelerator"], trainer["devices"], count_gpus()
    if accelerator not in ("auto", "cpu") and gpus == 0:
        raise StnlabError(f"trainer.accelerator={accelerator}: torch finds no GPU here; use trainer=cpu or auto")
    on_gpu = accelerator != "cpu" and gpus > 0
    if trainer["precision"] == "16-mixed" and not on_gpu:
        raise StnlabError("trainer.precision=16-mixed: needs a GPU; on a CPU use bf16-mixed or 32-true")
    if devices == "auto":
        return gpus if on_gpu else 1
    if on_gpu and devices > gpus:
        raise StnlabError(f"trainer.devices={devices}: there are {gpus} GPUs here; give at most that")
    return int(devices)


def count_gpus() -> int:
    """CUDA devices, or 1 for Apple's."""
    return torch.cuda.device_count() or int(torch.backends.mps.is_available())

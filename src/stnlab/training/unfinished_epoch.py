"""What has been counted of an epoch that is not over, which Lightning's checkpoints leave out."""

import torch
from torch import Tensor

from stnlab.training.processes import everyone
from stnlab.training.running_metrics import RunningMetrics

Counts = dict[str, list[Tensor]]


def counts_of(metrics: RunningMetrics) -> list[Counts]:
    """What each process has counted so far: its states by name, on the CPU."""
    metrics.fold()
    return everyone({name: [one.cpu() for one in kept] for name, kept in metrics.metric_state.items()})


def restore_counts(metrics: RunningMetrics, counts: list[Counts], rank: int, world: int, device: torch.device) -> None:
    """Go on counting. Of counts of another number of processes than `world` each takes its share; none is lost."""
    for name in metrics.metric_state:
        kept = [one.to(device) for of_process in counts[rank::world] for one in of_process[name]]
        setattr(metrics, name, kept)

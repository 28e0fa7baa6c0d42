"""The sums of an epoch that is not over, which Lightning's checkpoints leave out."""

from typing import Any

import torch
from torch import nn
from torchmetrics import Metric

from stnlab.training.processes import everyone

State = dict[str, Any]


def sums_of(metrics: nn.Module) -> list[State]:
    """What each process has counted so far: the states of all torchmetrics in a module, by name, on the CPU."""
    own = {
        f"{name}.{key}": [one.cpu() for one in value] if isinstance(value, list) else value.cpu()
        for name, metric in _metrics(metrics)
        for key, value in metric.metric_state.items()
    }
    return everyone(own)


def restore_sums(metrics: nn.Module, states: list[State], rank: int, world: int, device: torch.device) -> None:
    """Go on counting. Of states of another number of processes than `world` each takes its share; none is lost."""
    for name, metric in _metrics(metrics):
        for state in states[rank::world]:
            for key, value in metric.metric_state.items():
                counted = state[f"{name}.{key}"]
                if isinstance(value, list):
                    setattr(metric, key, [*value, *(one.to(device) for one in counted)])
                else:
                    setattr(metric, key, value.to(device) + counted.to(device))  # MeanMetric's states are sums


def _metrics(module: nn.Module) -> list[tuple[str, Metric]]:
    return [(name, metric) for name, metric in module.named_modules() if isinstance(metric, Metric)]

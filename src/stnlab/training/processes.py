"""What the processes of a run hold of one split, put together."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def gathered(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The batches of this process and of all others, joined."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    parts = everyone(joined)
    return {name: np.concatenate([part[name] for part in parts]) for name in joined}


def everyone(own: Any) -> list[Any]:
    """What each process holds, in order of rank. Takes part in all of them, and must be called in all."""
    if not _several():
        return [own]
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes, the same in each."""
    if _several():
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor)
    return tensor


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()

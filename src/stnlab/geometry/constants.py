"""Small tensors of fixed values, made once: made anew, each would be copied to a GPU, which waits for all that it was
given before."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # a tensor kept from an inference could not be used in training
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Shape [len(values)]. Nobody may change it."""
    return torch.tensor(values, dtype=dtype, device=device)

"""Gaussian noise as a function of sample and pixel: whole batches at once, the same on every device."""

import math

import torch
from torch import Tensor

MASK = 0xFFFFFFFF


def gaussian(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 [N, *shape] for keys [N, 2] int64 in [0, 2^32): one sample's noise is its keys' alone.

    A counter hashed with the key (one torch generator a sample would take far longer than the training step), then
    Box and Muller's transformation.
    """
    counter = _mixed(torch.arange(math.prod(shape), device=keys.device))
    first, second = (_mixed(counter ^ key[:, None]).float() for key in keys.unbind(1))
    # (h + 0.5) / 2^32 lies inside (0, 1]: the logarithm is finite.
    radius = (-2 * ((first + 0.5) / 2**32).log()).clamp(min=0).sqrt()
    return (radius * (second * (2 * math.pi / 2**32)).cos()).reshape(-1, *shape)


def _mixed(value: Tensor) -> Tensor:
    """A bijection of 32 bits, held in int64, in which every bit of the input changes each of the output half the time.

    The form of MurmurHash3's finaliser; multipliers below 2^31, so that no product leaves 63 bits.
    """
    value = ((value ^ (value >> 16)) * 0x21F0AAAD) & MASK
    value = ((value ^ (value >> 15)) * 0x735A2D97) & MASK
    return value ^ (value >> 15)

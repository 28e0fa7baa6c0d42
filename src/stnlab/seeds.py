"""Randomness as a function: the same key gives the same numbers, whatever was drawn before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

AT_ONCE = 64


def derive(*key: int | str) -> int:
    """A seed (63 bits) for a key such as (seed, "train", epoch, "rotation")."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator for a key: the same numbers on every device."""
    return torch.Generator().manual_seed(derive(*key))


def step_seed(seed: int, step: int, *rest: int) -> int:
    """`derive(seed, "step", step, *rest)`. Those of some steps are found at once: alone, in caches that convolutions
    have emptied, a hash takes ten times as long."""
    return _step_seeds(seed, step // AT_ONCE, *rest)[step % AT_ONCE]


@lru_cache(maxsize=128)
def _step_seeds(seed: int, turn: int, *rest: int) -> list[int]:
    return [derive(seed, "step", step, *rest) for step in range(turn * AT_ONCE, (turn + 1) * AT_ONCE)]


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Draw from torch's global generator of the CPU as if newly seeded with this key; restore it afterwards.

    GPUs are left alone: to ask one for its state would start it, also for a training on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(*key))
        yield


def reseed(seed: int, device: torch.device) -> None:
    """Seed the global generators of the CPU and of a device. As `torch.manual_seed`, which in each call also notes the
    whole stack for every kind of device that is not in use."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)

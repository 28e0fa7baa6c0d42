"""Randomness as a function: the same key gives the same numbers, whatever was drawn before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(*key: int | str) -> int:
    """A seed (63 bits) for a key such as (seed, "train", epoch, "rotation")."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator for a key: the same numbers on every device."""
    return torch.Generator().manual_seed(derive(*key))


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Draw from torch's global generators as if newly seeded with this key; restore them afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(*key))
        yield

"""Where the transformers of a network sit."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge


@dataclass(frozen=True)
class Site:
    """A transformer that localises on what reaches `depth` and warps it. Depth 0 is the input."""

    depth: int


def none() -> tuple[Site, ...]:
    """No transformer."""
    return ()


def at_input() -> tuple[Site, ...]:
    """One transformer on the image (STN-C0)."""
    return (Site(depth=0),)


def deep(depth: Annotated[int, Ge(1)]) -> tuple[Site, ...]:
    """One transformer on the features after stage `depth` (STN-Ck): it localises on them and warps them."""
    return (Site(depth=depth),)

"""Where the transformers of a network sit, and what each looks at.

A placement is a function that makes `Site`s, and one file in `conf/placement/`. One description serves them all:
iterated, stacked and parallel transformers differ in its numbers alone.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len

from stnlab.choices import Node
from stnlab.errors import StnlabError

Depth = Annotated[int, Ge(0)]
Stage = Annotated[int, Ge(1)]
Count = Annotated[int, Ge(1)]
Join = Literal["channels", "shared_trunk", "separate_trunks"]
Size = tuple[Count, Count] | None
Window = Annotated[float, Gt(0), Le(1)] | None


@dataclass(frozen=True)
class Site:
    """`count` transformers side by side that warp what reaches `depth` (0: the image, k: after stage k).

    They localise on the features at depth `looks_at`: what reaches them, or those that later stages make of it. Then
    the stages between are the classifier's own, or a copy if `own_stages`. Each iterates `iterations` times with the
    same weights: it looks at the view so far, its maps compose, and the original is sampled (Lin & Lucey 2017).
    join: what becomes of several views: channels of one image, or one branch each through the rest of the network,
    with the same weights or with their own, joined before the head. size: [height, width] of the views, None: as
    what they are made of; only for one site, on the image.

    localizer: configuration node of this site's own kind of localizer, None: of the chosen one. shared_localizer: one
    network regresses the thetas of all `count`. window: the views start as windows of this part of the frame's sides,
    spread over the frame, and theta counts from there; None: as the whole frame. given: the option that says where it
    sits, for messages; empty: placement.depth.
    """

    depth: int
    looks_at: int
    own_stages: bool = False
    iterations: int = 1
    count: int = 1
    join: Join = "channels"
    size: tuple[int, int] | None = None
    localizer: Node | None = None
    shared_localizer: bool = False
    window: float | None = None
    given: str = ""


def none() -> tuple[Site, ...]:
    """No transformer."""
    return ()


def at_input(iterations: Count = 1, size: Size = None) -> tuple[Site, ...]:
    """One transformer on the image (STN-C0)."""
    return (Site(depth=0, looks_at=0, iterations=iterations, size=size),)


def deep(depth: Stage, iterations: Count = 1) -> tuple[Site, ...]:
    """One transformer on the features after stage `depth` (STN-Ck): it localises on them and warps them."""
    return (Site(depth=depth, looks_at=depth, iterations=iterations),)


def shared(depth: Stage, iterations: Count = 1, size: Size = None) -> tuple[Site, ...]:
    """It localises on the classifier's own features at `depth` and warps the image (STN-SLk, Finnveden et al. 2021)."""
    return (Site(depth=0, looks_at=depth, iterations=iterations, size=size),)


def separate(depth: Stage, iterations: Count = 1, size: Size = None) -> tuple[Site, ...]:
    """As `shared`, with its own copy of the stages before `depth` (STN-DLk, Finnveden et al. 2021)."""
    return (Site(depth=0, looks_at=depth, own_stages=True, iterations=iterations, size=size),)


def stacked(
    depths: Annotated[list[Depth], Len(1)],
    iterations: Count = 1,
    localizers: dict[int | str, Node | None] | None = None,
) -> tuple[Site, ...]:
    """One transformer at each depth, each acting on what reaches it (multi-ST of Jaderberg et al. 2015 for SVHN).

    localizers: nodes of other localizers than the chosen one, by depth.
    """
    if sorted(set(depths)) != depths:
        raise StnlabError(f"placement.depths={depths}: give depths in rising order, each once")
    own = {str(depth): node for depth, node in (localizers or {}).items()}
    if astray := own.keys() - {str(depth) for depth in depths}:
        raise StnlabError(f"placement.localizers.{min(astray)}: no transformer sits there; placement.depths={depths}")
    return tuple(
        Site(
            depth=depth,
            looks_at=depth,
            iterations=iterations,
            localizer=own.get(str(depth)),
            given=f"placement.depths={depths}",
        )
        for depth in depths
    )


def parallel(
    count: Count,
    join: Join = "channels",
    iterations: Count = 1,
    size: Size = None,
    localizers: Literal["shared"] | None = None,
    window: Window = None,
) -> tuple[Site, ...]:
    """`count` transformers on the image (Jaderberg et al. 2015: for addition, and 2x and 4xST-CNN for birds).

    localizers: `shared`, one regresses all thetas; None, each transformer has its own.
    """
    return (
        Site(
            depth=0,
            looks_at=0,
            iterations=iterations,
            count=count,
            join=join,
            size=size,
            shared_localizer=localizers == "shared",
            window=window,
        ),
    )

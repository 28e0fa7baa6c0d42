"""Ranges that a user gives as [low, high], and what a uniform draw makes of them."""

from torch import Tensor

from stnlab.errors import StnlabError

Range = tuple[float, ...]
Parameters = dict[str, Tensor]


def check_range(name: str, values: tuple[float, ...], least: float, most: float, example: str) -> None:
    """Raises StnlabError unless `values` are [low, high] with least <= low <= high <= most."""
    if len(values) != 2 or not least <= values[0] <= values[1] <= most:
        raise StnlabError(
            f"data.distortion.{name}={list(values)}: give [low, high] with {least:g} <= low <= high <= {most:g}, "
            f"for example {example}"
        )


def within(unit: Tensor, values: Range) -> Tensor:
    """Where draws in [0, 1) fall between low and high."""
    low, high = values
    return low + (high - low) * unit

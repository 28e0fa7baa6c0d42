"""Ranges that a user gives as [low, high], what a uniform draw makes of them, and what was drawn."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor

from stnlab.errors import StnlabError

Range = tuple[float, ...]
Parameters = Mapping[str, Tensor]


class Lazily(Parameters):
    """Parameters by name, each made when it is first asked for: a training step needs few of those that were drawn."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Tensor]) -> None:
        self._made: dict[str, Tensor | None] = dict.fromkeys(names)
        self._make = make

    def __getitem__(self, name: str) -> Tensor:
        made = self._made[name]
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


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

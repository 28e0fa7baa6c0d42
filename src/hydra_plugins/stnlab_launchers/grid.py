"""Every combination of the values given, or of each cell of a study with them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

CHOSEN = "cells"
"""The key of the command line that names some of a study's cells: `cells=[cnn,st_cnn]`."""
Values = dict[str, list[str]]
"""Key, with a `+` or `~` before it if it has one -> `key=value` of each value it takes."""


class Grid(BasicSweeper):
    """Hydra's own sweeper, and cells: what a table has that is no product.

    params: key -> value or, separated by commas, values. cells: name -> more of these, which are multiplied with
    params, and of which a cell's own count. The command line replaces what params say; of what a cell says it selects:
    `placement=none` leaves the cells and values that are just that, and sets it where a cell says nothing of it;
    `placement.depth=choice(2)` leaves such cells as they are, if another says it. Our launchers compose all jobs before
    they start any and train a run that several cells ask for once, so the sweeper need not.
    """

    def __init__(self, params: Mapping[str, Any] | None, cells: Mapping[str, Any] | None = None) -> None:
        super().__init__(None, {key: _text(value) for key, value in (params or {}).items()})
        self.cells = dict(cells or {})

    def split_arguments(  # type: ignore[override]  # Hydra's needs to know nothing but its arguments
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """All jobs as one batch. overrides: those of params, then those of the command line."""
        from stnlab.errors import StnlabError

        params, given = (_values(some) for some in (overrides[: len(self.params)], overrides[len(self.params) :]))
        names = self._named(given.pop(CHOSEN, []))
        said = {key for name in names for key in self._own(name)}
        only_there = said & {one.get_key_element() for one in overrides if _is_choice(one)}
        jobs = [job for name in names for job in self._jobs(name, params, given, only_there)]
        if not self.cells:
            jobs = _product(params | given)
        if not jobs:
            own = {override for name in names for values in self._own(name).values() for override in values}
            keys = [key for key in given if any(one.startswith(f"{key}=") for one in own)]
            shown = " ".join(one for key in keys for one in given[key])
            raise StnlabError(f"{shown}: no cell of this study is that; its cells are {', '.join(self.cells)}")
        return [jobs]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass

    def _jobs(self, name: str, params: Values, given: Values, only_there: set[str]) -> list[list[str]]:
        """Each names its cell, so that the same job is composed again from its own overrides alone.

        only_there: keys given for the cells that say them.
        """
        own = self._own(name)
        given = {key: values for key, values in given.items() if key in own or key not in only_there}
        kept = {key: [one for one in given.get(key, values) if one in values] for key, values in own.items()}
        return _product({CHOSEN: [f"{CHOSEN}=[{name}]"]} | params | given | kept)

    def _own(self, name: str) -> Values:
        from stnlab.errors import StnlabError

        cell = self.cells[name]
        if not isinstance(cell, Mapping):
            raise StnlabError(f"hydra.sweeper.cells.{name}={cell}: give its values, such as {{placement: none}}")
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return _values(parser.parse_overrides([f"{key}={_text(value)}" for key, value in cell.items()]))

    def _named(self, chosen: Sequence[str]) -> list[str]:
        """Of `cells=[a,b]` or `cells=a,b`; all cells if nothing is chosen."""
        from stnlab.errors import StnlabError, nearest

        if not chosen or chosen == [f"{CHOSEN}=null"]:
            return list(self.cells)
        if not self.cells:
            raise StnlabError(f"{chosen[0]}: this sweep has no named cells; studies in conf/ablation have")
        texts = [one.removeprefix(f"{CHOSEN}=").strip("[]") for one in chosen]
        names = [name.strip() for text in texts for name in text.split(",")]
        for name in names:
            if name not in self.cells:
                raise StnlabError(f"{CHOSEN}={name}: no such cell{nearest(name, self.cells)}")
        return list(dict.fromkeys(names))


def _is_choice(override: Override) -> bool:
    """Whether it is written `choice(a,b)`, not `a,b`."""
    return isinstance(sweep := override.value(), ChoiceSweep) and not sweep.simple_form


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _values(overrides: Sequence[Override]) -> Values:
    """The last of several that are about the same key counts."""
    found: Values = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            found[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            found[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise HydraException(f"{override.input_line}: only values one by one can be swept here")
    return found


def _product(values: Values) -> list[list[str]]:
    return [list(job) for job in product(*values.values())]

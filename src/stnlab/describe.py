"""`python -m stnlab.describe <the arguments of stnlab.train>`: the composed network as a table; trains nothing."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from stnlab.command import run_command
from stnlab.imports import importing
from stnlab.runs.identity import Config, normalise
from stnlab.train import check_settings

if TYPE_CHECKING:
    from stnlab.models.description import Part

SHOWN = ("data", "backbone", "placement", "transform")
USAGE = "python -m stnlab.describe [-m] [group=choice ...] [key=value ...]"
NOTE = """\
Each part in the order in which it acts: its depth, layers, output, parameters and multiply-adds, with their shares. A
transformer's parameters are those it shares with no stage. Multiply-adds are those of convolutions and matrix products
for one image."""


def main(arguments: list[str]) -> int:
    """Compose, validate, print. Returns the exit status."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\n{NOTE}\nGroups and choices: python -m stnlab.train --help")
        return 0
    from stnlab.sweeps import run_hydra

    run_hydra(describe_network, arguments, trains=False)
    return 0


def describe_network(config: Config) -> None:
    """Print the network that a configuration makes. Reads no data. Raises StnlabError for a wrong choice."""
    check_settings(config)
    with importing():
        from stnlab.models.description import describe
        from stnlab.training.components import build_components

    components = build_components(config)
    shape = components.data.image_shape
    choices = normalise(config)["choices"]  # without what nothing uses
    chosen = [f"{group}={choices[group]}" for group in SHOWN if group in choices]
    chosen += [one for one in config["overrides"] if "." in one.partition("=")[0]]
    Console().print(_table(" ".join(chosen), shape, describe(components.module.network, shape)))


def _table(title: str, image_shape: tuple[int, ...], parts: "list[Part]") -> Table:
    table = Table("depth", title=title, pad_edge=False)
    table.add_column("part", min_width=len("transformers"), overflow="fold")  # the one that may wrap, at 80 columns too
    table.add_column("output", no_wrap=True)
    for name in ("parameters", "share", "multiply-\nadds", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    transformers = [part for part in parts if part.kind == "transformer"]

    def costs(counted: "list[Part]") -> list[str]:
        cells = []
        for measure in ("parameters", "multiply_adds"):
            count, total = (sum(getattr(part, measure) for part in among) for among in (counted, parts))
            cells += [f"{count:,}", f"{count / total:.1%}"]
        return cells

    table.add_row("0", "input", _shown(image_shape))
    for part in parts:
        what = f"{part.kind}: {part.layers}"
        table.add_row(str(part.depth), what, _shown(part.shape), *costs([part]), end_section=part is parts[-1])
    table.add_row("", "transformers", "", *costs(transformers))
    table.add_row("", "network", "", *costs(parts))
    return table


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    run_command(main)

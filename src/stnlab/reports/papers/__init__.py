"""What papers printed and claim, as data: `<paper>/published.yaml` and `<paper>/claims.yaml` beside this file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import yaml

from stnlab.errors import StnlabError, nearest
from stnlab.reports.baselines import Wanted
from stnlab.reports.cells import text

HERE = Path(__file__).parent
OWN = {"paper", "citation", "transcription", "measure", "tables"}
OF_A_TABLE = {"table", "note", "where", "columns", "rows"}
OF_A_ROW = {"row", "where", "values"}
OF_A_CLAIM = {"claim", "source", "each", "measure", "plus", "minus", "below", "above", "margin"}


@dataclass(frozen=True)
class Printed:
    """A number in a paper. wanted: what a cell of ours must be to stand beside it. value: as a fraction. rounding: half
    of its last digit, by which the number before it was rounded may be larger or smaller."""

    paper: str
    place: str
    wanted: Wanted
    measure: str
    value: float
    rounding: float


@dataclass(frozen=True)
class Claim:
    """That a sum of measures over cells, `plus` less `minus`, lies `below` or `above` a threshold.

    measure: name in `metrics.json` -> factor. plus, minus: what each cell must be. margin: why the threshold is not 0.
    """

    says: str
    measure: dict[str, float]
    plus: tuple[Wanted, ...]
    minus: tuple[Wanted, ...]
    side: Literal["below", "above"]
    threshold: float
    source: str
    margin: str

    @property
    def free(self) -> set[str]:
        """Columns in which its cells may differ: those that it does not ask the same of all of them."""
        terms = (*self.plus, *self.minus)
        return {column for one in terms for column in one if len({other.get(column) for other in terms}) > 1}


@dataclass(frozen=True)
class Paper:
    """What a folder holds. notes: what is to be known of each table."""

    name: str
    citation: str
    printed: tuple[Printed, ...] = ()
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


def read_papers(own: Path | None = None) -> list[Paper]:
    """Of the folders here and, if given, in a folder of the user's. Raises StnlabError, one line, for a wrong file."""
    if own is not None and not (own.is_dir() and [*own.glob("*/published.yaml"), *own.glob("*/claims.yaml")]):
        raise StnlabError(f"papers={own}: holds no <paper>/published.yaml and no <paper>/claims.yaml")
    folders = sorted(path for root in (HERE, own) if root for path in root.iterdir() if path.is_dir())
    files = [folder / name for folder in folders for name in ("published.yaml", "claims.yaml")]
    return [_read(path) for path in files if path.exists()]


def _read(path: Path) -> Paper:
    try:
        content = yaml.safe_load(path.read_text())
        if path.name == "claims.yaml":
            _known(content, {"paper", "citation", "where", "claims"})
            claims = tuple(one for node in content["claims"] for one in _claims(node, content.get("where", {})))
            return Paper(content["paper"], content["citation"], claims=claims)
        _known(content, OWN)
        printed = tuple(one for table in content["tables"] for one in _printed(content, table))
        notes = [f"{content['paper']}, {table['table']}: {table['note']}" for table in content["tables"]]
        return Paper(content["paper"], content["citation"], printed, (*notes, content["transcription"]))
    except StnlabError as error:
        raise StnlabError(f"{path}: {error}") from error
    except KeyError as error:
        raise StnlabError(f"{path}: {error.args[0]} is missing") from error
    except (OSError, yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StnlabError(f"{path}: cannot be read ({reason}); compare it with those in {HERE}") from error


def _printed(content: Mapping[str, Any], table: Mapping[str, Any]) -> list[Printed]:
    _known(table, OF_A_TABLE)
    found = []
    for row in table["rows"]:
        _known(row, OF_A_ROW)
        _known(row["values"], set(table["columns"]))
        for column, value in row["values"].items():
            wanted = _wanted(table.get("where", {}), table["columns"][column], row["where"])
            digits = -int(Decimal(str(value)).as_tuple().exponent)
            place = f"{table['table']}, {row['row']}, {column}"
            rounding = 0.5 * 10 ** -(digits + 2)
            found.append(Printed(content["paper"], place, wanted, content["measure"], float(value) / 100, rounding))
    return found


def _claims(node: Mapping[str, Any], where: Mapping[str, Any]) -> list[Claim]:
    """One for each entry of `each`, whose conditions all its cells share. where: conditions of all claims."""
    _known(node, OF_A_CLAIM)
    sides = [side for side in ("below", "above") if side in node]
    if len(sides) != 1:
        raise StnlabError(f"{node['claim']}: give below or above, a number")
    side: Literal["below", "above"] = "below" if "below" in node else "above"
    threshold = float(node[side])
    if threshold and "margin" not in node:
        raise StnlabError(f"{node['claim']}: {side} {threshold:g}: say in `margin` why")
    return [
        Claim(
            says=f"{node['claim']} ({name})" if name else node["claim"],
            measure={key: float(factor) for key, factor in node.get("measure", {"test/error": 1}).items()},
            plus=tuple(_wanted(where, shared, one) for one in node["plus"]),
            minus=tuple(_wanted(where, shared, one) for one in node.get("minus", ())),
            side=side,
            threshold=threshold,
            source=node["source"],
            margin=node.get("margin", ""),
        )
        for name, shared in node.get("each", {"": {}}).items()
    ]


def _wanted(*conditions: Mapping[str, Any]) -> Wanted:
    return {column: text(value) for one in conditions for column, value in one.items()}


def _known(node: Mapping[str, Any], keys: Sequence[str] | set[str]) -> None:
    for key in node:
        if key not in keys:
            raise StnlabError(f"{key}: no such key{nearest(str(key), map(str, keys))}")

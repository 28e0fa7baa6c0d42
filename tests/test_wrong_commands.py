"""Wrong command lines, generated: each ends in one line before anything starts."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stnlab.compose import GROUPS, compose
from stnlab.errors import StnlabError
from stnlab.train import main

COUNT = 200
CHOICES = ["", "placement=deep", "placement=stacked", "placement=parallel", "transform=thin_plate", "recipe=paper"]
CHOICES += ["data=mnist_cluttered", "backbone=conv_net", "backbone=timm", "sampler=antialiased", "localizer=fc"]
WRONG_FOR = {
    bool: ("wrong", "{a:1}", "3"),
    int: ("wrong", "{a:1}", "nan", "[1,[2]]", "''", "true"),
    float: ("wrong", "{a:1}", "[1,[2]]", "''", "true"),
    list: ("wrong", "{a:1}", "[wrong]", "[[]]"),
}
UNREADABLE = ["=1", "seed==1", "seed=(1", "seed='1", "@x=1", "seed", "seed=${foo}", "hydra.x=1", "--multirunx"]
UNREADABLE += [
    "-m seed=1,,2",
    "-m seed=range(1,)",
    "-m seed=choice(",
    "-m placement=none,innput",
    "-m hydra/launcher=foo",
]


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        elif key not in ("choices", "overrides"):
            yield f"{prefix}{key}", value


def wrong_commands() -> list[str]:
    """Misspelt keys, values of a wrong type, choices that are not there, and lines nobody can read."""
    found = [
        f"{sign}{group}={value}" for group in GROUPS for sign, value in (("", "nothere"), ("+", "x"), ("", "{a:1}"))
    ]
    for choice in CHOICES:
        config = compose("train", [choice] if choice else [])
        own = {key: value for key, value in config.items() if choice.startswith(f"{key}=")} if choice else config
        for path, value in leaves(own):
            *parents, name = path.split(".")
            found.append(f"{choice} {'.'.join([*parents, name[0] + name[2:] + 'x'])}=1")
            if name == "_target_":
                found += [f"{choice} {path}=no.such.thing", f"{choice} {path}=os.system"]
            else:
                found += [f"{choice} {path}={wrong}" for wrong in WRONG_FOR.get(type(value), ())]
    random.Random(0).shuffle(found)
    return UNREADABLE + found[: COUNT - len(UNREADABLE)]


def test_two_hundred_wrong_commands_are_one_line_each(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def start(*_: object) -> None:
        raise AssertionError("training started")

    monkeypatch.setattr("stnlab.training.run._fit_and_test", start)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    commands = wrong_commands()
    assert len(set(commands)) == COUNT
    for command in commands:
        quiet = [one for one in ("logger=none", "callbacks=quiet") if one.partition("=")[0] not in command]
        with pytest.raises(StnlabError) as caught:
            main([*command.split(" ")[command.startswith(" ") :], *quiet])
        assert "\n" not in str(caught.value), command
        assert len(str(caught.value)) < 500, command
    assert list(tmp_path.glob("runs/*/*/run.json")) == []
    assert "Traceback" not in capsys.readouterr().err

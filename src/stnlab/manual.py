"""`--help`: the configuration groups, their choices and examples, read from `conf/` so that it cannot go stale."""

from collections.abc import Sequence
from pathlib import Path

import yaml

EXAMPLES = {
    "stnlab.train": """\
python -m stnlab.train data=mnist_rts placement=deep placement.depth=1 transform=rotation_scale seed=3
python -m stnlab.train -m placement=none,input,deep transform=affine,rotation_scale seed=0,1,2 study=mine
python -m stnlab.train -m hydra/sweeper=optuna 'recipe.optimizer.lr=tag(log,interval(1e-3,1e-1))' placement=input,deep
python -m stnlab.train ablation=demo
python -m stnlab.train ablation=jaderberg_table1 cells=[cnn,st_cnn_affine] data=mnist_rotated seed=0
python -m stnlab.train recipe.epochs=20 recipe.optimizer.lr=0.001 backbone.channels=[96,80]
python -m stnlab.train trainer=ddp trainer.devices=4 trainer.precision=bf16-mixed
python -m stnlab.train --config-dir=my_conf backbone=mine     # your own files: my_conf/backbone/mine.yaml
python -m stnlab.train placement=deep --cfg job               # show the composed configuration, train nothing"""
}

INTRODUCTION = {
    "stnlab.train": """\
python -m stnlab.train [-m] [group=choice ...] [key=value ...]

Train and test one run, or with -m one for each combination of values separated by commas.
The same command again answers from the files of what is finished and goes on with what is not.
Results: runs/<study>/<run>/metrics.json; python -m stnlab.report runs/<study> compares a study's runs."""
}


def manual(command: str, conf: Path, extra: Sequence[Path] = ()) -> str:
    """The help of a command. conf: the folder of choices; extra: folders of `--config-dir`."""
    root = yaml.safe_load((conf / "train.yaml").read_text())
    pairs = [pair for entry in root["defaults"] if isinstance(entry, dict) for pair in entry.items()]
    every = {group.removeprefix("override "): choice for group, choice in pairs}
    defaults = {group: choice for group, choice in every.items() if (conf / group).is_dir()}
    lines = [INTRODUCTION[command], "", "Groups and choices (* is the default):"]
    for group, default in defaults.items():
        lines += ["", f"{group}="]
        files = sorted(path for folder in (conf, *extra) for path in (folder / group).glob("*.yaml"))
        for path in files:
            chosen = path.stem in default if isinstance(default, list) else path.stem == default
            lines.append(f"  {'*' if chosen else ' '} {path.stem:<15} {description(path)}")
    lines += ["", "Of every run:"]
    comments = _comments(conf / "train.yaml")
    own = {key: value for key, value in root.items() if key not in ("defaults", "hydra")}
    for key, value in own.items():
        for name, entry in value.items() if isinstance(value, dict) else [("", value)]:
            shown = "null" if entry is None else str(entry).lower() if isinstance(entry, bool) else entry
            said = f"{key}.{name}={shown}" if name else f"{key}={shown}"
            lines.append(f"    {said:<23} {comments.get(name or key, '')}".rstrip())
    lines += [
        "",
        "Options of a choice are set by dotted keys (placement.depth=2) and shown by --cfg job.",
        "",
        "Examples:",
    ]
    lines += [f"  {line}" for line in EXAMPLES[command].splitlines()]
    return "\n".join(lines)


def description(path: Path) -> str:
    """The first comment of a file that is no directive for Hydra."""
    for line in path.read_text().splitlines():
        if line.startswith("#") and not line.startswith("# @"):
            return line.removeprefix("#").strip()
    return ""


def _comments(path: Path) -> dict[str, str]:
    pairs = (line.split("#", 1) for line in path.read_text().splitlines() if "#" in line and not line.startswith("#"))
    return {key.split(":")[0].strip(): comment.strip() for key, comment in pairs}

"""Command lines to configurations, by Hydra; its errors to one line each."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stnlab.errors import StnlabError, nearest

Config = dict[str, Any]
GROUPS = (
    "data",
    "backbone",
    "localizer",
    "placement",
    "transform",
    "sampler",
    "recipe",
    "trainer",
    "callbacks",
    "logger",
)
FLAGS = {"--multirun": False, "--cfg": True, "--config-dir": True, "--resolve": False, "--package": True}
"""Which of them take a value."""
LEFT_OUT = ":***@"
"""In the place of a password."""


def for_size(size: Any, values: Mapping[Any, Any]) -> Any:
    """What files of `conf/` write as `${for_size:<pixels>,{28: a, 42: b}}`: the value of that size, or the first."""
    return values[size] if size in values else next(iter(values.values()))


OmegaConf.register_new_resolver("for_size", for_size, replace=True)


def conf_directory() -> Path:
    """The folder of choices: in the wheel beside this file, in a checkout at its top."""
    here = Path(__file__).resolve()
    inside = here.parent / "conf"
    return inside if inside.is_dir() else here.parents[2] / "conf"


def config_directories(arguments: Sequence[str]) -> list[Path]:
    """The user's own folders of choices: what `--config-dir` names."""
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    named = [
        after if flag in ("--config-dir", "-cd") else flag.partition("=")[2]
        for flag, after in pairs
        if flag.startswith(("--config-dir", "-cd"))
    ]
    return [Path(folder).resolve() for folder in named]


def checked_flags(arguments: Sequence[str], offered: Sequence[str] = tuple(FLAGS)) -> list[str]:
    """Flags first, each in one word, then overrides. Raises StnlabError for a wrong flag, naming those offered."""
    flags, overrides, rest = [], [], list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flag, _, value = word.partition("=")
        flag = {"-c": "--cfg", "-cd": "--config-dir", "-m": "--multirun", "-p": "--package"}.get(flag, flag)
        if flag not in FLAGS:
            raise StnlabError(f"{word}: no such flag{nearest(flag, offered)}")
        if FLAGS[flag] and not value:
            value = rest.pop(0) if rest else ""
        if flag == "--cfg" and value not in ("job", "hydra", "all"):
            raise StnlabError(f"--cfg {value}: give job, hydra or all")
        if flag == "--config-dir" and not Path(value).is_dir():
            raise StnlabError(f"--config-dir {value}: no such directory")
        flags.append(f"{flag}={value}" if FLAGS[flag] else flag)
    showing = any(flag.startswith("--cfg") for flag in flags)
    if showing and "--multirun" in flags:
        raise StnlabError("--cfg shows one job; leave out --multirun")
    if not showing and {"--resolve", "--package"} & {flag.partition("=")[0] for flag in flags}:
        raise StnlabError("--resolve and --package say how --cfg shows a configuration; add --cfg job")
    return flags + overrides


def folders_and_overrides(
    arguments: Sequence[str], command: str, own: Sequence[str] = ()
) -> tuple[list[Path], list[str]]:
    """What `--config-dir` names, and the overrides. Raises StnlabError for any other flag.

    own: flags that the command has besides and has read already, to be named in messages.
    """
    offered = ("--config-dir", *own)
    words = checked_flags(arguments, offered)
    for word in words:
        if word.startswith("-") and not word.startswith("--config-dir="):
            raise StnlabError(f"{word}: is a flag of stnlab.train; {command} has {' and '.join(offered)} alone")
    return config_directories(words), [word for word in words if not word.startswith("-")]


def compose(name: str, overrides: Sequence[str]) -> Config:
    """Compose one file of `conf/` without running anything. Raises StnlabError for wrong overrides."""
    with hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"):
        try:
            composed = hydra.compose(name, list(overrides), return_hydra_config=True)
            HydraConfig.instance().set_config(composed)
            return to_config(composed)
        except (HydraException, OmegaConfBaseException) as error:
            raise StnlabError(explain(error, overrides, name)) from error


def to_config(composed: DictConfig) -> Config:
    """Plain dictionaries, interpolations resolved, with the names of the choices made and what was typed.

    composed: with its `hydra` node, or Hydra's current job.
    """
    known = composed.hydra if "hydra" in composed else HydraConfig.get()
    chosen = known.runtime.choices
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        config = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        raise StnlabError(explain(error, ())) from error
    assert isinstance(config, dict)
    names = {group: chosen[group] for group in GROUPS if group in chosen}
    own_folders = [source.path for source in known.runtime.config_sources if source.provider == "command-line"]
    typed = [*(f"--config-dir={folder}" for folder in own_folders), *map(without_password, known.overrides.task)]
    return {str(key): value for key, value in config.items()} | {"choices": names, "overrides": typed}


def without_password(argument: str) -> str:
    """An argument of the command line as it may be kept, or shown: without the password of a server's URL."""
    return re.sub(r"(://[^:/@]*):[^/]*@", rf"\1{LEFT_OUT}", argument)


def explain(error: Exception, arguments: Sequence[str], name: str = "train") -> str:
    """Hydra's error in one line: what is wrong, what would be right."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        files = [path.stem for path in (conf_directory() / group).glob("*.yaml")]
        return f"{group}={choice}: no such choice{nearest(choice, error.options or files)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read; write key=value, and quote values with spaces or brackets"
    if isinstance(error.__cause__, StnlabError):  # a launcher's own
        return str(error.__cause__)
    if found := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(found[1].split("@")[0], arguments, name)
    if found := re.search(r"Ambiguous value for argument '(.+?)'", text):
        key, _, values = found[1].partition("=")
        return f"{found[1]}: several values need -m, a multirun; a list is written {key}=[{values}]"
    cause = f" ({str(error.__cause__).splitlines()[0]})" if error.__cause__ else ""
    return text.strip().splitlines()[0] + cause


def _unknown_key(key: str, arguments: Sequence[str], file: str) -> str:
    """An override of something that is not there, with what there is beside it."""
    *parents, name = key.split(".")
    node: Any = _composed_without(key, arguments, file)
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    hidden = {"_target_", "_partial_", "_recursive_", "hydra"}
    choices = {str(choice) for choice in node} - hidden if isinstance(node, dict) else set()
    if name in choices:
        return f"{key}: has no such keys; to replace it as a whole, ~{key} and then '+{key}={{...}}'"
    return f"{key}: no such key{nearest(name, choices) or '; there are no options here'}"


def _first_value(override: Override) -> str:
    """Of a sweep."""
    values = override.value()
    return str(values.start) if isinstance(values, IntervalSweep) else next(override.sweep_string_iterator())


def _composed_without(key: str, arguments: Sequence[str], file: str) -> Config:
    """The configuration that the other arguments make, the first value of each sweep; the default if they make none."""
    others = []
    for override in OverridesParser.create().parse_overrides([one for one in arguments if not one.startswith("-")]):
        if override.key_or_group != key and override.key_or_group.partition(".")[0] != "hydra":
            value = _first_value(override) if override.is_sweep_override() else None
            others.append(f"{override.get_key_element()}={value}" if value else str(override.input_line))
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"):
        try:
            composed = hydra.compose(file, others, return_hydra_config=True)
        except HydraException:
            composed = hydra.compose(file, return_hydra_config=True)
        plain = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(plain, dict)
    groups = dict.fromkeys(("experiment", "ablation") if file == "train" else ())
    return {**groups, **plain}

"""Command lines to configurations, by Hydra; its errors to one line each."""

import contextlib
import difflib
import pickle
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from stnlab.errors import StnlabError, first_line, nearest

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
MOST_CHOICES = 4
"""Of those that have an option, how many a message names."""


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

    composed: with its `hydra` node, which it loses, or Hydra's current job.
    """
    known = composed.hydra if "hydra" in composed else HydraConfig.get()
    chosen = known.runtime.choices
    own_folders = [source.path for source in known.runtime.config_sources if source.provider == "command-line"]
    names = {group: chosen[group] for group in GROUPS if group in chosen}
    try:
        # what was typed may refer to the rest, too
        typed = [*(f"--config-dir={folder}" for folder in own_folders), *map(without_password, known.overrides.task)]
        with read_write(composed), open_dict(composed):
            composed.pop("hydra", None)  # as from what a job is given, so that neither refers to it
        config = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise StnlabError(explain(error, ())) from error
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()} | {"choices": names, "overrides": typed}


def without_password(argument: str) -> str:
    """An argument of the command line as it may be kept, or shown: without the password of a server's URL."""
    return re.sub(r"(://[^:/@\s]*):\S*@", rf"\1{LEFT_OUT}", argument)


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
    cause = f" ({first_line(error.__cause__)})" if error.__cause__ else ""
    return first_line(error) + cause


def _unknown_key(key: str, arguments: Sequence[str], file: str) -> str:
    """An override of something that is not there: what there is beside it, and which other choices have it."""
    *parents, name = key.split(".")
    folders = config_directories(arguments)
    found = searched(folders)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_directory()), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        overrides = parser.parse_overrides([*found, *(one for one in arguments if not one.startswith("-"))])
        composed: Config | None = None
        options: set[str] = set()
        for job in _jobs(key, overrides):
            composed = _composed(file, job)
            options = _options(composed, parents)
            if name not in options:
                break
        if composed is None:
            return f"{key}: no such key"
        if name in options and any(one.key_or_group == key and isinstance(one.value(), dict) for one in overrides):
            return f"{key}: has no such keys; to replace it as a whole, ~{key} and then '+{key}={{...}}'"
        chosen = composed["hydra"]["runtime"]["choices"].get(parents[0]) if parents else None
        others = _options_elsewhere(parents, chosen, folders, found) if isinstance(chosen, str) else {}
    belongs = _belongs(name, parents, options, others)
    if name in options:  # what lacks it is a job that no argument tells of: a cell of an ablation
        return f"{key}: some job has no such key{belongs}"
    beside = nearest(name, options)
    if belongs:
        return f"{key}: no such key of {parents[0]}={chosen}{beside or ', which has no options there'}{belongs}"
    return f"{key}: no such key{beside or '; there are no options here'}"


def _belongs(name: str, parents: Sequence[str], options: Collection[str], others: Mapping[str, Sequence[str]]) -> str:
    """Which other choices have an option of that name or, where nothing here is near it, of one near it."""
    near = difflib.get_close_matches(name, options, n=1) or difflib.get_close_matches(name, others, n=1)
    meant = name if name in others else near[0] if near else ""
    if meant not in others or (meant != name and meant in options):
        return ""
    more = ", ..." if len(others[meant]) > MOST_CHOICES else ""
    return f"; {meant} belongs to {parents[0]}={', '.join(others[meant][:MOST_CHOICES])}{more}"


def searched(folders: Sequence[Path]) -> list[str]:
    """The override by which Hydra finds the choices in the user's own folders, too; none without such folders."""
    quoted = (str(folder).replace("'", r"\'") for folder in folders)
    listed = ", ".join(f"'file://{folder}'" for folder in quoted)
    return [f"hydra.searchpath=[{listed}]"] if listed else []


def _options(node: Any, parents: Sequence[str]) -> set[str]:
    """What may be set below a dotted key."""
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    hidden = {"_target_", "_partial_", "_recursive_", "hydra"}
    return {str(option) for option in node} - hidden if isinstance(node, dict) else set()


def _options_elsewhere(
    parents: Sequence[str], chosen: str, folders: Sequence[Path], searched: Sequence[str]
) -> dict[str, list[str]]:
    """Each option that there is below a dotted key with another choice of its group -> the choices that have it."""
    files = (path.stem for folder in (conf_directory(), *folders) for path in (folder / parents[0]).glob("*.yaml"))
    found: dict[str, list[str]] = {}
    for choice in sorted({*files} - {chosen}):
        with contextlib.suppress(HydraException, OmegaConfBaseException):  # a file of the user's that is wrong
            composed = hydra.compose(None, [*searched, f"+{parents[0]}={choice}"])
            for option in _options(OmegaConf.to_container(composed, resolve=False), parents):
                found.setdefault(option, []).append(choice)
    return found


def _jobs(key: str, overrides: Sequence[Override]) -> list[list[str]]:
    """What there is beside an override: a job for each choice of a sweep over its group, of other sweeps the first."""
    jobs: list[list[str]] = [[]]
    for one in overrides:
        of_hydra = one.key_or_group.startswith("hydra.") and one.key_or_group != "hydra.searchpath"
        if one.key_or_group == key or of_hydra:
            continue
        lines = [str(one.input_line)]
        if one.is_sweep_override():
            values = _swept(one, every=one.key_or_group == key.partition(".")[0])
            lines = [f"{one.get_key_element()}={value}" for value in values]
        jobs = [[*job, line] for job in jobs for line in lines]
    return jobs


def _swept(override: Override, every: bool) -> list[str]:
    """The first value of a sweep or, unless there are infinitely many, all of them."""
    values = override.value()
    if isinstance(values, IntervalSweep):
        return [str(values.start)]
    return list(islice(override.sweep_string_iterator(), None if every else 1))


def _composed(file: str, overrides: Sequence[str]) -> Config | None:
    """The configuration that overrides make, or those of them that choose files if others are wrong, too."""
    choosing = (*GROUPS, "experiment", "ablation", "hydra.searchpath")
    choices = [one for one in overrides if re.split("[@=]", one.lstrip("+~"))[0] in choosing]
    for lines in (list(overrides), choices):
        with contextlib.suppress(HydraException, OmegaConfBaseException):
            composed = hydra.compose(file, lines, return_hydra_config=True)
            plain = OmegaConf.to_container(composed, resolve=False)
            assert isinstance(plain, dict)
            groups = dict.fromkeys(("experiment", "ablation") if file == "train" else ())
            return {**groups, **plain}
    return None


class JobLoader(ConfigLoaderImpl):
    """Hydra's loader for the jobs of one sweep: those that choose the same files are composed once.

    They differ in values alone, and reading files takes most of the time of a composition; there may be hundreds of
    seeds.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self.parser = OverridesParser.create(config_loader=self)
        self.composed: dict[tuple[str, ...], bytes] = {}
        self.known: CachingConfigRepository | None = None

    @classmethod
    def of(cls, loader: ConfigLoader) -> "JobLoader":
        """The loader itself if it is one."""
        return loader if isinstance(loader, cls) else cls(loader)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """As Hydra's own, as long as master_config is the same. Raises Hydra's and OmegaConf's errors."""
        overrides = self.parser.parse_overrides(sweep_overrides)
        if any(one.is_hydra_override() for one in overrides):
            return super().load_sweep_config(master_config, sweep_overrides)
        files = [one for one in overrides if self._chooses_file(one, master_config)]
        key = tuple(str(one.input_line) for one in files)
        if key not in self.composed:
            self.composed[key] = pickle.dumps(super().load_sweep_config(master_config, list(key)))
        config: DictConfig = pickle.loads(self.composed[key])  # a copy in a third of deepcopy's time
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        self._apply_overrides_to_config([one for one in overrides if one not in files], config)
        job = config.hydra.job
        job.override_dirname = get_overrides_dirname(overrides=overrides, **job.config.override_dirname)
        config.hydra.overrides.task = sweep_overrides
        return config

    def _chooses_file(self, override: Override, master_config: DictConfig) -> bool:
        """Whether it names a file of a group; `+data={size: 60}` is a value, for all that it is named as one."""
        if self.known is None:  # with what hydra.searchpath adds
            name, hydras = master_config.hydra.job.config_name, list(master_config.hydra.overrides.hydra)
            _, self.known = self._parse_overrides_and_create_caching_repo(name, hydras)
        return self.known.group_exists(override.key_or_group) and not isinstance(override.value(), dict)


def compose_jobs(loader: ConfigLoader, master: DictConfig, jobs: Sequence[Sequence[str]]) -> Iterator[DictConfig]:
    """The configuration of each job, as `loader.load_sweep_config` makes it. Raises Hydra's and OmegaConf's errors."""
    together = JobLoader.of(loader)
    return (together.load_sweep_config(master, list(job)) for job in jobs)

"""Which choices make a run what it is, and the name that follows from them."""

import copy
import hashlib
import json
import re
from typing import Any

Config = dict[str, Any]

NOT_OF_THE_RESULT = {
    "": ("study", "cells", "fresh", "busy", "checkpoint_seconds", "runs_dir", "logger", "overrides"),
    "data": ("root", "memory_gib", "workers"),
    "trainer": (
        "accelerator",
        "devices",
        "num_nodes",
        "strategy",
        "threads",
        "deterministic",
        "log_every_n_steps",
        "profiler",
    ),
    "callbacks": ("progress",),
}
"""Per group, the keys that cannot change a result. Everything else counts, also what a user adds."""

WITHOUT_TRANSFORM = ("stnlab.models.placement.none",)
WITHOUT_LOCALIZER = ("stnlab.geometry.transforms.Identity",)


def normalise(config: Config) -> Config:
    """The part of a composed configuration that can change the result, unused choices removed.

    `choices` (the names of the files chosen in each group) stays for people to read; it is no part of the digest.
    """
    kept = copy.deepcopy(config)
    for group, keys in NOT_OF_THE_RESULT.items():
        section = kept.get(group, {}) if group else kept
        for key in keys:
            section.pop(key, None)
    if not kept.get("evaluation", {}).get("images"):
        kept.pop("evaluation", None)
    unused: tuple[str, ...] = ()
    if kept["placement"].get("_target_") in WITHOUT_TRANSFORM:
        unused = ("transform", "localizer", "sampler")
    elif kept["transform"].get("_target_") in WITHOUT_LOCALIZER:
        unused = ("localizer",)
        kept["placement"].pop("localizers", None)
    elif isinstance(localizers := kept["placement"].get("localizers"), dict):
        own = {str(depth): node for depth, node in localizers.items() if node is not None}
        kept["placement"]["localizers"] = own or None
        depths = kept["placement"].get("depths")
        if isinstance(depths, list) and depths and own.keys() == {str(depth) for depth in depths}:
            unused = ("localizer",)
    for group in unused:
        kept.pop(group, None)
        kept["choices"].pop(group, None)
    return kept


def digest(normalised: Config) -> str:
    """Eight hexadecimal digits of the SHA-256 of a normalised configuration, whatever the order of its keys."""
    counted = canonical({key: value for key, value in normalised.items() if key != "choices"})
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def canonical(value: Any) -> Any:
    """Equal choices alike: 1.0 as 1, and no entries that say null, so that a new option that is off renames nothing."""
    if isinstance(value, dict):
        return {key: canonical(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def run_name(normalised: Config) -> str:
    """`<data>-<backbone>-<placement>-<transform>-<recipe>-s<seed>-<digest8>`, at most 96 characters."""
    choices = normalised["choices"]
    backbone = normalised["backbone"].get("name", choices["backbone"])  # timm's choice says less than its model's name
    parts = [choices["data"], backbone, placement_name(normalised), choices.get("transform"), choices["recipe"]]
    parts.append(f"s{normalised['seed']}")
    readable = "-".join(re.sub(r"[^\w.]+", "_", str(part)) for part in parts if part)
    return f"{readable[:87]}-{digest(normalised)}"


def placement_name(normalised: Config) -> str:
    """The placement with its depth, if it has one: `deep2`."""
    return f"{normalised['choices']['placement']}{normalised['placement'].get('depth', '')}"

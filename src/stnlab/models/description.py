"""What a network is made of, and what each part costs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stnlab.models.backbones import Shape
from stnlab.models.network import Network
from stnlab.models.transformer import SpatialTransformer

Kind = Literal["transformer", "stage", "head"]
PARTS: dict[Kind, str] = {
    "transformer": r"transformers\.\d+",
    "stage": r"(backbone\.stages|more_trunks\.\d+)\.\d+",
    "head": r"backbone\.head",
}
"""Names of the modules that are parts of a network."""


@dataclass(frozen=True)
class Part:
    """A transformer, stage or head; equal stages of several branches are one part.

    depth: of a stage, what it makes; else what it gets. shape: of its output or view, without the batch. parameters:
    its own; what a transformer shares with the classifier is the classifier's. multiply_adds: of the convolutions and
    matrix products of one image, as often as the part acts; norms, activations, pooling and sampling are left out, and
    so is what is computed once for all images.
    """

    kind: Kind
    depth: int
    layers: str
    shape: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class _Call:
    name: str
    shape: Shape
    multiply_adds: int


def describe(network: Network, image_shape: Shape) -> list[Part]:
    """The parts in the order in which they act on an image of this shape (C, H, W). Leaves the network in eval mode."""
    modules = dict(network.named_modules())
    classifier = {id(p) for name, p in network.named_parameters() if _kind(name.rpartition(".")[0]) != "transformer"}
    calls = _calls(network, torch.zeros(1, *image_shape))
    groups: dict[tuple[Kind | None, int | str], list[_Call]] = {}
    for call in calls:
        kind = _kind(call.name)
        groups.setdefault((kind, _stage_depth(call.name) if kind == "stage" else call.name), []).append(call)
    parts: list[Part] = []
    depth = 0
    for (kind, _), same in groups.items():
        assert kind is not None
        names = {call.name for call in same}
        depth = _stage_depth(same[0].name) if kind == "stage" else depth
        own = {id(p): p.numel() for name in names for p in modules[name].parameters()}
        counted = {key: count for key, count in own.items() if kind != "transformer" or key not in classifier}
        cost = sum(call.multiply_adds for call in same)
        layers = _layers(modules[same[0].name])
        parts.append(Part(kind, depth, layers, same[0].shape, sum(counted.values()), cost))
    return parts


def _kind(name: str) -> Kind | None:
    """The kind of part that a module of this name is or lies in."""
    return next((kind for kind, pattern in PARTS.items() if re.match(pattern, name)), None)


def _stage_depth(name: str) -> int:
    return int(name.rpartition(".")[2]) + 1


def _calls(network: Network, image: Tensor) -> list[_Call]:
    """The parts as the image goes through them. What a part calls inside itself, such as shared stages, is its cost."""
    calls: list[_Call] = []
    begun: list[int] = []
    counter = FlopCounterMode(display=False)

    def begin(module: nn.Module, inputs: Any) -> None:
        begun.append(counter.get_total_flops())

    def end(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            cost = (counter.get_total_flops() - begun.pop()) // 2
            view: Tensor = output if isinstance(output, Tensor) else output[0][0]
            if not begun:
                calls.append(_Call(name, tuple(view.shape[1:]), cost))

        return hook

    with torch.no_grad():
        network.eval()(image)  # what is computed once is computed here
    handles = []
    for name, module in network.named_modules():
        if any(re.fullmatch(pattern, name) for pattern in PARTS.values()):
            handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end(name))]
    with torch.no_grad(), counter:
        network(image)
    for handle in handles:
        handle.remove()
    return calls


def _layers(part: nn.Module) -> str:
    """Names of the layers in order: `Conv2d ReLU MaxPool2d`; of a transformer, what it may do and its localizer's."""
    if not isinstance(part, SpatialTransformer):
        return _names(part)
    localizer = part.localizer
    by = f" by {_names(localizer)}" if localizer is not None else ""
    several = f" x{part.views}" if part.views > 1 else ""
    return f"{type(part.transform).__name__}{several}{by}"


def _names(module: nn.Module) -> str:
    names = (type(layer).__name__ for layer in _flat(module) if not isinstance(layer, nn.Identity))
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    return " ".join(f"{name} x{times}" if times > 1 else name for name, times in runs)


def _flat(module: nn.Module) -> list[nn.Module]:
    if not isinstance(module, nn.Sequential):
        return [module]
    return [layer for child in module for layer in _flat(child)]

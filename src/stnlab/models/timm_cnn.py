"""Any CNN of timm (Wightman 2019, github.com/huggingface/pytorch-image-models) as a `Backbone`."""

import copy
import logging
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn

from stnlab.errors import StnlabError, first_line, nearest
from stnlab.models.backbones import Backbone, Shape
from stnlab.models.convolution import Conv2d

Stem = Literal["small", "original"]
Rate = Annotated[float, Gt(0), Lt(1)]


def timm_cnn(
    input_shape: Shape, outputs: int, name: str, pretrained: bool, stem: Stem, dropout: Rate | None = None
) -> Backbone:
    """timm's stages, one more that pools, and a linear head.

    name: one of `timm.list_models()`, or with a tag of its weights, such as resnet18.a1_in1k. A model whose stages are
    no chain of modules, such as HRNet, has one stage for all of them. pretrained: with the weights of ImageNet, the
    first convolution adapted to the channels. stem: `small` makes the first convolution 3x3 with stride 1 and fresh
    weights, and leaves out a pooling after it; `original` changes nothing. dropout: after the last stage, None: none.
    Raises StnlabError for a name that timm lacks, weights that cannot be fetched, a model that is no CNN, a stem that
    cannot be changed or is small already, and an image that is too small.
    """
    model = _create(name, pretrained, input_shape[0])
    if stem == "small":
        _widen_stem(model, name)
    try:
        stages = _split(model, name, torch.zeros(1, *input_shape), without_pooling=stem == "small")
        if dropout is not None:
            stages[-1] = nn.Sequential(stages[-1], nn.Dropout(dropout))
        return Backbone(stages, input_shape, outputs)
    except (RuntimeError, ValueError, AssertionError) as error:
        _refuse_tokens(name)
        image = "x".join(map(str, input_shape))
        remedy = "give larger images or another model" + (" or backbone.stem=small" if stem == "original" else "")
        raise StnlabError(
            f"backbone.name={name}: cannot take a {image} image ({first_line(error)}); {remedy}"
        ) from error


def _create(name: str, pretrained: bool, channels: int) -> Any:
    """The model without its classifier. Any: timm's models share attributes that nn.Module does not declare."""
    import timm  # seconds, and only this backbone needs it

    if not timm.is_model(name):
        raise StnlabError(f"backbone.name={name}: timm has no such model{nearest(name, _takes_any_size())}")
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it tells of each of its retries
    try:
        return timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise StnlabError(
            f"backbone.name={name} backbone.pretrained={str(pretrained).lower()}: no weights ({first_line(error)}); "
            "backbone.pretrained=false needs none"
        ) from error
    finally:
        hub.setLevel(level)


def _takes_any_size() -> list[str]:
    """Names of timm's models whose images may be of another size and whose features are pooled over places: its CNNs,
    and few others. Those of one size are its transformers and mixers of tokens."""
    import timm

    found = [(name, timm.get_pretrained_cfg(name)) for name in timm.list_models()]
    return [name for name, config in found if config and config.pool_size and not config.fixed_input_size]


def _refuse_tokens(name: str) -> None:
    """Raises StnlabError if a model that could not take an image makes no images of those of its own size either."""
    import timm

    model: Any = timm.create_model(name, num_classes=0).eval()
    with torch.no_grad():
        features = model.forward_features(torch.zeros(1, *model.pretrained_cfg["input_size"]))
    _check_features(model, name, features)


def _check_features(model: Any, name: str, features: Tensor) -> None:
    if features.ndim != 4 or str(getattr(model, "output_fmt", "NCHW")) != "NCHW":
        raise StnlabError(f"backbone.name={name}: its features are no images; choose a CNN")


def _widen_stem(model: Any, name: str) -> None:
    """Let the first convolution keep the image's size."""
    path = model.pretrained_cfg.get("first_conv")
    first = model.get_submodule(path) if isinstance(path, str) else None
    if not isinstance(path, str) or type(first) is not nn.Conv2d:
        raise StnlabError(f"backbone.stem=small: the stem of {name} cannot be changed; give backbone.stem=original")
    if max(first.stride) == 1:
        raise StnlabError(
            f"backbone.stem=small: the first convolution of {name} has stride 1 as it is; give backbone.stem=original"
        )
    small = Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None)
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, small)


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    inputs: tuple[Any, ...]
    output: Any


class TimmPart(nn.Module):
    """What is left in a timm model when the other part's children are taken out, called by timm's name for it."""

    def __init__(self, model: nn.Module, others: set[str], method: Literal["forward_features", "forward_head"]) -> None:
        super().__init__()
        self.model = model
        self.method = method
        for name in others:
            setattr(model, name, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = getattr(self.model, self.method)(x)
        return y


def _split(model: Any, name: str, image: Tensor, without_pooling: bool) -> list[nn.Module]:
    """Stages that end where timm's features do, then what follows and pools. image: [1, C, H, W], to trace with."""
    ends = [info["module"] for info in model.feature_info if info["module"]]
    calls, features = _trace(model, image)
    _check_features(model, name, features)
    elements = _elements(model, ends)
    chain = [call for call in calls if call.name in elements]
    trunk = {call.name.partition(".")[0] for call in calls}
    if not _is_chain(chain, image, features):
        others = {child for child, _ in model.named_children()} - trunk
        return [TimmPart(copy.deepcopy(model), others, "forward_features"), TimmPart(model, trunk, "forward_head")]
    stages: list[nn.Module] = []
    current = nn.Sequential()
    for call in chain:
        if without_pooling and len(stages) == 1 and not len(current) and _only_pools(call.module):
            continue
        current.append(call.module)
        if any(f"{end}.".startswith(f"{call.name}.") for end in ends):
            stages.append(current)
            current = nn.Sequential()
    return [*stages, current.append(TimmPart(model, trunk, "forward_head"))]


def _trace(model: Any, image: Tensor) -> tuple[list[_Call], Tensor]:
    """The modules that the features of an image go through, in order, and these features."""
    calls: list[_Call] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls.append(_Call(name, module, inputs, output))

        return module.register_forward_hook(note)

    handles = [watch(name, module) for name, module in model.named_modules() if name]
    training = model.training
    with torch.no_grad():
        features: Tensor = model.eval().forward_features(image)
    model.train(training)
    for handle in handles:
        handle.remove()
    return calls, features


def _elements(model: nn.Module, ends: list[str], prefix: str = "") -> set[str]:
    """Names of the children, and in place of a Sequential in which a stage ends, those in it."""
    names: set[str] = set()
    for child, module in model.named_children():
        name = prefix + child
        inside = any(end.startswith(f"{name}.") for end in ends)
        opened = inside and isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        names |= _elements(module, ends, f"{name}.") if opened else {name}
    return names


def _is_chain(calls: list[_Call], image: Tensor, features: Tensor) -> bool:
    """Whether each module gets exactly what the one before it made: then nothing happens between them."""
    reached: Any = image
    for call in calls:
        if len(call.inputs) != 1 or call.inputs[0] is not reached:
            return False
        reached = call.output
    return reached is features


def _only_pools(module: nn.Module) -> bool:
    return not list(module.parameters()) and any(isinstance(part, nn.MaxPool2d) for part in module.modules())

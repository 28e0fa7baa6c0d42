"""A backbone with spatial transformers between its stages."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stnlab.errors import StnlabError
from stnlab.geometry.maps import PointMap
from stnlab.geometry.sampling import Sampler
from stnlab.geometry.transforms import Transform
from stnlab.models.backbones import Backbone, Shape, output_shape
from stnlab.models.placement import Site
from stnlab.models.prediction import Prediction
from stnlab.models.transformer import SpatialTransformer

MakeBackbone = Callable[[Shape], Backbone]
MakeLocalizer = Callable[[Site, Shape, int], nn.Module]


class Network(nn.Module):
    """sites: where transformers sit; transformers: those of each site, in the order of the sites and their count, those
    that share a localizer as one module.

    more_trunks: stages of their own for every branch but the first.
    """

    def __init__(
        self,
        backbone: Backbone,
        sites: Sequence[Site],
        transformers: Sequence[SpatialTransformer],
        heads: int,
        more_trunks: Sequence[nn.ModuleList] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sites = list(sites)
        self.transformers = nn.ModuleList(transformers)
        self.heads = heads
        self.more_trunks = nn.ModuleList(more_trunks)
        self.to(memory_format=torch.channels_last)  # CPU and GPU kernels for convolution and pooling are faster so

    def forward(self, image: Tensor) -> Prediction:
        """image: [N, C, H, W], normalised."""
        warps: list[PointMap] = []
        inputs: list[Tensor] = []
        views: list[Tensor] = []
        branches = [image]
        for depth in range(len(self.backbone.stages) + 1):
            if depth > 0:
                branches = [stages[depth - 1](x) for stages, x in zip(self._trunks(branches), branches, strict=True)]
            for site, transformers in self._at(depth):
                (reached,) = branches
                made = [pair for transformer in transformers for pair in transformer(reached)]
                inputs += [reached] * len(made)
                views += [view for view, _ in made]
                warps += [warp for _, warp in made]
                branches = [view for view, _ in made]
                if site.join == "channels":
                    branches = [torch.cat(branches, dim=1)]
        outputs = self.backbone.head(torch.cat(branches, dim=1))
        logits = outputs.reshape(len(image), self.heads, outputs.shape[1] // self.heads)
        return Prediction(logits, tuple(warps), tuple(inputs), tuple(views), self._sources())

    def logits(self, image: Tensor) -> Tensor:
        """Of `forward`, alone: what a training step needs, and `torch.compile` makes one graph of."""
        logits: Tensor = self(image).logits
        return logits

    @property
    def views(self) -> int:
        """How many transformers there are, each of which makes a view."""
        return sum(site.count for site in self.sites)

    def localizer_parameters(self) -> list[tuple[float, list[nn.Parameter]]]:
        """(learning-rate multiplier, parameters) of each transformer, or of those that share a localizer."""
        modules = [module for module in self.transformers if isinstance(module, SpatialTransformer)]
        return [(module.transform.lr_multiplier, list(module.parameters())) for module in modules]

    def classifier_parameters(self) -> list[nn.Parameter]:
        """All that no localizer has."""
        theirs = {parameter for _, parameters in self.localizer_parameters() for parameter in parameters}
        return [parameter for parameter in self.parameters() if parameter not in theirs]

    def _sources(self) -> tuple[int | None, ...]:
        """For each transformer the one whose view it gets. Views that were joined are no single one's."""
        sources: list[int | None] = []
        for number, site in enumerate(self.sites):
            follows = number > 0 and self.sites[number - 1].count == 1
            sources += [len(sources) - 1 if follows else None] * site.count
        return tuple(sources)

    def _at(self, depth: int) -> list[tuple[Site, list[nn.Module]]]:
        remaining = iter(self.transformers)
        groups = [(site, [next(remaining) for _ in range(_modules(site))]) for site in self.sites]
        return [(site, group) for site, group in groups if site.depth == depth]

    def _trunks(self, branches: list[Tensor]) -> list[nn.ModuleList]:
        own: list[Any] = list(self.more_trunks)
        return [self.backbone.stages, *own] if own else [self.backbone.stages] * len(branches)


@dataclass(frozen=True)
class Image:
    """What a network gets: shape (C, H, W), and its background [C] after normalisation."""

    shape: Shape
    background: Tensor


def assemble(
    image: Image,
    make_backbone: MakeBackbone,
    sites: Sequence[Site],
    transform: Transform,
    make_localizer: MakeLocalizer,
    heads: int = 1,
    sampler: Sampler = Sampler(),  # noqa: B008  frozen: nobody can change the default
) -> Network:
    """Build the backbone for what the transformers hand it, and put them at their sites.

    make_localizer: gets a site, the shape of what is localised on, and how many numbers to regress. Outside features
    is zero.
    Raises StnlabError, with the backbone's stages, if a site's depth does not exist or holds no image; and if views are
    too small for the backbone.
    """
    on_image = [site for site in sites if site.depth == 0]
    channels = image.shape[0] * (on_image[0].count if on_image and on_image[0].join == "channels" else 1)
    size = next((site.size for site in on_image if site.size), None)
    backbone = _backbone_for(make_backbone, (channels, *image.shape[1:]), size)
    transformers = []
    for site in sites:
        shape = image.shape if site.depth == 0 else _image_shape(backbone, site, site.depth)
        outside = image.background if site.depth == 0 else None
        if site.looks_at > site.depth and channels != image.shape[0]:
            raise StnlabError("placement: views joined as channels cannot share the classifier's stages")
        windows = _windows(site)
        views = site.count // len(windows)
        for window in windows:
            stages = _stages_between(backbone, site)
            looked_at = shape
            for stage in stages:
                looked_at = output_shape(stage, looked_at)
            thetas = views * transform.parameters
            transformers.append(
                SpatialTransformer(
                    stages,
                    site.own_stages,
                    make_localizer(site, looked_at, thetas) if thetas else None,
                    transform,
                    outside,
                    sampler,
                    site.iterations,
                    site.size,
                    views,
                    window,
                )
            )
    more_trunks = []
    for site in sites:
        if site.join != "channels" and site.count > 1:
            widen_head(backbone, site.count)
            copies = site.count - 1 if site.join == "separate_trunks" else 0
            more_trunks = [make_backbone(backbone.shapes[0]).stages for _ in range(copies)]
    return Network(backbone, sites, transformers, heads, more_trunks)


def _backbone_for(make: MakeBackbone, image: Shape, size: tuple[int, int] | None) -> Backbone:
    """For the image's shape, or that of its views of another size."""
    if size is None:
        return make(image)
    try:
        return make((image[0], *size))
    except StnlabError as error:
        make(image)  # what is wrong for whole images, too, is no matter of the views' size
        raise StnlabError(f"placement.size={list(size)}: too small for this backbone ({error})") from error


def _modules(site: Site) -> int:
    return 1 if site.shared_localizer else site.count


def _windows(site: Site) -> Sequence[Tensor | None]:
    """For each module of a site the maps [views, 2, 3] to the windows that its views start from.

    Spread evenly from the top left, in as many columns as rows or in one more. None: no windows.
    """
    if site.window is None:
        return [None] * _modules(site)
    columns = math.ceil(math.sqrt(site.count))
    rows = math.ceil(site.count / columns)
    room = 1 - site.window
    x, y = (torch.linspace(-room, room, many) if many > 1 else torch.zeros(1) for many in (columns, rows))
    centres = torch.cartesian_prod(y, x)[: site.count].flip(1)
    matrices = torch.cat([(site.window * torch.eye(2)).expand(site.count, 2, 2), centres[:, :, None]], dim=2)
    return matrices.chunk(_modules(site))


def widen_head(backbone: Backbone, count: int) -> None:
    """Let the head take the features of so many branches: its first linear layer gets as many inputs.

    Raises StnlabError if it has no linear layer.
    """
    for name, module in backbone.head.named_modules():
        if isinstance(module, nn.Linear):
            parent = backbone.head.get_submodule(name.rpartition(".")[0])
            wide = nn.Linear(count * module.in_features, module.out_features, bias=module.bias is not None)
            setattr(parent, name.rpartition(".")[2], wide)
            return
    raise StnlabError("placement.join: this backbone's head has no linear layer; join the views as channels")


def _stages_between(backbone: Backbone, site: Site) -> list[nn.Module]:
    """The stages from what a site warps to what it looks at: the backbone's own, or a copy with its own weights."""
    if site.looks_at > 0:
        _image_shape(backbone, site, site.looks_at)
    stages = [backbone.stages[depth] for depth in range(site.depth, site.looks_at)]
    return [copy.deepcopy(stage) for stage in stages] if site.own_stages else stages


def _image_shape(backbone: Backbone, site: Site, depth: int) -> Shape:
    given = site.given or f"placement.depth={depth}"
    stages = f"this backbone's depths and shapes are {backbone.describe()}"
    if depth >= len(backbone.shapes):
        raise StnlabError(f"{given}: there is no such stage; {stages}")
    shape = backbone.shapes[depth]
    if len(shape) != 3 or min(shape[1:]) < 2:
        raise StnlabError(f"{given}: a transformer needs an image of 2x2 or more there; {stages}")
    return shape

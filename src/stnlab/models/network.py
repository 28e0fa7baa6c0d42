"""A backbone with spatial transformers between its stages."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stnlab.errors import StnlabError
from stnlab.geometry.maps import PointMap
from stnlab.geometry.sampling import sample
from stnlab.geometry.transforms import Transform
from stnlab.models.backbones import Backbone, Shape
from stnlab.models.placement import Site
from stnlab.models.prediction import Prediction

MakeLocalizer = Callable[[Shape, int], nn.Module]


class SpatialTransformer(nn.Module):
    """Regress theta from an image or features, turn it into a map, sample through it (Jaderberg et al. 2015).

    localizer: [N, C, H, W] to theta [N, transform.parameters]; None for a transform without parameters. background:
    [C], what lies outside the input.
    """

    background: Tensor

    def __init__(self, localizer: nn.Module | None, transform: Transform, background: Tensor) -> None:
        super().__init__()
        self.localizer = localizer
        self.transform = transform
        self.register_buffer("background", background, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, PointMap]:
        """View and warp: [N, C, H, W] of the same size, and the map from its points to those of x."""
        height, width = x.shape[-2:]
        theta = x.new_zeros(len(x), 0) if self.localizer is None else self.localizer(x)
        warp = self.transform(theta, aspect=width / height)
        return sample(x, warp, (height, width), self.background), warp


class Network(nn.Module):
    """transformers: (depth, transformer) pairs in the order they act; the backbone's outputs split into heads."""

    def __init__(self, backbone: Backbone, transformers: Sequence[tuple[int, SpatialTransformer]], heads: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.depths = [depth for depth, _ in transformers]
        self.transformers = nn.ModuleList(transformer for _, transformer in transformers)
        self.heads = heads
        self.to(memory_format=torch.channels_last)  # CPU and GPU kernels for convolution and pooling are faster so

    def forward(self, image: Tensor) -> Prediction:
        """image: [N, C, H, W], normalised."""
        warps: list[PointMap] = []
        inputs: list[Tensor] = []
        views: list[Tensor] = []
        features = image
        for depth in range(len(self.backbone.stages) + 1):
            if depth > 0:
                features = self.backbone.stages[depth - 1](features)
            for at, transformer in zip(self.depths, self.transformers, strict=True):
                if at == depth:
                    inputs.append(features)
                    features, warp = transformer(features)
                    views.append(features)
                    warps.append(warp)
        logits = self.backbone.head(features).reshape(len(image), self.heads, -1)
        return Prediction(logits, tuple(warps), tuple(inputs), tuple(views))

    def localizer_parameters(self) -> list[tuple[float, list[nn.Parameter]]]:
        """(learning-rate multiplier, parameters) of each transformer's localizer."""
        modules = [module for module in self.transformers if isinstance(module, SpatialTransformer)]
        return [(module.transform.lr_multiplier, list(module.parameters())) for module in modules]


def assemble(
    backbone: Backbone,
    sites: Sequence[Site],
    transform: Transform,
    make_localizer: MakeLocalizer,
    background: Tensor,
    heads: int = 1,
) -> Network:
    """Put a transformer at each site. background: [C] of the normalised image; outside features is zero.

    Raises StnlabError, with the backbone's stages, if a site's depth does not exist or holds no image.
    """
    transformers = []
    for site in sites:
        shape = _image_shape(backbone, site.depth)
        localizer = make_localizer(shape, transform.parameters) if transform.parameters else None
        outside = background if site.depth == 0 else torch.zeros(shape[0])
        transformers.append((site.depth, SpatialTransformer(localizer, transform, outside)))
    return Network(backbone, transformers, heads)


def _image_shape(backbone: Backbone, depth: int) -> Shape:
    stages = f"this backbone's depths and shapes are {backbone.describe()}"
    if depth >= len(backbone.shapes):
        raise StnlabError(f"placement.depth={depth}: there is no such stage; {stages}")
    shape = backbone.shapes[depth]
    if len(shape) != 3 or min(shape[1:]) < 2:
        raise StnlabError(f"placement.depth={depth}: a transformer needs an image of 2x2 or more there; {stages}")
    return shape

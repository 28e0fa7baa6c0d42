"""Do a network's features move with the image? The gap between features of a moved image and moved features of it.

A transformer on features can undo a motion of the image only if it moves the features alike. A convolution moves with
shifts, but under other motions its channels change too, unless its filters are symmetric: Finnveden, Jansson and
Lindeberg (2021), "Understanding when spatial transformer networks do not support invariance, and what to do about it".
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from stnlab.data.module import ImageData
from stnlab.geometry.maps import AffineMap
from stnlab.geometry.sampling import sample
from stnlab.geometry.transforms import similarity
from stnlab.models.backbones import Backbone
from stnlab.models.network import Network
from stnlab.training.orbits import chosen_images

IMAGES, AT_ONCE = 256, 64
LONGER = 96
"""Pixels by which an image is made longer to see how many features that adds: 2^5 * 3, which most strides divide."""

ROUNDING = 1e-5
"""Relative to the features; what differs less does not differ."""


@dataclass(frozen=True)
class Motion:
    """Of a whole image about its centre. rotation: degrees, counter-clockwise. scale: factor. shift: pixels, right and
    down."""

    rotation: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def map(self, like: Tensor, stride: float = 1.0) -> AffineMap:
        """For [N, C, H, W] images or features `stride` image pixels apart: where each point comes from, [N] maps."""
        height, width = like.shape[2:]
        one = torch.ones(len(like), device=like.device)
        x, y = (-2 * way / (stride * length) for way, length in zip(self.shift, (width, height), strict=True))
        angle = one * np.deg2rad(self.rotation)
        return AffineMap(similarity(angle, one / self.scale, one * x, one * y, width / height))


MOTIONS = {
    "rotation": tuple(Motion(rotation=angle) for angle in (-90, -45, 45, 90)),
    "scale": (Motion(scale=0.7), Motion(scale=1.4)),
    "shift": tuple(Motion(shift=way) for way in ((-4, 0), (4, 0), (0, -4), (0, 4))),
}


def feature_depths(network: Network) -> list[int]:
    """Depths whose features are images that no transformer has acted on yet: up to the first one's, for it gets them.

    Beyond, features of a moved image may stay where they are because they are rectified; that is no gap.
    """
    shapes = network.backbone.shapes
    last = min((site.depth for site in network.sites), default=len(shapes) - 1)
    return [depth for depth in range(1, last + 1) if len(shapes[depth]) == 3 and min(shapes[depth][1:]) > 1]


@torch.inference_mode()
def measure_equivariance(network: Network, data: ImageData, images: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Depths [K], and for each kind of motion the gaps [K, M] float32 of M test images in canonical pose.

    M is 256, or `images` if that is less; with fewer than two, or without a depth, nothing is measured. The network is
    in eval mode on the data's device. An image's gap is the mean of `gap` over the motions of a kind; NaN if no region
    of the features stays in sight, or the features of two images do not differ. `shift` is absent where a larger
    image has no more features, or is refused, so that nobody knows how far apart they are.
    """
    depths, chosen = feature_depths(network), chosen_images(data, min(images, IMAGES))
    if not depths or len(chosen) < 2:
        return np.zeros(0, np.int64), {}
    around = torch.cat([chosen, chosen[:1]])
    strides = _strides(network.backbone, depths)
    motions = {kind: moves for kind, moves in MOTIONS.items() if strides or kind != "shift"}
    parts: dict[str, list[Tensor]] = {kind: [] for kind in motions}
    for start in range(0, len(chosen), AT_ONCE):
        rows = around[start : start + AT_ONCE + 1]  # each image, and the one after it to compare with
        image = data.posed(data.picked("test", data.rows["test"][rows])).image
        image = image.to(next(network.parameters()).dtype)
        still = list(_features(network.backbone.stages, image, depths))
        for kind, moves in motions.items():
            each = [
                _gaps(network.backbone.stages, depths, strides, image, still, move, data.background) for move in moves
            ]
            parts[kind].append(torch.stack(each).nanmean(0))
    return np.array(depths), {kind: torch.cat(found, 1).cpu().numpy() for kind, found in parts.items()}


def gap(features: Tensor, still: Tensor, motion: Motion, stride: float = 1.0) -> Tensor:
    """[N] gaps |F(Tx) - TF(x)| / |F(Tx) - TF(x')|: 0 for equivariant features, 1 where x is as far as another image.

    features: F(Tx), [N, C, H, W]. still: F(x), [N + 1, C, H, W], in which the next image is the other one, x'. T acts
    on features about the centre of their frame, as a transformer there would. Distances are root mean squares over
    channels and the region whose points T takes from inside the frame; NaN if this is empty or x' is no distance away.
    What a stage's padding adds at the border of an image counts.
    """
    point_map = motion.map(still, stride)
    height, width = still.shape[2:]
    x, y = point_map.grid(height, width)[0].abs().unbind(-1)
    # Beyond the outermost pixels' centres a bilinear sample is mixed with what lies outside.
    seen = (x <= 1 - 1 / width + 1e-4) & (y <= 1 - 1 / height + 1e-4)
    moved = sample(still.float(), point_map, (height, width))[:, :, seen]
    reached = features.float()[:, :, seen]
    own, other, size = (x.square().mean((1, 2)).sqrt() for x in (reached - moved[:-1], reached - moved[1:], reached))
    return torch.where(other > ROUNDING * size, own / other, torch.nan)


def _gaps(
    stages: nn.ModuleList,
    depths: list[int],
    strides: list[float] | None,
    image: Tensor,
    still: list[Tensor],
    motion: Motion,
    background: Tensor,
) -> Tensor:
    """[depths, N] gaps of all but the last of N + 1 images. still: their features."""
    image = image[:-1]
    moved = sample(image, motion.map(image), (image.shape[2], image.shape[3]), background)
    features = _features(stages, moved, depths)
    far = strides or [1.0] * len(depths)
    return torch.stack([gap(one, at, motion, stride) for one, at, stride in zip(features, still, far, strict=True)])


def _shapes_only(stages: nn.ModuleList) -> list[Callable[[Tensor], Tensor]]:
    """The stages with parameters and buffers on the meta device, without a copy of them."""

    def bare(stage: nn.Module) -> Callable[[Tensor], Tensor]:
        held = {**dict(stage.named_parameters()), **dict(stage.named_buffers())}
        return partial(functional_call, stage, {name: tensor.to("meta") for name, tensor in held.items()})

    return [bare(stage) for stage in stages]


def _features(stages: Iterable[Callable[[Tensor], Tensor]], image: Tensor, depths: list[int]) -> Iterator[Tensor]:
    """What each of these depths makes of images."""
    for depth, stage in enumerate(islice(stages, depths[-1]), start=1):
        image = stage(image)
        if depth in depths:
            yield image


def _strides(backbone: Backbone, depths: list[int]) -> list[float] | None:
    """Image pixels from one feature to the next at each depth, None if a stage takes or makes images of one size.

    Worked out on the meta device, which knows shapes and computes nothing: what fails there, in stages that have
    already been at work, is a shape that one refuses. Memory and kernels cannot.
    """
    channels, height, width = backbone.shapes[0]
    longer = torch.zeros(1, channels, height + LONGER, width, device="meta", dtype=next(backbone.parameters()).dtype)
    try:
        found = [features.shape[2] for features in _features(_shapes_only(backbone.stages), longer, depths)]
    except RuntimeError:
        return None
    lengths = [backbone.shapes[depth][1] for depth in depths]
    if any(more <= length for more, length in zip(found, lengths, strict=True)):
        return None
    return [LONGER / (more - length) for more, length in zip(found, lengths, strict=True)]

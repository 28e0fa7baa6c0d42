"""What a network says of a batch."""

from dataclasses import dataclass

from torch import Tensor

from stnlab.geometry.maps import PointMap


@dataclass(frozen=True)
class Prediction:
    """logits: [N, heads, classes]. The rest has one entry for each transformer, in the order they act:

    warps: the predicted maps, from points of the view to points of what the transformer got.
    inputs: what reached it, [N, C, H, W]. views: what it made of that.
    """

    logits: Tensor
    warps: tuple[PointMap, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    views: tuple[Tensor, ...] = ()

"""What a network says of a batch."""

from dataclasses import dataclass

from torch import Tensor

from stnlab.geometry.maps import PointMap


@dataclass(frozen=True)
class Prediction:
    """logits: [N, heads, classes]. The rest has one entry for each transformer, in the order they act:

    warps: the predicted maps, from points of the view to points of what the transformer got.
    inputs: what reached it, [N, C, H, W]. views: what it made of that. sources: the transformer, by its number, whose
    view it got (with stages of the network between), None for one that got what no transformer had touched.
    """

    logits: Tensor
    warps: tuple[PointMap, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    views: tuple[Tensor, ...] = ()
    sources: tuple[int | None, ...] = ()

    @property
    def image_maps(self) -> tuple[PointMap, ...]:
        """From points of each view to points of the image: warps that act one after another, composed.

        Normalised coordinates mean the same place at every depth.
        """
        maps: list[PointMap] = []
        for warp, source in zip(self.warps, self.sources, strict=True):
            maps.append(warp if source is None else maps[source] @ warp)
        return tuple(maps)

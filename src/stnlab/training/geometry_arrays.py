"""What a run keeps of a batch's geometry: the arrays of `stnlab.runs.predictions.Predictions`, as tensors."""

import torch
from torch import Tensor

from stnlab.data.batch import Batch
from stnlab.geometry.maps import PointMap
from stnlab.models.prediction import Prediction
from stnlab.runs.predictions import LANDMARKS

GRID = 32
"""Largest grid, along each side, on which a view's pixels are counted."""
BLANK = 0.01
"""Contrast of a blank view, relative to its input's."""


def geometry_arrays(batch: Batch, prediction: Prediction) -> dict[str, Tensor]:
    """`poses`, `warps`, `residuals`, `outside` and `blank`, each if the data and the network have them."""
    landmarks = torch.from_numpy(LANDMARKS).to(batch.image.device)
    found = view_arrays(prediction)
    if batch.poses is None:
        return found
    found["poses"] = torch.stack([pose(landmarks) for pose in batch.poses], dim=1)
    if prediction.warps:
        reached = [image_map(landmarks) for image_map in prediction.image_maps]
        left = [torch.stack([pose(points) for pose in batch.poses], dim=1) for points in reached]
        found["residuals"] = torch.stack(left, dim=1)
    return found


def view_arrays(prediction: Prediction) -> dict[str, Tensor]:
    """`warps`, `outside` and `blank`; nothing without a transformer."""
    if not prediction.warps:
        return {}
    landmarks = torch.from_numpy(LANDMARKS).to(prediction.logits.device)
    warps, pairs = prediction.warps, zip(prediction.inputs, prediction.views, strict=True)
    sizes = [(view.shape[2], view.shape[3]) for view in prediction.views]
    return {
        "warps": torch.stack([warp(landmarks) for warp in warps], dim=1),
        "outside": torch.stack([outside_share(warp, size) for warp, size in zip(warps, sizes, strict=True)], dim=1),
        "blank": torch.stack([is_blank(view, reached) for reached, view in pairs], dim=1),
    }


def outside_share(warp: PointMap, size: tuple[int, int]) -> Tensor:
    """[N] in [0, 1]: the pixels of a view of this size (height, width) that come from outside the input's frame.

    Counted on the pixels of a smaller view where there are more than 32 along a side.
    """
    grid = warp.grid(min(size[0], GRID), min(size[1], GRID))
    inside = (grid.abs() <= 1).all(-1)  # a map that is no number leads outside
    return 1 - inside.float().mean(dim=(1, 2))


def is_blank(view: Tensor, reached: Tensor) -> Tensor:
    """[N] bool: whether views have less than 1% of the contrast of what they are made of, which has some.

    Contrast is the standard deviation over the pixels, root mean square over the channels: constant channels that
    differ from each other show nothing either.
    """
    before = _contrast(reached)
    some = before > 1e-5 * reached.float().square().mean(dim=(1, 2, 3)).sqrt()  # more than rounding leaves
    return some & (_contrast(view) < BLANK * before)


def _contrast(image: Tensor) -> Tensor:
    full = image.float()
    return (full - full.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(1, 2, 3)).sqrt()

"""Distortions: poses drawn as a function of (seed, epoch, parameter), and one warp of the image they came from."""

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from stnlab.errors import StnlabError
from stnlab.geometry.maps import AffineMap
from stnlab.geometry.sampling import sample
from stnlab.geometry.transforms import similarity
from stnlab.seeds import generator

Range = list[float]
Parameters = dict[str, Tensor]


class Distortion:
    """Turn, scale and place a digit on a canvas of `size` x `size` pixels, bilinear, in one resampling.

    rotation: [low, high] in degrees, positive turns counter-clockwise. scale: [low, high], factor on the digit's
    size. position: `centre` leaves the image's centre in the middle; `anywhere` draws a position such that all of the
    digit (its bounding box, turned and scaled) stays inside. All are uniform. Raises StnlabError for a bad range.

    The canonical image, which poses lead back to, is the original in the middle of the canvas at its own size.
    """

    def __init__(
        self,
        size: Annotated[int, Ge(4)],
        rotation: Range,
        scale: Range,
        position: Literal["centre", "anywhere"] = "centre",
    ) -> None:
        self.size = size
        self.rotation = _checked("rotation", rotation, -360.0)
        self.scale = _checked("scale", scale, 0.01)
        self.position = position

    def draw(self, boxes: Tensor, canvas: float, *key: int | str) -> Parameters:
        """One pose for each sample: `rotation` (radians), `scale`, `shift_x`, `shift_y` (normalised), [N] float32.

        boxes: [N, 4], left, top, right, bottom of each digit in its original's normalised coordinates. canvas: size
        of the original relative to the canvas. Each parameter has a generator of its own, from the key and its name.
        """
        unit = {
            name: torch.rand(len(boxes), generator=generator(*key, name)) for name in ("rotation", "scale", "x", "y")
        }
        low, high = self.rotation
        angle = torch.deg2rad(low + (high - low) * unit["rotation"])
        low, high = self.scale
        scale = low + (high - low) * unit["scale"]
        if self.position == "centre":
            shift_x = shift_y = torch.zeros_like(angle)
        else:
            corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) * canvas
            turned = forward(angle, scale)(corners)
            free_low, free_high = -1 - turned.amin(1), 1 - turned.amax(1)
            # A digit larger than the canvas has no free place: it goes to the middle of its overlap.
            shift_x, shift_y = (
                torch.where(high > low, low + (high - low) * u, (low + high) / 2)
                for low, high, u in zip(free_low.unbind(1), free_high.unbind(1), (unit["x"], unit["y"]), strict=True)
            )
        return {"rotation": angle, "scale": scale, "shift_x": shift_x, "shift_y": shift_y}

    def poses(self, parameters: Parameters) -> AffineMap:
        """The maps from the distorted image to the canonical one: undo the shift, then scale and rotation."""
        zero = torch.zeros_like(parameters["rotation"])
        linear = similarity(parameters["rotation"], 1 / parameters["scale"], zero, zero)
        shift = torch.stack([parameters["shift_x"], parameters["shift_y"]], dim=-1)
        return AffineMap(torch.cat([linear[:, :, :2], -linear[:, :, :2] @ shift[:, :, None]], dim=-1))

    def __call__(self, images: Tensor, poses: AffineMap) -> Tensor:
        """uint8 [N, C, H, W] to [N, C, size, size] in [0, 1]; outside the original is zero."""
        height, width = images.shape[2:]
        zoom = poses.matrix.new_tensor([[[self.size / width, 0, 0], [0, self.size / height, 0]]])
        return sample(images / 255.0, AffineMap(zoom) @ poses, (self.size, self.size))


def forward(angle: Tensor, scale: Tensor) -> AffineMap:
    """Where a pose without shift moves the points of the canonical image: the inverse of its map."""
    zero = torch.zeros_like(angle)
    return AffineMap(similarity(-angle, scale, zero, zero))


def bounding_boxes(images: Tensor) -> Tensor:
    """[N, 4] left, top, right, bottom of the pixels above zero, normalised. images: uint8 [N, C, H, W].

    An image without such a pixel counts as full.
    """
    sides = []
    for axis in (2, 3):
        filled = images.amax(dim=(1, axis)) > 0
        length = filled.shape[1]
        first = filled.int().argmax(1)
        last = length - filled.flip(1).int().argmax(1)
        sides.append((2 * first / length - 1, 2 * last / length - 1))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1)


def _checked(name: str, values: Range, least: float) -> tuple[float, float]:
    if len(values) != 2 or not least <= values[0] <= values[1] < math.inf:
        example = "[-90, 90]" if name == "rotation" else "[0.7, 1.2]"
        raise StnlabError(
            f"data.distortion.{name}={values}: give [low, high] with {least:g} <= low <= high, for example {example}"
        )
    return values[0], values[1]

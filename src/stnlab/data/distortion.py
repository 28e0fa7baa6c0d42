"""Distortions: poses drawn as a function of (seed, split, epoch, parameter), and one warp of the image."""

import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from stnlab.choices import check
from stnlab.data.bending import kept_convex, stretched_back
from stnlab.data.clutter import draw_clutter, strew
from stnlab.data.noise import gaussian
from stnlab.data.ranges import Parameters, Range, check_range, within
from stnlab.errors import StnlabError, nearest
from stnlab.geometry.constants import constant
from stnlab.geometry.maps import AffineMap, Homography, PointMap
from stnlab.geometry.sampling import sample
from stnlab.geometry.thin_plate import Plate, ThinPlateMap
from stnlab.geometry.transforms import similarity
from stnlab.seeds import generator

NONE = (0.0, 0.0)
Deviation = Annotated[float, Ge(0), Lt(1e4)]
"""In pixels. Far beyond any use; and float32 still holds the products of what is drawn."""


@dataclass(frozen=True)
class Distortion:
    """Shear, scale, turn and place an object on a canvas of `size` x `size` pixels, in one bilinear resampling.

    Each range is [low, high]; each parameter of each sample is drawn from it by itself, uniformly.

    rotation: degrees, positive turns counter-clockwise. scale: factor on the object's size; with scale_law
    `log_uniform` its logarithm is uniform. shear: degrees by which upright lines lean, positive to the left at the
    top, before the rotation. shift: pixels, right and down, drawn for each axis. position: `centre` leaves the image's
    centre in the middle; `anywhere` draws a position such that all of the object (its bounding box, sheared, scaled
    and turned) stays inside; the shift comes on top.

    perspective, elastic: standard deviations, in pixels, of normally distributed displacements: of the canvas's four
    corners (a sample's are halved until they make a convex frame), which a homography follows; and of elastic_points
    x elastic_points control points of a thin plate, in the direction from the distorted image to its source. Both act
    on the canvas, on the object that is placed already.

    clutter: how many crops of other samples' images are strewn over the canvas, each clutter_size x clutter_size of
    the other image's pixels; clutter_scale: the range of each crop's own magnification (None: 1); with clutter_scaled
    it is magnified as the sample's own object is, too. noise: standard deviation of Gaussian noise on each pixel of an
    image in [0, 1], which is then clipped.

    Raises StnlabError for a bad range. The canonical image, which poses lead back to, is the original in the middle of
    the canvas at its own size.
    """

    size: Annotated[int, Ge(4)]
    rotation: Range
    scale: Range
    scale_law: Literal["uniform", "log_uniform"] = "uniform"
    shear: Range = NONE
    shift: Range = NONE
    position: Literal["centre", "anywhere"] = "centre"
    perspective: Deviation = 0.0
    elastic: Deviation = 0.0
    elastic_points: Annotated[int, Ge(2)] = 4
    clutter: tuple[int, ...] = (0, 0)
    clutter_size: Annotated[int, Ge(1)] = 6
    clutter_scaled: bool = False
    clutter_scale: Range | None = None
    noise: Range = NONE

    def __post_init__(self) -> None:
        check_range("rotation", self.rotation, -360, 360, "[-90, 90]")
        check_range("scale", self.scale, 0.01, 100, "[0.7, 1.2]")
        check_range("shear", self.shear, -80, 80, "[-20, 20]")
        check_range("shift", self.shift, -self.size, self.size, "[-4, 4]")
        check_range("clutter", self.clutter, 0, 1000, "[6, 6]")
        check_range("clutter_scale", self.clutter_scale or (1, 1), 0.01, 100, "[0.5, 2]")
        check_range("noise", self.noise, 0, 100, "[0, 0.2]")

    @property
    def moves(self) -> bool:
        """Whether any image is shown otherwise than in the middle of the canvas, at its own size."""
        ranges = any((*self.rotation, *self.shear, *self.shift)) or set(self.scale) != {1}
        return ranges or self.position == "anywhere" or self.perspective > 0 or self.elastic > 0

    @property
    def pose_names(self) -> tuple[str, ...]:
        """Drawn parameters that describe a pose; of shear, perspective and elastic those that there are."""
        more = {"shear": any(self.shear), "perspective": self.perspective > 0, "elastic": self.elastic > 0}
        return ("rotation", "scale", "shift_x", "shift_y", *(name for name, there in more.items() if there))

    def changed(self, changes: Mapping[str, Any], path: str) -> "Distortion":
        """This distortion with some options changed; path: where these stand. Raises StnlabError for wrong ones."""
        hints = typing.get_type_hints(Distortion, include_extras=True)
        choices = set(hints) - {"size"}  # the network's input size is one
        for name in changes:
            if name not in choices:
                raise StnlabError(f"{path}.{name}: no such option{nearest(name, choices)}")
        checked = {name: check(value, hints[name], f"{path}.{name}") for name, value in changes.items()}
        try:
            return replace(self, **checked)
        except StnlabError as error:
            raise StnlabError(str(error).replace("data.distortion", path, 1)) from error

    def draw(self, boxes: Tensor, canvas: float, *key: int | str) -> dict[str, Tensor]:
        """One pose for each sample: [N] float32 of each parameter.

        Those are `rotation` and `shear` in radians, `scale`, `shift_x` and `shift_y`, normalised, and `perspective` and
        `elastic`, root mean squares of the displacements in pixels, with what makes the maps: `homography` [N, 3, 3]
        and `controls` [N, points^2, 2].

        boxes: [N, 4], left, top, right, bottom of each object in its original's normalised coordinates. canvas: size
        of the original relative to the canvas. Each parameter has a generator of its own, from the key and its name.
        """

        def unit(name: str) -> Tensor:
            return torch.rand(len(boxes), generator=generator(*key, name))

        drawn = {
            "rotation": torch.deg2rad(within(unit("rotation"), self.rotation)),
            "scale": self._scale(unit("scale")),
        }
        if any(self.shear):
            drawn["shear"] = torch.deg2rad(within(unit("shear"), self.shear))
        shift = torch.stack([within(unit(name), self.shift) for name in ("shift_x", "shift_y")], dim=1) * 2 / self.size
        if self.position == "anywhere":
            corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) * canvas
            placed = forward(drawn)(corners)
            low, high = -1 - placed.amin(1), 1 - placed.amax(1)
            free = low + (high - low) * torch.stack([unit("x"), unit("y")], dim=1)
            # An object larger than the canvas has no free place: it goes to the middle of its overlap.
            shift = torch.where(high > low, free, (low + high) / 2) + shift
        drawn["shift_x"], drawn["shift_y"] = shift.unbind(1)
        return drawn | self._draw_bending(len(boxes), *key)

    def _draw_bending(self, count: int, *key: int | str) -> dict[str, Tensor]:
        drawn: dict[str, Tensor] = {}
        if self.perspective:
            moved = torch.randn(count, 4, 2, generator=generator(*key, "perspective"))
            moved = kept_convex(moved * (2 * self.perspective / self.size))
            drawn |= {"homography": stretched_back(moved), "perspective": self._in_pixels(moved)}
        if self.elastic:
            moved = torch.randn(count, self.elastic_points**2, 2, generator=generator(*key, "elastic"))
            moved = moved * (2 * self.elastic / self.size)
            drawn |= {"controls": moved, "elastic": self._in_pixels(moved)}
        return drawn

    def _in_pixels(self, displacements: Tensor) -> Tensor:
        """Root mean squares [N] of displacements [N, K, 2]."""
        return displacements.square().mean(dim=(1, 2)).sqrt() * (self.size / 2)

    def draw_disturbance(self, count: int, rows: Tensor, *key: int | str) -> dict[str, Tensor]:
        """Clutter and noise of `count` samples; what is off draws nothing. rows: samples that may be cropped."""
        drawn: dict[str, Tensor] = {}
        if self.clutter[1] >= 1:
            drawn |= draw_clutter(count, self.clutter, rows, self.clutter_scale, *key)
        if self.noise[1] > 0:
            drawn["noise"] = within(torch.rand(count, generator=generator(*key, "noise")), self.noise)
            drawn["noise_keys"] = torch.randint(2**32, (count, 2), generator=generator(*key, "noise_keys"))
        return drawn

    def posed(self, drawn: Parameters, rotation: float, scale: float) -> Parameters:
        """What was drawn, but every pose the canonical one turned by `rotation` degrees and scaled by `scale`."""
        nothing = torch.zeros_like(drawn["rotation"])
        moved = dict.fromkeys(self.pose_names, nothing)
        moved |= {"rotation": nothing + math.radians(rotation), "scale": nothing + scale}
        return {name: values for name, values in drawn.items() if name not in ("homography", "controls")} | moved

    def poses(self, parameters: Parameters) -> PointMap:
        """The maps from the distorted image to the canonical one.

        They undo the elastic distortion, the perspective, the shift, and then rotation, scale and shear.
        """
        zero = torch.zeros_like(parameters["rotation"])
        # Products of maps, since a matrix product on a GPU may round to TF32.
        poses: PointMap = AffineMap(similarity(parameters["rotation"], 1 / parameters["scale"], zero, zero))
        if "shear" in parameters:
            poses = _shear(-parameters["shear"]) @ poses
        back = similarity(zero, torch.ones_like(zero), -parameters["shift_x"], -parameters["shift_y"])
        poses = poses @ AffineMap(back)
        if "homography" in parameters:
            poses = poses @ Homography(parameters["homography"])
        if "controls" in parameters:
            poses = poses @ ThinPlateMap(parameters["controls"], self._plate)
        return poses

    @cached_property
    def _plate(self) -> Plate:
        return Plate(self.elastic_points)

    def __call__(self, images: Tensor, poses: PointMap, background: Tensor | None = None) -> Tensor:
        """uint8 [N, C, H, W] to [N, C, size, size] in [0, 1]; outside is `background` ([C], None: zero)."""
        height, width = images.shape[2:]
        if (height, width) == (self.size, self.size):
            return sample(images / 255.0, poses, (self.size, self.size), background)
        zooms = (self.size / width, 0.0, 0.0, 0.0, self.size / height, 0.0)
        matrix = constant(zooms, torch.get_default_dtype(), images.device).reshape(1, 2, 3)
        return sample(images / 255.0, AffineMap(matrix) @ poses, (self.size, self.size), background)

    def disturb(self, images: Tensor, parameters: Parameters, stored: Callable[[Tensor], Tensor]) -> Tensor:
        """Distorted images [N, C, size, size] in [0, 1] with clutter, then noise. stored: rows to uint8 images."""
        if "clutter" in parameters:
            zoom = parameters.get("clutter_scale", torch.ones_like(parameters["crop_x"]))
            largest = self.clutter_scale[1] if self.clutter_scale else 1.0
            if self.clutter_scaled:
                zoom, largest = zoom * parameters["scale"][:, None], largest * self.scale[1]
            sources = stored(parameters["clutter_source"])
            images = strew(images, sources, parameters, self.clutter_size, zoom, largest)
        if "noise" in parameters:
            noise = gaussian(parameters["noise_keys"], tuple(images.shape[1:]))
            images = (images + noise * parameters["noise"][:, None, None, None]).clamp(0, 1)
        return images

    def _scale(self, unit: Tensor) -> Tensor:
        low, high = self.scale
        return within(unit, self.scale) if self.scale_law == "uniform" else low * (high / low) ** unit


def forward(parameters: Parameters) -> PointMap:
    """Where poses without their shift move the points of the canonical image: the inverse of their maps."""
    zero = torch.zeros_like(parameters["rotation"])
    moved: PointMap = AffineMap(similarity(-parameters["rotation"], parameters["scale"], zero, zero))
    return moved @ _shear(parameters["shear"]) if "shear" in parameters else moved


def _shear(angle: Tensor) -> AffineMap:
    """Maps that take points above the centre (y < 0) to the left for a positive angle."""
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    return AffineMap(torch.stack([one, angle.tan(), zero, zero, one, zero], dim=-1).reshape(-1, 2, 3))


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

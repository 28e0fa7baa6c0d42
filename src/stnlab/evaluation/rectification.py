"""What a transformer leaves of the true pose: arrays of `predictions.npz` in, numbers out.

A rectified object is one that always looks alike, not one in the pose of the dataset: a transformer that turns all
sixes upside down has done its job. So every measure is a spread within a class, never a distance from the identity.
The same measure of the poses themselves says what there was to undo. So Finnveden, Jansson and Lindeberg (2021,
*Understanding when spatial transformer networks do not support invariance, and what to do about it*) compare
placements on rotated images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stnlab.evaluation.calibration import Array, Floats

GRID = np.array([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)])
"""[9, 2]: the landmarks of the frame whose images are saved (`runs.predictions.LANDMARKS`)."""
CENTRE, CORNERS = 4, (0, 2, 8, 6)
MOST_CLASSES = 50
NOTHING = 1e-3
"""Degrees, pixels or powers of two: a parameter that varies less, before and after, was never touched."""


@dataclass(frozen=True)
class Motion:
    """What is read off M maps: angle [M] in radians, log2_scale [M], centre [M, 2] and corners [M, 4, 2] in pixels.

    angle: of the rotation nearest to the map's linear part (its polar factor), positive counter-clockwise as the eye
    sees it of a pose, log2_scale: half the log2 of its absolute determinant. centre, corners: where those of the frame
    go.
    """

    angle: Floats
    log2_scale: Floats
    centre: Floats
    corners: Floats


def motion(landmarks: Array, canvas: Sequence[int]) -> Motion:
    """Angle and scale are the least-squares affine map's of the images of the landmarks [M, 9, 2], normalised.

    canvas: (height, width) in pixels. A map to a single point counts as a scale of 2^-20.
    """
    points = np.asarray(landmarks, np.float64) * _half(canvas)
    frame = GRID * _half(canvas)
    # The landmarks' coordinates are orthogonal to each other and to 1: each coefficient is a projection of its own.
    linear = np.einsum("mpi,pj->mij", points, frame / (frame**2).sum(axis=0))
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    angle = np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    log2_scale = np.log2(np.maximum(np.abs(determinant), 2.0**-40)) / 2
    return Motion(angle, log2_scale, points[:, CENTRE], points[:, CORNERS])


def rectification(poses: Array, residuals: Array, labels: Array, canvas: Sequence[int]) -> dict[str, float]:
    """`<transformer>/<parameter>/{input,residual}`: spreads within class, of the poses and of what is left of them.

    poses: [N, objects, 9, 2], residuals: [N, transformers, objects, 9, 2], labels: [N, heads], canvas: (height, width)
    of the canonical image in pixels.

    `rotation`: circular standard deviation in degrees (`circular_deviation`), also for each class, as
    `rotation/class_<k>`, of at most 50. `scale`: standard deviation of the log2 of the factor. `shift`: root mean
    square distance, in pixels, of the image of the centre from its mean. `corners`: mean distance, in pixels, of the
    images of the corners from their means, for a map of any kind. Parameters that vary neither before nor after are
    left out, and everything of a transformer with a residual that is not finite.

    A class is that of a sample's only label. Samples with several labels are one class; of several objects each is a
    sample, in classes of its own.
    """
    count, objects = poses.shape[:2]
    several = labels.shape[1] > 1 or objects > 1
    classes = np.zeros(count, np.int64) if labels.shape[1] > 1 else labels[:, 0]
    groups = (classes[:, None] * objects + np.arange(objects)).ravel()
    before = motion(poses.reshape(-1, 9, 2), canvas)
    found: dict[str, float] = {}
    for number in range(residuals.shape[1]):
        left = residuals[:, number].reshape(-1, 9, 2)
        if not np.isfinite(left).all():
            continue
        own = _spreads(before, motion(left, canvas), groups, by_class=not several)
        found |= {f"{number}/{name}": value for name, value in own.items()}
    return found


def circular_deviation(angles: Floats, groups: Array) -> float:
    """Circular standard deviation sqrt(-2 ln R), in radians, R pooled within groups (Mardia & Jupp 2000, 2.3.11).

    R of a group is the length of the mean of (cos, sin), in [0, 1]; pooled: its mean over the samples. angles, groups:
    [M]. Finite: at most 8.5, where R is zero.
    """
    _, group = np.unique(groups, return_inverse=True)
    lengths = np.hypot(np.bincount(group, np.cos(angles)), np.bincount(group, np.sin(angles)))
    pooled = np.clip(lengths.sum() / len(angles), np.finfo(np.float64).eps, 1)
    return float(np.sqrt(np.abs(2 * np.log(pooled))))


def from_own_mean(values: Floats, groups: Array) -> Floats:
    """Values [M, ...] less the mean of their group."""
    unique, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(unique), *values.shape[1:]))
    np.add.at(sums, group, values)
    counts = np.bincount(group).reshape(-1, *[1] * (values.ndim - 1))
    result: Floats = values - (sums / counts)[group]
    return result


def _spreads(before: Motion, after: Motion, groups: Array, by_class: bool) -> dict[str, float]:
    measures: dict[str, Callable[[Motion], float]] = {
        "rotation": lambda one: float(np.degrees(circular_deviation(one.angle, groups))),
        "scale": lambda one: root_mean_square(from_own_mean(one.log2_scale, groups)[:, None]),
        "shift": lambda one: root_mean_square(from_own_mean(one.centre, groups)),
        "corners": lambda one: float(np.linalg.norm(from_own_mean(one.corners, groups), axis=-1).mean()),
    }
    pairs = {name: (measure(before), measure(after)) for name, measure in measures.items()}
    classes = np.unique(groups)
    if by_class and len(classes) <= MOST_CLASSES and max(pairs["rotation"]) > NOTHING:
        for label in classes:
            rows = groups == label
            own = [float(np.degrees(circular_deviation(one.angle[rows], groups[rows]))) for one in (before, after)]
            pairs[f"rotation/class_{label}"] = (own[0], own[1])
    found: dict[str, float] = {}
    for name, (given, left) in pairs.items():
        if "/" in name or max(given, left) > NOTHING:
            found |= {f"{name}/input": given, f"{name}/residual": left}
    return found


def _half(canvas: Sequence[int]) -> Floats:
    return np.array([canvas[1], canvas[0]]) / 2


def root_mean_square(vectors: Floats) -> float:
    """Of the lengths of vectors [..., D]."""
    return float(np.sqrt((vectors**2).sum(axis=-1).mean()))

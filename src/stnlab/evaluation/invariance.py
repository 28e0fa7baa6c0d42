"""Does a prediction stay when the image moves? Measures along orbits: the same images at each of several values."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.evaluation.calibration import Bools, Floats, ece

Array = NDArray[Any]

PERIODS = {"rotation": 360.0}
"""Of the orbits that are circles."""
ROUNDING = 1e-6
TO_CANONICAL = ("agreement", "total_variation")
"""Compare with the canonical value: there they are 1 and 0, whatever the network, so that means leave it out."""
WHOLE = 0.05
"""Of the images' content: where less leaves the frame, an orbit measures invariance and not what cropping takes."""


@dataclass(frozen=True)
class OrbitSizes:
    """How many test images are moved, 0: none, and how many values each orbit has.

    Raises StnlabError for an even number of scales.
    """

    images: Annotated[int, Ge(0)]
    rotations: Annotated[int, Ge(2)]
    scales: Annotated[int, Ge(3)]

    def __post_init__(self) -> None:
        if self.scales % 2 == 0:
            raise StnlabError(f"evaluation.scales={self.scales}: give an odd number, so that 1 is among the factors")

    def values(self) -> dict[str, Floats]:
        """`rotation`: degrees in (-180, 180], evenly spaced, 0 among them. `scale`: factors from 0.5 to 2, their
        logarithms evenly spaced, exactly 1 in the middle. Both rise."""
        angles = np.arange(-((self.rotations - 1) // 2), self.rotations // 2 + 1) * (360 / self.rotations)
        half = self.scales // 2
        return {"rotation": angles, "scale": np.exp2(np.arange(-half, half + 1) / half)}


class OrbitArrays(Protocol):
    """What `stnlab.runs.evaluation.Orbit` keeps of V values and M images.

    values: [V]. canonical: which of them moves nothing. training: (low, high), the values seen in training. labels:
    [M, heads]. predicted: [V, M, heads]. confidence: [V, M]. variation: [V, M], to the canonical distribution. cut:
    [V], the share of the images' content outside the frame, or None.
    """

    @property
    def values(self) -> Array: ...
    @property
    def canonical(self) -> int: ...
    @property
    def training(self) -> tuple[float, float]: ...
    @property
    def labels(self) -> Array: ...
    @property
    def predicted(self) -> Array: ...
    @property
    def confidence(self) -> Array: ...
    @property
    def variation(self) -> Array: ...
    @property
    def cut(self) -> Array | None: ...


def curves(orbit: OrbitArrays) -> dict[str, Floats]:
    """Measures over the images at each value: [V] each, fractions.

    accuracy: share of images with all heads right. agreement: share whose heads all say what they say at the canonical
    value. total_variation: mean distance, in [0, 1], of the predicted distribution to that at the canonical value.
    confidence: its mean. ece: expected calibration error (15 bins). gap: confidence - accuracy, positive where the
    network is overconfident.
    """
    correct: Bools = (orbit.predicted == orbit.labels).all(axis=-1)
    same: Bools = (orbit.predicted == orbit.predicted[orbit.canonical]).all(axis=-1)
    confidence, accuracy = orbit.confidence.mean(axis=1, dtype=np.float64), correct.mean(axis=1)
    return {
        "accuracy": accuracy,
        "agreement": same.mean(axis=1),
        "total_variation": orbit.variation.mean(axis=1, dtype=np.float64),
        "confidence": confidence,
        "ece": np.array([ece(sure, right) for sure, right in zip(orbit.confidence, correct, strict=True)]),
        "gap": confidence - accuracy,
    }


def inside(values: Array, training: tuple[float, float], period: float | None = None) -> Bools:
    """Which values [V] lie in the range, ends included. period: of values on a circle, of which any turn may lie in it.

    Training with rotations of [0, 270] has seen -170 degrees: it is 190.
    """
    low, high = training[0] - ROUNDING, training[1] + ROUNDING
    if period is not None:
        values = values + np.ceil((low - values) / period) * period
    within: Bools = (low <= values) & (values <= high)
    return within


def value_names(orbit: str, values: Array) -> list[str]:
    """Values in metrics' names: `+030` degrees, `x1.41` for a factor, with more decimals where these are not apart;
    `-007.5` where not all degrees are whole."""
    for more in itertools.count():
        digits = f"+0{4 + more + (more > 0)}.{more}f" if orbit == "rotation" else f".{2 + more}f"
        names = [f"{'' if orbit == 'rotation' else 'x'}{value:{digits}}" for value in values]
        exact = more > 0 or orbit != "rotation" or np.allclose(values, np.round(values), atol=1e-6)
        if exact and len(set(names)) == len(names):
            break
    return names


def invariance(orbits: Mapping[str, OrbitArrays]) -> dict[str, float]:
    """Means of the measures of `curves` and, as `<orbit>/<value>/<measure>`, each of their values.

    `<orbit>/<measure>`: over all values; `<orbit>/{inside,outside}/<measure>`: over those in the training range and the
    others; `<orbit>/whole/<measure>`: over those at which less than 5% of the images' content is cut. The means of
    agreement and total variation are without the canonical value, where they say nothing. Absent where no value is
    left. `<orbit>/<value>/cut`: the share of the images' content outside the frame, where it is known.
    """
    found: dict[str, float] = {}
    for name, orbit in orbits.items():
        along, names = curves(orbit), value_names(name, orbit.values)
        seen, moved = inside(orbit.values, orbit.training, PERIODS.get(name)), np.arange(len(names)) != orbit.canonical
        chosen: dict[str, Bools] = {name: np.ones_like(seen), f"{name}/inside": seen, f"{name}/outside": ~seen}
        if orbit.cut is not None:
            chosen[f"{name}/whole"] = orbit.cut < WHOLE
        for where, rows in chosen.items():
            for measure, values in along.items():
                counted = rows & moved if measure in TO_CANONICAL else rows
                if counted.any():
                    found[f"{where}/{measure}"] = float(values[counted].mean())
        each = along if orbit.cut is None else along | {"cut": orbit.cut}
        for number, value in enumerate(names):
            found |= {f"{name}/{value}/{measure}": float(values[number]) for measure, values in each.items()}
    return found

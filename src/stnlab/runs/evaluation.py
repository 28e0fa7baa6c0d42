"""`evaluation.npz`: what could not be said without the model, kept as arrays so that reports need none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Examples:
    """A few test samples to look at.

    indices: [M] rows of the test predictions. images: [M, C, H, W] uint8, the distorted images as the network gets
    them. before and after: one [M, h, w] uint8 array for each transformer: what reached it and the view it made
    (channel means; for features scaled to their own range, the same for both).
    """

    indices: np.ndarray
    images: np.ndarray
    before: list[np.ndarray] = field(default_factory=list)
    after: list[np.ndarray] = field(default_factory=list)

    def to_arrays(self) -> Arrays:
        arrays = {"examples/indices": self.indices, "examples/images": self.images}
        for number, (before, after) in enumerate(zip(self.before, self.after, strict=True)):
            arrays |= {f"examples/before/{number}": before, f"examples/after/{number}": after}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Examples":
        count = sum(name.startswith("examples/before/") for name in arrays)
        return cls(
            indices=arrays["examples/indices"],
            images=arrays["examples/images"],
            before=[arrays[f"examples/before/{number}"] for number in range(count)],
            after=[arrays[f"examples/after/{number}"] for number in range(count)],
        )


@dataclass(frozen=True)
class Orbit:
    """The same test images in canonical pose, moved by one parameter alone, which takes each of V values.

    values: [V], rotation in degrees or scale as a factor, rising. canonical: which of them moves nothing. training:
    (low, high), the values seen in training. indices: [M], rows of the test predictions. labels: [M, heads].
    predicted: [V, M, heads] int16. confidence: [V, M] float32. variation: [V, M] float32, total variation distance, in
    [0, 1], of the predicted distribution to that at the canonical value (the mean over heads). cut: [V] float32, the
    share of the images' content that leaves the frame, mean over images; None where nobody knows (photographs, runs
    from before it was kept).
    """

    values: np.ndarray
    canonical: int
    training: tuple[float, float]
    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    variation: np.ndarray
    cut: np.ndarray | None = None


@dataclass(frozen=True)
class Frames:
    """Views of the first examples as they were after some epochs of training. epochs: [E], counted from 1.

    views: for each transformer [E, M, h, w] uint8, scaled as `Examples.after` is. corners: [E, M, transformers, 4, 2].
    """

    epochs: np.ndarray
    views: list[np.ndarray]
    corners: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """Everything in `evaluation.npz`; what a run has not (no transformer, no canonical pose, ...) is absent.

    orbits: `rotation` and `scale`. equivariance: name of a motion (`rotation`, `scale`, `shift`) -> [depths, M], the
    gap of each image at each of `depths` (see `stnlab.evaluation.equivariance`). class_means: for each transformer
    (before [classes, h, w], after [classes, h', w']) float32, mean image of each class as it reached the transformer
    and as it left. view_variances: [transformers, 2], variance over the test images, mean over the pixels, of what
    reached each transformer and of what left it.
    """

    examples: Examples
    orbits: dict[str, Orbit] = field(default_factory=dict)
    depths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    equivariance: dict[str, np.ndarray] = field(default_factory=dict)
    class_means: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    frames: Frames | None = None
    view_variances: np.ndarray | None = None

    def to_arrays(self) -> Arrays:
        arrays = self.examples.to_arrays()
        for name, orbit in self.orbits.items():
            known = {key: value for key, value in vars(orbit).items() if value is not None}
            arrays |= {f"orbits/{name}/{key}": np.asarray(value) for key, value in known.items()}
        arrays |= {f"equivariance/{name}": gaps for name, gaps in self.equivariance.items()}
        arrays |= {"depths": self.depths} if self.equivariance else {}
        for number, (before, after) in enumerate(self.class_means):
            arrays |= {f"class_means/before/{number}": before, f"class_means/after/{number}": after}
        if self.view_variances is not None:
            arrays["view_variances"] = self.view_variances
        if self.frames is not None:
            arrays |= {"frames/epochs": self.frames.epochs, "frames/corners": self.frames.corners}
            arrays |= {f"frames/views/{number}": views for number, views in enumerate(self.frames.views)}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Evaluation":
        return cls(
            examples=Examples.from_arrays(dict(arrays)),
            orbits={name: _orbit(arrays, name) for name in _names(arrays, "orbits/")},
            depths=arrays.get("depths", np.zeros(0, np.int64)),
            equivariance={name: arrays[f"equivariance/{name}"] for name in _names(arrays, "equivariance/")},
            class_means=[
                (before, arrays[f"class_means/after/{number}"])
                for number, before in enumerate(_numbered(arrays, "class_means/before/"))
            ],
            frames=_frames(arrays),
            view_variances=arrays.get("view_variances"),
        )


def _names(arrays: Iterable[str], prefix: str) -> list[str]:
    """What follows the prefix up to the next slash, each once, in order of first appearance."""
    return list(dict.fromkeys(key.removeprefix(prefix).split("/")[0] for key in arrays if key.startswith(prefix)))


def _numbered(arrays: Mapping[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    return [arrays[f"{prefix}{number}"] for number in range(sum(key.startswith(prefix) for key in arrays))]


def _orbit(arrays: Mapping[str, np.ndarray], name: str) -> Orbit:
    prefix = f"orbits/{name}/"
    fields = {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}
    canonical, (low, high) = int(fields.pop("canonical")), fields.pop("training")
    return Orbit(canonical=canonical, training=(float(low), float(high)), **fields)


def _frames(arrays: Mapping[str, np.ndarray]) -> Frames | None:
    if "frames/epochs" not in arrays:
        return None
    return Frames(arrays["frames/epochs"], _numbered(arrays, "frames/views/"), arrays["frames/corners"])

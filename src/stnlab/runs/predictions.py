"""The arrays of a run: what the network said of every validation and test sample, and of a few it shows."""

from dataclasses import dataclass, field

import numpy as np

LANDMARKS = np.array([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)], dtype=np.float32)
"""[9, 2]: corners, edge middles and centre of the frame, (x, y) normalised. Their images tell any map here apart."""
CORNERS = (0, 2, 8, 6)
"""The landmarks that go around the frame: top left, top right, bottom right, bottom left."""


@dataclass(frozen=True)
class Predictions:
    """One split of `predictions.npz`, in order of sample index.

    logits: [N, heads, classes] float32. labels: [N, heads] int64. indices: [N] int64, the sample in its dataset.
    poses: [N, objects, 9, 2], where each landmark of the distorted image came from in the canonical one (None:
    unknown). warps: [N, transformers, 9, 2], where each landmark of the view was sampled in the transformer's input
    (None: no transformer). pose_parameters: name -> [N, objects], e.g. `rotation` in radians (empty: unknown).
    """

    logits: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    poses: np.ndarray | None = None
    warps: np.ndarray | None = None
    pose_parameters: dict[str, np.ndarray] = field(default_factory=dict)

    def to_arrays(self, split: str) -> dict[str, np.ndarray]:
        named = {"logits": self.logits, "labels": self.labels, "indices": self.indices}
        named |= {"poses": self.poses} if self.poses is not None else {}
        named |= {"warps": self.warps} if self.warps is not None else {}
        named |= {f"pose_parameters/{name}": values for name, values in self.pose_parameters.items()}
        return {f"{split}/{name}": values for name, values in named.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], split: str) -> "Predictions | None":
        own = {
            name.removeprefix(f"{split}/"): values for name, values in arrays.items() if name.startswith(f"{split}/")
        }
        if "logits" not in own:
            return None
        prefix = "pose_parameters/"
        parameters = {name.removeprefix(prefix): values for name, values in own.items() if name.startswith(prefix)}
        fields = {name: values for name, values in own.items() if not name.startswith(prefix)}
        return cls(**fields, pose_parameters=parameters)


@dataclass(frozen=True)
class Examples:
    """A few test samples to look at, in `evaluation.npz`.

    indices: [M] rows of the test predictions. images: [M, C, H, W] uint8, the distorted images as the network gets
    them. before and after: one [M, h, w] uint8 array for each transformer: what reached it and the view it made
    (channel means; for features scaled to their own range, the same for both).
    """

    indices: np.ndarray
    images: np.ndarray
    before: list[np.ndarray] = field(default_factory=list)
    after: list[np.ndarray] = field(default_factory=list)

    def to_arrays(self) -> dict[str, np.ndarray]:
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

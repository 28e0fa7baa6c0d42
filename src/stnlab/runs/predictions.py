"""`predictions.npz`: what the network said of every validation and test sample."""

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
    (None: no transformer). residuals: [N, transformers, objects, 9, 2], where each landmark of the view came from in
    the canonical image (None unless there are poses and warps): `pose @ warp`, what a transformer left of the pose;
    transformers that act one after another have their warps composed first. outside: [N, transformers], the share of
    the view's pixels that were sampled outside the input. blank: [N, transformers] bool, whether the view shows nothing
    although its input did. pose_parameters: name -> [N, objects], e.g. `rotation` in radians (empty: unknown).
    """

    logits: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    poses: np.ndarray | None = None
    warps: np.ndarray | None = None
    residuals: np.ndarray | None = None
    outside: np.ndarray | None = None
    blank: np.ndarray | None = None
    pose_parameters: dict[str, np.ndarray] = field(default_factory=dict)

    def to_arrays(self, split: str) -> dict[str, np.ndarray]:
        named = {"logits": self.logits, "labels": self.labels, "indices": self.indices}
        absent = {name: getattr(self, name) for name in ("poses", "warps", "residuals", "outside", "blank")}
        named |= {name: values for name, values in absent.items() if values is not None}
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

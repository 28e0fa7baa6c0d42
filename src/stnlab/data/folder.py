"""A user's own images, a folder for each class."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt

from stnlab.data.dataset import Dataset
from stnlab.data.pictures import Pictures, reason
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError
from stnlab.seeds import generator

Share = Annotated[float, Gt(0), Lt(1)]
MISSING = "???"
"""What Hydra's files say of a value that the user must give."""


class Folder(Dataset):
    """`<root>/train/<class>/<image>`, likewise `test` and, optionally, `val`; or `<root>/<class>/<image>` for all.

    name: what the images are; part of a run's identity, which the path is not. classes: how many folders there are,
    in order of their names, the same in each split. pixels: to resize each image's middle square to. test_share, seed:
    the part of the images to test with and the seed that draws them, where there are no `train` and `test`.

    Raises StnlabError without a name: two folders would be taken for one, and one's results be given for the other's.

    Normalised as is usual for photographs (the mean of ImageNet), which is also what is beyond the edges.
    """

    channels = 3
    posed = False
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    background = mean

    def __init__(
        self, name: str, classes: Annotated[int, Ge(2)], pixels: Annotated[int, Ge(4)], test_share: Share, seed: int
    ) -> None:
        if name in ("", MISSING):
            raise StnlabError(
                "data.dataset.name: is missing; give data.dataset.name=... for what the images are: it is part of the "
                "run's identity, which data.root is not"
            )
        self.name, self.classes, self.pixels = name, classes, pixels
        self.test_share, self.seed = test_share, seed

    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        if not root.is_dir():
            raise StnlabError(f"{root}: no such folder; name one with data.root=...")
        if not (root / "train").is_dir():
            return self._drawn(self._listed(root))
        train, test = self._listed(root / "train"), self._listed(root / "test", like=root / "train")
        held = self._listed(root / "val", like=root / "train") if (root / "val").is_dir() else []
        return self._raw(train + held, len(held)), self._raw(test)

    def _listed(self, folder: Path, like: Path | None = None) -> list[tuple[str, int]]:
        """Path and class of each image. like: a folder that must have the same classes."""
        from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]

        try:
            found: Any = ImageFolder(str(folder))
        except OSError as error:
            raise StnlabError(f"{folder}: cannot be read ({reason(error)})") from error
        if len(found.classes) != self.classes:
            there = len(found.classes)
            raise StnlabError(f"{folder}: holds {there} classes, not {self.classes}; give data.dataset.classes={there}")
        if like and (other := set(found.classes) ^ {path.name for path in like.iterdir() if path.is_dir()}):
            raise StnlabError(
                f"{folder}: its classes are not those of {like}: only one of them has {', '.join(sorted(other)[:5])}; "
                "name the folders of a class alike"
            )
        return list(found.samples)

    def _drawn(self, samples: list[tuple[str, int]]) -> tuple[RawImages, RawImages]:
        order = torch.randperm(len(samples), generator=generator(self.seed, "folder", "test")).tolist()
        tested = set(order[: max(1, round(self.test_share * len(samples)))])
        if len(tested) == len(samples):
            raise StnlabError(
                f"data.dataset.test_share={self.test_share}: leaves none of the {len(samples)} images to train with; "
                "give less"
            )
        train, test = ([samples[row] for row in range(len(samples)) if (row in tested) == part] for part in (0, 1))
        return self._raw(train), self._raw(test)

    def _raw(self, samples: list[tuple[str, int]], held_out: int = 0) -> RawImages:
        paths, labels = zip(*samples, strict=True)
        return RawImages(Pictures(paths, self.pixels), np.array(labels, dtype=np.int64), held_out)

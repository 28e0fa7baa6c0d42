"""CUB-200-2011."""

from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge

from stnlab.data.dataset import Dataset
from stnlab.data.pictures import Pictures
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError

SOURCE = "https://data.caltech.edu/records/65de6-vp158"


class Cub(Dataset):
    """Wah et al. 2011: 5,994 and 5,794 photographs of birds of 200 species, the middle square of each.

    pixels: to resize the square to. All of them are 1.7 GiB at 224 pixels and 6.6 GiB at the 448 of Jaderberg et al.
    2015: by default (`data.memory_gib`) the former lie in memory and the latter are decoded as they are needed.
    Normalised by ImageNet's mean and deviation, as pretrained backbones expect.

    Files, not fetched: `CUB_200_2011/` with `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `images/`.
    """

    sizes = (5_994, 5_794)
    channels, classes = 3, 200
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    background = mean
    posed = False

    def __init__(self, pixels: Annotated[int, Ge(4)]) -> None:
        self.pixels = pixels

    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        folder = root / "CUB_200_2011"
        names = _table(folder / "images.txt")
        labels, trains = (
            _numbers(folder / f"{name}.txt", names) for name in ("image_class_labels", "train_test_split")
        )
        splits = []
        for wanted in (1, 0):
            rows = [image for image in names if trains[image] == wanted]
            paths = [folder / "images" / names[image] for image in rows]
            classes = np.array([labels[image] - 1 for image in rows], dtype=np.int64)
            splits.append(RawImages(Pictures(paths, self.pixels), classes))
        train, test = splits
        return train, test


def _table(path: Path) -> dict[str, str]:
    """Lines `<image id> <value>`."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StnlabError(f"{path}: cannot be read; unpack CUB_200_2011.tgz ({SOURCE}) into the data root") from error
    pairs = [line.split(" ") for line in lines]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise StnlabError(f"{path}: is truncated or wrong: its lines are no pairs of an image and a value")
    return {pair[0]: pair[1] for pair in pairs}


def _numbers(path: Path, names: dict[str, str]) -> dict[str, int]:
    """The whole number of each image."""
    values = _table(path)
    if values.keys() != names.keys() or not all(value.isdigit() for value in values.values()):
        raise StnlabError(f"{path}: is truncated or wrong: it does not give a number for each image of images.txt")
    return {image: int(value) for image, value in values.items()}

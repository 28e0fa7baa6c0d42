"""SVHN's full house numbers: sequences of up to five digits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from stnlab.data.dataset import Dataset, Extra
from stnlab.data.pictures import Pictures, reason
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError

DIGITS = 5
NOTHING = 10
"""The class of a place without a digit."""
SOURCE = "http://ufldl.stanford.edu/housenumbers/"

Floats = NDArray[np.float64]


class SvhnNumbers(Dataset):
    """Netzer et al. 2011, as Goodfellow et al. 2014 read them: 33,401 and 13,068 house numbers of up to five digits.

    pixels: an image's side. expand: factor on the smallest box around all digits, which is then cropped and stretched
    to a square; more shows more around the number. Each of five heads names a digit, or class 10 where there is none.
    The one number of six digits is left out. extra: True, also train with the 202,353 easier ones of `extra`.

    Files, not fetched: `svhn/train/`, `svhn/test/` and `svhn/extra/`, each with `digitStruct.mat` and `1.png`, ...
    """

    channels, classes, heads = 3, 11, DIGITS
    mean, std = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    background = mean
    posed = False

    def __init__(self, pixels: Annotated[int, Ge(4)], expand: Annotated[float, Ge(1)], extra: Extra = None) -> None:
        self.pixels, self.expand = pixels, expand
        self.trained = ("train", "extra") if extra else ("train",)
        self.sizes = (33_401 + (202_353 if extra else 0), 13_068)

    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        train, test = ([root / "svhn" / name for name in names] for names in (self.trained, ("test",)))
        return self._raw(train), self._raw(test)

    def _raw(self, folders: Sequence[Path]) -> RawImages:
        numbers = [
            (folder / name, digits)
            for folder in folders
            for name, digits in read_digit_struct(folder / "digitStruct.mat")
            if len(digits) <= DIGITS
        ]
        boxes = np.array([_around(digits, self.expand) for _, digits in numbers])
        labels = np.full((len(numbers), DIGITS), NOTHING, dtype=np.int64)
        for row, (_, digits) in enumerate(numbers):
            labels[row, : len(digits)] = digits[:, 0] % 10  # the files call zero 10
        return RawImages(Pictures([path for path, _ in numbers], self.pixels, boxes), labels)


def _around(digits: Floats, expand: float) -> Floats:
    """Left, top, right, bottom of the box around all digits [n, 5], enlarged about its middle."""
    start = digits[:, 1:3].min(0)
    end = (digits[:, 1:3] + digits[:, 3:5]).max(0)
    middle, half = (start + end) / 2, (end - start) / 2 * expand
    return np.concatenate([middle - half, middle + half])


def read_digit_struct(path: Path) -> list[tuple[str, Floats]]:
    """File name and digits [n, 5] (label, left, top, width, height) of each image of a `digitStruct.mat` (HDF5).

    Raises StnlabError with the path if the file is missing, truncated or wrong, or h5py is not installed.
    """
    if not path.is_file():
        raise StnlabError(f"{path}: is missing; unpack {SOURCE}{path.parent.name}.tar.gz into {path.parents[1]}")
    try:
        import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise StnlabError(f"{path}: reading it needs h5py; pip install '<path to the clone>[svhn]'") from error
    try:
        with h5py.File(path, "r") as file:
            names, boxes = (file["digitStruct"][key][()].ravel() for key in ("name", "bbox"))
            return [
                ("".join(map(chr, file[name][()].ravel())), _digits(file, file[box]))
                for name, box in zip(names, boxes, strict=True)
            ]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise StnlabError(f"{path}: is truncated or wrong ({reason(error)}); unpack it again") from error


def _digits(file: Any, box: Any) -> Floats:
    """A single digit's numbers stand in the file themselves, those of several behind references."""
    columns = []
    for key in ("label", "left", "top", "width", "height"):
        values = box[key][()].ravel()
        columns.append([float(value if len(values) == 1 else file[value][()].item()) for value in values])
    return np.array(columns).T

"""Image files as images of one size."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stnlab.errors import StnlabError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SIXTEEN_BITS = 2**16 - 1


def reason(error: BaseException) -> str:
    """An exception as part of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


DAMAGES = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)
"""What Pillow raises for files that are truncated or wrong."""


class Pictures:
    """Files as RGB images [3, pixels, pixels], resized bilinearly with antialiasing, decoded when one is asked for.

    Upright, as a file's EXIF orientation says; grey of 16 bits scaled to 8.

    Of each file the largest middle square; or, with boxes [N, 4] (left, top, right, bottom in pixels), what of the box
    lies in the image, stretched to a square.

    Raises StnlabError with the path of a file that is missing, at once, or truncated or no image, when it is decoded.
    """

    def __init__(self, paths: Sequence[str | Path], pixels: int, boxes: NDArray[np.float64] | None = None) -> None:
        # An array, not a list: forked workers share it, as nothing counts references in it.
        self.paths, self.pixels, self.boxes = np.array([str(path) for path in paths]), pixels, boxes
        for path in self.paths:
            if not Path(path).is_file():
                raise StnlabError(f"{path}: is missing; put an intact image there")

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.paths), 3, self.pixels, self.pixels

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        path, size = str(self.paths[row]), (self.pixels, self.pixels)
        try:
            with Image.open(path) as image:
                colours = _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
                if self.boxes is None:
                    square = ImageOps.fit(colours, size, Image.Resampling.BILINEAR)
                else:
                    inside = self.boxes[row].clip(0, (colours.width, colours.height) * 2)
                    square = colours.resize(size, Image.Resampling.BILINEAR, box=tuple(inside))
        except (*DAMAGES, Image.DecompressionBombError) as error:
            raise StnlabError(f"{path}: cannot be read ({reason(error)}); put an intact image there") from error
        return np.asarray(square).transpose(2, 0, 1)


def _eight_bits(image: "Picture") -> "Picture":
    """A picture whose conversion to RGB, which would clip at 255, loses no more than precision."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown; save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > SIXTEEN_BITS:
        raise ValueError("pixels of more than 16 bits; save it with 8 or 16")
    return Image.fromarray((values / (SIXTEEN_BITS / 255)).round().astype(np.uint8))

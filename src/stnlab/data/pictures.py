"""Image files as arrays of one size."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stnlab.errors import StnlabError


def reason(error: BaseException) -> str:
    """An exception as part of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def read_pictures(
    paths: Sequence[str | Path], pixels: int, boxes: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """RGB images [N, 3, pixels, pixels], resized bilinearly with antialiasing.

    Of each file the largest middle square; or, with boxes [N, 4] (left, top, right, bottom in pixels), what of the box
    lies in the image, stretched to a square.

    Raises StnlabError with the path of a file that is missing, truncated or no image.
    """
    from PIL import Image, ImageOps

    pictures = np.empty((len(paths), 3, pixels, pixels), dtype=np.uint8)

    def read(row: int) -> None:
        try:
            with Image.open(paths[row]) as image:
                colours = image.convert("RGB")
                if boxes is None:
                    square = ImageOps.fit(colours, (pixels, pixels), Image.Resampling.BILINEAR)
                else:
                    inside = boxes[row].clip(0, (colours.width, colours.height) * 2)
                    square = colours.resize((pixels, pixels), Image.Resampling.BILINEAR, box=tuple(inside))
        except (OSError, SyntaxError, ValueError) as error:
            raise StnlabError(f"{paths[row]}: cannot be read ({reason(error)}); put an intact image there") from error
        pictures[row] = np.asarray(square).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(paths))))
    return pictures

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


def read_pictures(paths: Sequence[str | Path], pixels: int) -> NDArray[np.uint8]:
    """RGB images [N, 3, pixels, pixels]: the largest middle square of each file, resized bilinearly with antialiasing.

    Raises StnlabError with the path of a file that is missing, truncated or no image.
    """
    from PIL import Image, ImageOps

    pictures = np.empty((len(paths), 3, pixels, pixels), dtype=np.uint8)

    def read(row: int) -> None:
        try:
            with Image.open(paths[row]) as image:
                square = ImageOps.fit(image.convert("RGB"), (pixels, pixels), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, ValueError) as error:
            raise StnlabError(f"{paths[row]}: cannot be read ({reason(error)}); put an intact image there") from error
        pictures[row] = np.asarray(square).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(paths))))
    return pictures

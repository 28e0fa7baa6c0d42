"""What a dataset yields before anything is done to it."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stnlab.errors import StnlabError

Bytes = NDArray[np.uint8]
GIB = 2**30


class Images(Protocol):
    """Images of one shape. An array is one such; others decode an image when it is asked for, in a worker process.

    shape: (N, C, H, W). `images[row]`: uint8 [C, H, W]; a file that is missing or damaged raises StnlabError with its
    path. They must be picklable, for workers that are not forked.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, row: int, /) -> Bytes: ...


@dataclass(frozen=True)
class RawImages:
    """One split as it is stored.

    images: uint8 [N, C, H, W], an array or decoded as they are needed
    labels: int64 [N], or [N, heads]
    held_out: the last so many of a training set are the dataset's own validation images
    """

    images: Images
    labels: NDArray[np.int64]
    held_out: int = 0

    @property
    def gib(self) -> float:
        """Size of all images, decoded."""
        return math.prod(self.images.shape) / GIB


def read_images(images: Images, rows: Sequence[int] | NDArray[np.int64]) -> Bytes:
    """Images [len(rows), C, H, W] of these rows, one after the other."""
    found = np.empty((len(rows), *images.shape[1:]), dtype=np.uint8)
    for place, row in enumerate(rows):
        found[place] = _checked(images, int(row))
    return found


def in_memory(images: Images) -> Bytes:
    """All images [N, C, H, W], decoded in threads: image libraries let other threads run meanwhile."""
    if isinstance(images, np.ndarray):
        return images
    found = np.empty(images.shape, dtype=np.uint8)

    def read(row: int) -> None:
        found[row] = _checked(images, row)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(found))))
    return found


def _checked(images: Images, row: int) -> Bytes:
    image = images[row]
    if image.dtype != np.dtype(np.uint8) or image.shape != tuple(images.shape[1:]):
        raise StnlabError(
            f"{type(images).__name__}: image {row} is {image.dtype} of shape {image.shape}; "
            f"all must be uint8 of shape {tuple(images.shape[1:])}"
        )
    return image

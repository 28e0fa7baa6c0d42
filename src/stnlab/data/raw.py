"""What a dataset yields before anything is done to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RawImages:
    """One split as it is stored.

    images: uint8 [N, C, H, W], background 0
    labels: int64 [N]
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

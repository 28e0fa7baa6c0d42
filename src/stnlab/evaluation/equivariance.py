"""Means of equivariance gaps, which `stnlab.training.equivariance` measures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def equivariance(depths: Array, gaps: Mapping[str, Array]) -> dict[str, float]:
    """`<motion>/depth_<k>`: the mean gap over images. depths: [K]. gaps: motion -> [K, M], NaN where there is none.

    0: the features move with the image. 1: they are as far from it as those of another image.
    """
    return {
        f"{motion}/depth_{depth}": float(np.nanmean(values, dtype=np.float64))
        for motion, rows in gaps.items()
        for depth, values in zip(depths, rows, strict=True)
        if not np.isnan(values).all()
    }

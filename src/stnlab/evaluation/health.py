"""Is a transformer at work? Arrays of `predictions.npz` in, numbers out."""

from collections.abc import Sequence

import numpy as np

from stnlab.evaluation.calibration import Array
from stnlab.evaluation.rectification import root_mean_square

FRAME = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
"""[4, 2]: the corners that the identity samples, around the frame from the top left."""
MOST_BLANK = 0.5
CONSTANT = 0.01


def health(corners: Array, outside: Array, blank: Array, variances: Array, canvas: Sequence[int]) -> dict[str, float]:
    """`outside`, `blank`, `theta_spread` and `theta_drift` of each transformer (`<name>/<number>`), and `collapsed`.

    corners: [N, transformers, 4, 2], where the corners of the views were sampled, around the frame. outside: [N,
    transformers], the share of each view's pixels that lies outside the input. blank: [N, transformers] bool.
    variances: as of `collapsed`. canvas: (height, width) of the image in pixels.

    outside, blank: means over the samples, in [0, 1]. Spread and drift are in pixels of the image, at every depth:
    root mean square distances, over samples and corners, of the corners from their mean over the samples (0: the same
    warp for all), and of these means from the frame's own corners (0: the identity on average). Left out if a warp is
    not finite.
    """
    found: dict[str, float] = {}
    scale = np.array([canvas[1], canvas[0]]) / 2
    for number in range(blank.shape[1]):
        found[f"outside/{number}"] = float(outside[:, number].mean(dtype=np.float64))
        found[f"blank/{number}"] = float(blank[:, number].mean())
        own = corners[:, number].astype(np.float64) * scale
        if np.isfinite(own).all():
            mean = own.mean(axis=0)
            found[f"theta_spread/{number}"] = root_mean_square(own - mean)
            found[f"theta_drift/{number}"] = root_mean_square(mean - FRAME * scale)
    return found | {"collapsed": float(bool(collapsed(blank, variances)))}


def collapsed(blank: Array, variances: Array) -> dict[int, str]:
    """The transformers, by number, through which the classifier sees next to nothing, each with what says so.

    blank: [N, transformers] bool: more than half of the views are. variances: [transformers, 2], over samples, the mean
    over pixels, of what reached each transformer and of its views: the second is below 1% of the first, so that views
    hardly depend on the image.
    """
    found: dict[int, str] = {}
    for number, (before, after) in enumerate(variances):
        share = float(blank[:, number].mean())
        if share > MOST_BLANK:
            found[number] = f"{share:.0%} of its views are blank"
        elif after < CONSTANT * before:
            found[number] = "its views hardly differ between images"
    return found

"""Temperature scaling: one number, fitted on the validation split, that logits are divided by."""

import numpy as np
from scipy.optimize import brentq  # type: ignore[import-untyped]

from stnlab.errors import StnlabError
from stnlab.evaluation.calibration import Array, log_softmax, nll

LOWEST, HIGHEST = 0.01, 100.0
"""Where the search ends: no temperature is low enough for a split without an error, and none high enough for chance."""

NO_VALIDATION = (
    "no temperature scaling: this run has no validation split, and a temperature fitted on the test images would "
    "flatter them; train with data.validation_size above 0"
)


def fit_temperature(logits: Array | None, labels: Array | None) -> float:
    """The temperature in [0.01, 100] with the smallest negative log-likelihood, one for all heads.

    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599), section 4.2. Above 1: the network
    was overconfident. logits: [N, heads, classes], labels: [N, heads], of the validation split. Raises StnlabError
    where there is none (None).
    """
    if logits is None or labels is None:
        raise StnlabError(NO_VALIDATION)
    nll(logits, labels)  # refuses what does not fit
    logits = np.asarray(logits, np.float64)
    chosen = np.take_along_axis(logits, np.asarray(labels)[..., None], axis=-1).mean()

    def slope(log_temperature: float) -> float:
        """Of the likelihood's negative logarithm by the inverse temperature, in which it is convex."""
        expected = (np.exp(log_softmax(logits / np.exp(log_temperature))) * logits).sum(axis=-1).mean()
        return float(expected - chosen)

    low, high = np.log(LOWEST), np.log(HIGHEST)
    if slope(low) <= 0:
        return LOWEST
    if slope(high) >= 0:
        return HIGHEST
    return float(np.exp(brentq(slope, low, high, xtol=1e-12)))

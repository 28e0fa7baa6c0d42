"""Measures of predictions: pure functions of numpy arrays."""

from stnlab.evaluation.calibration import (
    ReliabilityBins,
    brier,
    confidences,
    ece,
    measure,
    nll,
    reliability_bins,
    softmax,
)
from stnlab.evaluation.comparisons import Comparison, compare, holm, mcnemar
from stnlab.evaluation.intervals import Interval, Outcomes, bootstrap, wilson

__all__ = [
    "Comparison",
    "Interval",
    "Outcomes",
    "ReliabilityBins",
    "bootstrap",
    "brier",
    "compare",
    "confidences",
    "ece",
    "holm",
    "mcnemar",
    "measure",
    "nll",
    "reliability_bins",
    "softmax",
    "wilson",
]

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
from stnlab.evaluation.effects import CalibrationDifference, Reduction, compare_ece, error_reductions
from stnlab.evaluation.intervals import Interval, Outcomes, bootstrap, intervals, resample, wilson

__all__ = [
    "CalibrationDifference",
    "Comparison",
    "Interval",
    "Outcomes",
    "Reduction",
    "ReliabilityBins",
    "bootstrap",
    "brier",
    "compare",
    "compare_ece",
    "confidences",
    "ece",
    "error_reductions",
    "holm",
    "intervals",
    "mcnemar",
    "measure",
    "nll",
    "reliability_bins",
    "resample",
    "softmax",
    "wilson",
]

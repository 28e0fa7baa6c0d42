"""Every measure of error and calibration that `metrics.json` holds of a split, with 95% intervals."""

import numpy as np

from stnlab.evaluation.adaptive import adaptive_ece
from stnlab.evaluation.calibration import Array, confidences, measure, reliability_bins
from stnlab.evaluation.classwise import brier_parts, classwise_ece, events
from stnlab.evaluation.measure_intervals import measure_intervals
from stnlab.evaluation.selective import aurc
from stnlab.evaluation.temperature import fit_temperature

Said = tuple[Array, Array]
"""Logits [N, heads, classes] and labels [N, heads] of a split."""


def calibration(logits: Array, labels: Array) -> dict[str, float]:
    """The measures named in `RANGES`, of logits [N, heads, classes] and labels [N, heads].

    Raises StnlabError on shapes that do not fit, labels out of range, and NaN or infinity.
    """
    confidence, correct = confidences(logits, labels)
    found = events(logits, labels)
    bins, parts = reliability_bins(confidence, correct), brier_parts(found)
    return measure(logits, labels) | {
        "ece_adaptive": adaptive_ece(confidence, correct),
        "ece_classwise": classwise_ece(found),
        "mce": float(np.nanmax(np.abs(bins.accuracy - bins.confidence))),
        "gap": float(np.mean(confidence - correct)),
        "brier_reliability": parts.reliability,
        "brier_resolution": parts.resolution,
        "brier_uncertainty": parts.uncertainty,
        "aurc": aurc(confidence, correct),
    }


def with_intervals(logits: Array, labels: Array) -> dict[str, float]:
    """The measures and, as `<name>_low` and `<name>_high`, their 95% intervals over the test images."""
    result: dict[str, float] = {}
    measures = calibration(logits, labels)
    intervals = measure_intervals(logits, labels, measures)
    for name, value in measures.items():
        low, high = intervals[name]
        result |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return result


def after_temperature(validation: Said | None, test: Said) -> dict[str, float]:
    """`value`, the temperature fitted on the validation split, and the measures of the test split after it.

    Error and accuracy are left out: dividing logits changes no prediction. The intervals are for this temperature; how
    surely it is known is not in them. Raises StnlabError where there is no validation split.
    """
    temperature = fit_temperature(*(validation or (None, None)))
    measures = with_intervals(np.asarray(test[0], np.float64) / temperature, test[1])
    unchanged = {f"{name}{end}" for name in ("error", "accuracy") for end in ("", "_low", "_high")}
    return {"value": temperature} | {name: value for name, value in measures.items() if name not in unchanged}

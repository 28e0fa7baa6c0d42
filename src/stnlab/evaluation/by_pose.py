"""Error and calibration against the true pose: is a network as sure of what is turned far as it is right about it?"""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from stnlab.evaluation.calibration import Array, Bools, Floats, ece
from stnlab.evaluation.intervals import LEVEL, wilson
from stnlab.evaluation.measure_intervals import group_ece_intervals

POSE_BINS = 10
UNITS = {
    "rotation": "degrees",
    "scale": "factor",
    "shift": "pixels",
    "shear": "degrees",
    "perspective": "pixels",
    "elastic": "pixels",
}
NORMAL = NormalDist().inv_cdf(0.5 + LEVEL / 2)
"""Standard errors from a mean to the ends of its interval."""
SIGNED = ("rotation", "shear")
VARIES = 1e-3
"""Of a parameter's range, in its unit (of scale: in octaves); what spans less is one value and its rounding."""


def pose_values(parameters: Mapping[str, Array], canvas: int) -> dict[str, Floats]:
    """The parameters of `UNITS` that vary among the samples, each [N, objects] in its unit.

    parameters: [N, objects] as drawn: `rotation` and `shear` in radians, `scale` a factor, `shift_x` and `shift_y` in
    normalised units, `perspective` and `elastic` in pixels. shift is the distance from the centre. canvas: pixels of
    the distorted image's side.
    """
    drawn = {name: np.asarray(values, np.float64) for name, values in parameters.items()}
    if {"shift_x", "shift_y"} <= drawn.keys():
        drawn["shift"] = np.hypot(drawn["shift_x"], drawn["shift_y"]) * (canvas / 2)
    found = {name: np.degrees(drawn[name]) if name in SIGNED else drawn[name] for name in UNITS if name in drawn}
    return {name: values for name, values in found.items() if np.ptp(_even(name, values)) > VARIES}


def bin_edges(name: str, values: Floats, bins: int = POSE_BINS) -> Floats:
    """[bins + 1] edges around values of a parameter, of equal width; for scale, of equal ratio.

    The ends are rounded outwards to a tenth of the range's order of magnitude, so that they are those of the
    distortion's range where many samples fill it. All runs on the same data have the same test poses, hence edges.
    """
    low, high = float(values.min()), float(values.max())
    finest = min(high - low, low) if name == "scale" else high - low
    step = 10.0 ** np.floor(np.log10(finest / 10))
    # what float32 added to the end of a range opens no bin
    low, high = np.floor(low / step + 1e-3) * step, np.ceil(high / step - 1e-3) * step
    if name == "scale":
        return np.geomspace(low, high, bins + 1)
    return np.linspace(low, high, bins + 1)


def pose_bins(values: Floats, edges: Floats) -> Bools:
    """[N, bins]: whether one of a sample's objects, [N, objects], lies in a bin: [low, high), the last one closed."""
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    inside: Bools = (index[..., None] == np.arange(len(edges) - 1)).any(axis=1)
    return inside


def by_pose(parameters: Mapping[str, Array], canvas: int, confidence: Floats, correct: Bools) -> dict[str, float]:
    """`<parameter>/<bin>/<what>` and `<parameter>/overconfidence_at_<where>` for each parameter that varies.

    For each of ten bins `low` and `high`, its edges, in the parameter's unit; `n`, its samples, and, if there are any,
    `error` (Wilson's 95% interval), `ece` (bias-corrected 95% interval), mean `confidence` (normal interval, from two
    samples on) and `gap`, confidence - accuracy. A sample with several objects counts where each of them is, once in a
    bin. confidence, correct: [N].
    """
    result: dict[str, float] = {}
    for name, values in pose_values(parameters, canvas).items():
        edges = bin_edges(name, values)
        groups = pose_bins(values, edges)
        calibration = group_ece_intervals(groups, confidence, correct)
        for number, (inside, ends) in enumerate(zip(groups.T, calibration, strict=True)):
            measures = {"low": float(edges[number]), "high": float(edges[number + 1]), "n": float(inside.sum())}
            if inside.any():
                measures |= _of_bin(confidence[inside], correct[inside], ends)
            result |= {f"{name}/{number:02d}/{what}": value for what, value in measures.items()}
        result |= {f"{name}/{what}": value for what, value in overconfidence(name, values, confidence, correct).items()}
    return result


def overconfidence(name: str, values: Floats, confidence: Floats, correct: Bools) -> dict[str, float]:
    """Signed gaps (confidence - accuracy) of thirds of the samples, compared. Empty below 6 samples.

    `overconfidence_at_extremes`: that of the third furthest from the canonical pose (by |angle| or distance, of the
    furthest object), minus that of the nearest third. Small and large are not alike, nor the range of scales the same
    to both sides, so of scale instead `overconfidence_at_low` and `overconfidence_at_high`: that of the third of the
    smallest, or largest, minus that of the middle third. With a 95% interval under `_low` and `_high`: that of a
    difference of independent means, normal approximation. Positive: the network trusts itself too much where it should
    be careful. values: [N, objects] in the parameter's unit.
    """
    gaps, third = confidence - correct, len(values) // 3
    if third < 2:
        return {}
    if name == "scale":
        smallest, largest = (gaps[np.argsort(one, kind="stable")] for one in (values.min(axis=1), values.max(axis=1)))
        middle = slice(third, -third)
        pairs = {"low": (smallest[:third], smallest[middle]), "high": (largest[-third:], largest[middle])}
    else:
        rising = gaps[np.argsort(np.abs(values).max(axis=1), kind="stable")]
        pairs = {"extremes": (rising[-third:], rising[:third])}
    found: dict[str, float] = {}
    for where, (there, here) in pairs.items():
        difference = float(there.mean() - here.mean())
        half = NORMAL * float(np.sqrt(there.var(ddof=1) / len(there) + here.var(ddof=1) / len(here)))
        ends = {"": difference, "_low": difference - half, "_high": difference + half}
        found |= {f"overconfidence_at_{where}{end}": value for end, value in ends.items()}
    return found


def _of_bin(confidence: Floats, correct: Bools, ece_ends: tuple[float, float]) -> dict[str, float]:
    error_low, error_high = wilson(int((~correct).sum()), len(correct))
    mean = float(confidence.mean())
    found = {
        "error": float((~correct).mean()),
        "error_low": error_low,
        "error_high": error_high,
        "ece": ece(confidence, correct),
        "ece_low": ece_ends[0],
        "ece_high": ece_ends[1],
        "confidence": mean,
        "gap": mean - float(correct.mean()),
    }
    if len(confidence) > 1:
        half = NORMAL * float(confidence.std(ddof=1) / np.sqrt(len(confidence)))
        found |= {"confidence_low": max(mean - half, 0.0), "confidence_high": min(mean + half, 1.0)}
    return found


def _even(name: str, values: Floats) -> Floats:
    """In the unit in which bins are equally wide."""
    return np.log2(values) if name == "scale" else values

"""What each name in `metrics.json` means: the one table that `python -m stnlab.report --metrics` prints."""

import re
from dataclasses import dataclass
from functools import cached_property

SCALED = "ece|ece_adaptive|ece_classwise|mce|gap|nll|brier|brier_reliability|brier_resolution|brier_uncertainty|aurc"
PLACES = {
    "measure": (f"error|accuracy|{SCALED}", "a measure of the test images"),
    "scaled": (SCALED, "one that temperature scaling changes"),
    "end": ("low|high", "end of the 95% interval over test images"),
    "parameter": ("rotation|scale|shift|shear|perspective|elastic", "of the true pose, if it varies"),
    "distance": ("rotation|shift|shear|perspective|elastic", "as <parameter>, but not scale"),
    "extreme": ("low|high", "the smallest or the largest"),
    "bin": (r"\d\d", "from 00; its edges are low and high"),
    "edge": ("low|high", "of the bin"),
    "orbit": ("rotation|scale", "what moves the images"),
    "range": ("inside|outside", "of what training showed"),
    "value": (r"[+-][\d.]+|x[\d.]+", "degrees like +030, a factor like x1.41"),
    "number": (r"\d+", "of the transformer, from 0"),
    "class": (r"\d+", "of the dataset, from 0"),
    "side": ("input|residual", "the true pose, and what the warp left of it"),
    "motion": ("rotation|scale|shift", "what moves the images"),
    "depth": (r"\d+", "after that many stages of the backbone"),
}
"""What a name may hold in the place of `<place>` (a regular expression), and what that is."""


@dataclass(frozen=True)
class Row:
    """A pattern of names and what they mean.

    unit: or range of values. source: a paper, if the measure has one. detail: one of so many alike that a table for
    people leaves them out.
    """

    pattern: str
    unit: str
    meaning: str
    source: str = ""
    detail: bool = False

    def explains(self, name: str) -> bool:
        return self._expression.fullmatch(name) is not None

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        parts = re.split(r"<(\w+)>", self.pattern)
        return re.compile(
            "".join(f"(?:{PLACES[part][0]})" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        )


def explanations(name: str) -> list[Row]:
    """The rows that explain a name: one for each that `metrics.json` may hold."""
    return [row for row in ROWS if row.explains(name)]


def is_headline(name: str) -> bool:
    """Whether a table for people shows it."""
    return any(not row.detail for row in explanations(name))


GUO, FINNVEDEN = "Guo et al. 2017, arXiv:1706.04599", "Finnveden et al. 2020, arXiv:2004.11678"
MURPHY, CARPENTER = "Murphy, J. Appl. Meteorol. 1973", "Carpenter, JRSS B 1999"
INTERVAL, HOW = "end of its 95% interval over test images", "how: stnlab.evaluation.measure_intervals"
NOISE = "; less the noise that inflates the estimate, so that the upper end may be the estimate itself"

SPLITS = {
    "test": "of the test images",
    "val": "of the images of the validation split",
    "temperature": "of the test images after temperature scaling",
}
EVERYWHERE, TESTED, PREDICTED = ("test", "val", "temperature"), ("test", "temperature"), ("test", "val")
OF_A_SPLIT = (
    (PREDICTED, "error", "0 to 1", "share of samples with a wrong label (of several heads: any)", ""),
    (PREDICTED, "accuracy", "0 to 1", "1 - error", ""),
    (EVERYWHERE, "ece", "0 to 1", "expected calibration error: 15 bins of equal width", GUO),
    (EVERYWHERE, "nll", "nats, 0 and up", "mean negative log-likelihood of the labels (of heads: their mean)", ""),
    (EVERYWHERE, "brier", "0 to 2", "Brier score, summed over classes", "Brier, Mon. Weather Rev. 1950"),
    (
        TESTED,
        "ece_adaptive",
        "0 to 1",
        "as ece, 15 bins with equally many samples",
        "Nixon et al. 2019, arXiv:1904.01685",
    ),
    (
        TESTED,
        "ece_classwise",
        "0 to 1",
        "ece of each class's probability, mean over classes",
        "Kull et al. 2019, arXiv:1910.12656",
    ),
    (
        TESTED,
        "mce",
        "0 to 1",
        "largest gap of a bin of ece; a bin of few samples decides it",
        "Naeini et al., AAAI 2015",
    ),
    (TESTED, "gap", "-1 to 1", "mean confidence - accuracy; positive: overconfident", ""),
    (
        TESTED,
        "brier_reliability",
        "0 to 2",
        "part of brier that calibration could remove (15 bins a class): brier = reliability - resolution + uncertainty",
        MURPHY,
    ),
    (
        TESTED,
        "brier_resolution",
        "-1 to 2",
        "part of brier gained by telling samples apart, with what happens within bins",
        "Stephenson et al., Weather Forecast. 2008",
    ),
    (TESTED, "brier_uncertainty", "0 to 1", "brier of always saying how frequent each class is", MURPHY),
    (
        TESTED,
        "aurc",
        "0 to 1",
        "area under the risk-coverage curve: error among the k surest samples, mean over k",
        "Geifman et al. 2019, arXiv:1805.08206",
    ),
)
"""Where a measure is found, its name, unit, meaning and source."""
CALIBRATION = (
    *(
        Row(f"{split}/{name}", unit, f"{meaning}; {SPLITS[split]}", source)
        for split in SPLITS
        for where, name, unit, meaning, source in OF_A_SPLIT
        if split in where
    ),
    Row("test/<measure>_<end>", "as the measure", INTERVAL + NOISE, HOW, detail=True),
    Row("temperature/<scaled>_<end>", "as the measure", f"{INTERVAL}, at this temperature{NOISE}", HOW, detail=True),
    Row(
        "temperature/value",
        "0.01 to 100",
        "temperature with the best nll on the validation split; above 1: overconfident. Absent without that split",
        GUO,
    ),
)
POSE = (
    Row(
        "by_pose/<parameter>/<bin>/<edge>",
        "degrees (rotation, shear), factor (scale), pixels",
        "edge of a bin of the true pose; shift is a distance, perspective and elastic root mean square displacements",
        detail=True,
    ),
    Row(
        "by_pose/<parameter>/<bin>/n", "count", "test images in the bin; if 0, nothing else is said of it", detail=True
    ),
    Row("by_pose/<parameter>/<bin>/error", "0 to 1", "error of these", detail=True),
    Row("by_pose/<parameter>/<bin>/error_<end>", "0 to 1", INTERVAL, "Wilson, JASA 1927", detail=True),
    Row("by_pose/<parameter>/<bin>/ece", "0 to 1", "expected calibration error of these", detail=True),
    Row(
        "by_pose/<parameter>/<bin>/ece_<end>",
        "0 to 1",
        INTERVAL + NOISE,
        CARPENTER,
        detail=True,
    ),
    Row("by_pose/<parameter>/<bin>/confidence", "0 to 1", "mean confidence of these", detail=True),
    Row("by_pose/<parameter>/<bin>/confidence_<end>", "0 to 1", INTERVAL + " (normal)", detail=True),
    Row("by_pose/<parameter>/<bin>/gap", "-1 to 1", "mean confidence - accuracy of these", detail=True),
    Row(
        "by_pose/<distance>/overconfidence_at_extremes",
        "-2 to 2",
        "gap in the third of test images furthest from the canonical pose, minus gap in the nearest third",
    ),
    Row("by_pose/<distance>/overconfidence_at_extremes_<end>", "-2 to 2", INTERVAL + " (normal)", detail=True),
    Row(
        "by_pose/scale/overconfidence_at_<extreme>",
        "-2 to 2",
        "gap in the third of test images with the smallest (low) or largest (high) objects, minus gap in the middle "
        "third",
    ),
    Row("by_pose/scale/overconfidence_at_<extreme>_<end>", "-2 to 2", INTERVAL + " (normal)", detail=True),
)
ALONG_AN_ORBIT = (
    ("accuracy", "0 to 1", "accuracy"),
    ("agreement", "0 to 1", "share of predictions that are those at the canonical pose (itself left out of means)"),
    (
        "total_variation",
        "0 to 1",
        "total variation distance of the softmax to that at the canonical pose (itself left out of means)",
    ),
    ("confidence", "0 to 1", "mean confidence"),
    ("ece", "0 to 1", "expected calibration error"),
    ("gap", "-1 to 1", "mean confidence - accuracy; positive: overconfident"),
)
INVARIANCE = (
    Row(
        "invariance/<orbit>/<value>/cut",
        "0 to 1",
        "share of the images' content that leaves the frame at this value, mean over images; absent for photographs",
        detail=True,
    ),
    *(
        Row(f"invariance/<orbit>/{part}{name}", unit, f"{meaning}, {where}", detail=part == "<value>/")
        for part, where in (
            ("", "of the same test images moved through the orbit: mean over its values"),
            ("<range>/", "mean over the values inside or outside the range of training"),
            ("whole/", "mean over the values at which less than 5% of the images' content leaves the frame"),
            ("<value>/", "at one value"),
        )
        for name, unit, meaning in ALONG_AN_ORBIT
    ),
)
RECTIFICATION = (
    Row(
        "rectification/<number>/rotation/<side>",
        "degrees",
        "circular standard deviation of the angle within a class, pooled over classes",
        FINNVEDEN,
    ),
    Row("rectification/<number>/rotation/class_<class>/<side>", "degrees", "the same of one class", detail=True),
    Row("rectification/<number>/scale/<side>", "octaves", "standard deviation of log2 scale within a class, pooled"),
    Row("rectification/<number>/shift/<side>", "pixels", "root mean square shift from the class's mean, pooled"),
    Row("rectification/<number>/corners/<side>", "pixels", "mean distance of the frame's corners to the class's mean"),
)
EQUIVARIANCE = (
    Row(
        "equivariance/<motion>/depth_<depth>",
        "0 and up",
        "distance between features of the moved image and moved features of the image, relative to the distance to "
        "another image's; 0: they move along. Mean over 256 test images in canonical pose, turned by 45 and 90 degrees "
        "to both sides, scaled by 0.7 and 1.4, or shifted by 4 pixels to each of four sides",
        FINNVEDEN,
    ),
)
HEALTH = (
    Row("health/outside/<number>", "0 to 1", "share of the view's pixels sampled outside the input"),
    Row("health/blank/<number>", "0 to 1", "share of views that show nothing although their input does"),
    Row(
        "health/theta_spread/<number>",
        "pixels of the image",
        "root mean square distance of the view's corners from their mean over the test images; 0: one warp for all",
    ),
    Row(
        "health/theta_drift/<number>",
        "pixels of the image",
        "root mean square distance of these mean corners from the frame's; 0: the identity on average",
    ),
    Row(
        "health/grad_localizer",
        "0 and up",
        "norm of the localizers' gradient, mean over 20 to 40 steps of the last epoch",
    ),
    Row(
        "health/grad_classifier",
        "0 and up",
        "norm of the classifier's gradient, mean over 20 to 40 steps of the last epoch",
    ),
    Row("health/collapsed", "0 or 1", "1: a transformer's views went blank or are all the same"),
)
ROWS = (*CALIBRATION, *POSE, *INVARIANCE, *RECTIFICATION, *EQUIVARIANCE, *HEALTH)

"""`metrics.json` from a run's arrays: the same numbers whenever and wherever they are computed again."""

from collections.abc import Mapping, Sequence

from stnlab.data.batch import Split
from stnlab.evaluation.by_pose import by_pose
from stnlab.evaluation.calibration import confidences, measure
from stnlab.evaluation.equivariance import equivariance
from stnlab.evaluation.health import health
from stnlab.evaluation.invariance import invariance
from stnlab.evaluation.measures import after_temperature, with_intervals
from stnlab.evaluation.rectification import rectification
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.files import Row
from stnlab.runs.predictions import CORNERS, Predictions
from stnlab.training.running_health import GRADIENTS


def summarise(
    predictions: Mapping[Split, Predictions],
    canvas: int,
    evaluation: Evaluation | None = None,
    history: Sequence[Row] = (),
) -> dict[str, float]:
    """Everything in `metrics.json`, by name; `python -m stnlab.report --metrics` explains each.

    canvas: pixels of the images' side. evaluation: None leaves out what needs the model. history: the rows of
    `metrics.csv`, for what only training knows. Without validation split there is no `temperature/`. What is undefined
    is left out.
    """
    found: dict[str, float] = {}
    test, val = predictions["test"], predictions.get("val")
    found |= _under("test", with_intervals(test.logits, test.labels))
    if val is not None:
        found |= _under("val", measure(val.logits, val.labels))
        found |= _under("temperature", after_temperature((val.logits, val.labels), (test.logits, test.labels)))
    sure, correct = confidences(test.logits, test.labels)
    found |= _under("by_pose", by_pose(test.pose_parameters, canvas, sure, correct))
    if evaluation is not None:
        found |= _under("invariance", invariance(evaluation.orbits))
        found |= _under("rectification", _rectification(test, evaluation))
        found |= _under("equivariance", equivariance(evaluation.depths, evaluation.equivariance))
        found |= _under("health", _health(test, evaluation))
    last = history[-1] if history else {}
    return found | {name: last[name] for name in (f"health/{gradient}" for gradient in GRADIENTS) if name in last}


def _rectification(test: Predictions, evaluation: Evaluation) -> dict[str, float]:
    if test.poses is None or test.residuals is None:
        return {}
    return rectification(test.poses, test.residuals, test.labels, evaluation.examples.images.shape[2:])


def _health(test: Predictions, evaluation: Evaluation) -> dict[str, float]:
    if test.warps is None or test.outside is None or test.blank is None or evaluation.view_variances is None:
        return {}
    corners = test.warps[:, :, list(CORNERS)]
    return health(corners, test.outside, test.blank, evaluation.view_variances, evaluation.examples.images.shape[2:])


def _under(prefix: str, measures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in measures.items()}

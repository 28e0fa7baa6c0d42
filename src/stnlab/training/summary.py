"""`metrics.json` from a run's arrays: the same numbers whenever and wherever they are computed again."""

from collections.abc import Mapping

from stnlab.data.batch import Split
from stnlab.evaluation.by_pose import by_pose
from stnlab.evaluation.calibration import confidences, measure
from stnlab.evaluation.equivariance import equivariance
from stnlab.evaluation.invariance import invariance
from stnlab.evaluation.measures import after_temperature, with_intervals
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.predictions import Predictions


def summarise(
    predictions: Mapping[Split, Predictions], canvas: int, evaluation: Evaluation | None = None
) -> dict[str, float]:
    """Everything in `metrics.json`, by name; `python -m stnlab.report --metrics` explains each.

    canvas: pixels of the images' side. evaluation: None leaves out what needs the model. Without validation split there
    is no `temperature/`. What is undefined is left out.
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
        found |= _under("equivariance", equivariance(evaluation.depths, evaluation.equivariance))
    return found


def _under(prefix: str, measures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in measures.items()}

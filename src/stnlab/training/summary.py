"""`metrics.json` from a run's arrays: the same numbers whenever and wherever they are computed again."""

from collections.abc import Mapping

from stnlab.data.batch import Split
from stnlab.evaluation.calibration import measure
from stnlab.evaluation.equivariance import equivariance
from stnlab.evaluation.invariance import invariance
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.predictions import Predictions


def summarise(predictions: Mapping[Split, Predictions], evaluation: Evaluation | None = None) -> dict[str, float]:
    """Everything in `metrics.json`, by name; `python -m stnlab.report --metrics` explains each.

    evaluation: None leaves out what needs the model.
    """
    found: dict[str, float] = {}
    for split, said in predictions.items():
        found |= _under(split, measure(said.logits, said.labels))
    if evaluation is not None:
        found |= _under("invariance", invariance(evaluation.orbits))
        found |= _under("equivariance", equivariance(evaluation.depths, evaluation.equivariance))
    return found


def _under(prefix: str, measures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in measures.items()}

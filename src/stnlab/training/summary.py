"""`metrics.json` from a run's arrays: the same numbers whenever and wherever they are computed again."""

from collections.abc import Mapping, Sequence

from stnlab.data.batch import Split
from stnlab.evaluation.calibration import measure
from stnlab.evaluation.health import health
from stnlab.evaluation.rectification import rectification
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.files import Row
from stnlab.runs.predictions import CORNERS, Predictions
from stnlab.training.running_health import GRADIENTS


def summarise(
    predictions: Mapping[Split, Predictions], evaluation: Evaluation | None = None, history: Sequence[Row] = ()
) -> dict[str, float]:
    """Everything in `metrics.json`, by name; `python -m stnlab.report --metrics` explains each.

    evaluation: None leaves out what needs the model. history: the rows of `metrics.csv`, for what only training knows.
    """
    found: dict[str, float] = {}
    for split, said in predictions.items():
        found |= _under(split, measure(said.logits, said.labels))
    if (test := predictions.get("test")) and evaluation:
        found |= _under("rectification", _rectification(test, evaluation)) | _under("health", _health(test, evaluation))
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

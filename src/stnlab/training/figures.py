"""Figures of a finished run to the loggers that show pictures."""

import io
from collections.abc import Sequence

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from stnlab.evaluation.calibration import confidences, ece, reliability_bins
from stnlab.figures.reliability import reliability_diagram
from stnlab.figures.style import png
from stnlab.figures.views import views_grid
from stnlab.runs.directory import RunDirectory
from stnlab.runs.predictions import CORNERS


def log_figures(loggers: Sequence[Logger], run: RunDirectory) -> None:
    """The reliability diagram and, with a transformer, the views. Loggers that show no pictures get none."""
    showing = [logger for logger in loggers if isinstance(logger, WandbLogger | TensorBoardLogger)]
    if not showing:
        return
    for name, figure in run_figures(run).items():
        picture = _pixels(figure)
        for logger in showing:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"figures/{name}", [picture])
            else:
                logger.experiment.add_image(f"figures/{name}", picture, dataformats="HWC")


def _pixels(figure: Figure) -> np.ndarray:
    picture = matplotlib.image.imread(io.BytesIO(png(figure)))
    return (picture[:, :, :3] * 255).astype(np.uint8)


def run_figures(run: RunDirectory) -> dict[str, Figure]:
    """Figures of one run, by name, from its files."""
    test = run.predictions("test")
    assert test is not None
    confidence, correct = confidences(test.logits, test.labels)
    bins = reliability_bins(confidence, correct)
    figures = {"reliability": reliability_diagram(bins, ece(confidence, correct))}
    examples = run.evaluation().examples
    if test.warps is not None and examples.before:
        rows = examples.indices
        corners = test.warps[rows][:, :, list(CORNERS)]
        predicted = test.logits[rows].argmax(-1)
        figures["views"] = views_grid(
            examples.images, examples.before, examples.after, corners, test.labels[rows], predicted
        )
    return figures

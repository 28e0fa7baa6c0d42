"""A study's dashboards on Weights & Biases: `python scripts/wandb_dashboard.py <entity>/<project> --study <name>`.

Saves a workspace (panels beside the runs, for working) and a report (the same panels with words, for showing), and
prints their addresses. Each call makes new ones. `--dry-run spec.json` asks no server and writes both to a file.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stnlab.command import run_command
from stnlab.errors import StnlabError

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
except ImportError as error:
    raise SystemExit(f"error: {error}; pip install '<path to the clone>[dashboards]'") from error

CELL = (("config", "data"), ("run", "JobType"))
"""What runs are grouped by, in the run sets, since a panel's own grouping takes one key alone and panels without one
follow their run set: the data, and placement and transform in one word (`deep2-affine`)."""
COLUMNS = ("test/error", "test/ece", "test/gap", "test/nll", "temperature/ece", "health/collapsed")
WIDTH, HEIGHT, ROW = 8, 8, 24
"""Of a panel and of a full row, in the units of W&B's grid."""


def bars(title: str, metric: str) -> wr.BarPlot:
    """Mean over the seeds of each cell, with the standard error."""
    return wr.BarPlot(
        title=title, metrics=[metric], groupby_aggfunc="mean", groupby_rangefunc="stderr", orientation="h"
    )


def curves(title: str, metric: str, axis: str = "epoch") -> wr.LinePlot:
    """A band for each cell: mean and standard error over seeds."""
    return wr.LinePlot(title=title, x=axis, y=[metric], groupby_aggfunc="mean", groupby_rangefunc="stderr")


def pictures(title: str, *names: str) -> wr.MediaBrowser:
    return wr.MediaBrowser(title=title, media_keys=[f"figures/{name}" for name in names], num_columns=2)


def table(name: str) -> wr.WeavePanelSummaryTable:
    return wr.WeavePanelSummaryTable(table_name=f"tables/{name}", layout=wr.Layout(w=ROW, h=12))


def comparison() -> list[Any]:
    axes = [wr.Config(name) for name in ("data", "placement", "transform", "seed")]
    axes += [wr.SummaryMetric(name) for name in ("test/error", "test/ece", "test/nll")]
    return [
        wr.ParallelCoordinatesPlot(
            title="from choices to results", columns=[wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
        ),
        wr.ScatterPlot(
            title="error against ECE", x=wr.SummaryMetric("test/error"), y=wr.SummaryMetric("test/ece"), z=None
        ),
        wr.RunComparer(diff_only="split", layout=wr.Layout(w=ROW, h=12)),
    ]


def sections() -> list[tuple[str, str, list[Any]]]:
    """Title, what to look for, panels. Panels are made anew at each call: each has an identity of its own."""
    return [
        (
            "Error and ECE by data, placement and transform",
            "Test error and expected calibration error (15 bins): mean over seeds, standard error as whisker.",
            [bars("test error", "test/error"), bars("test ECE", "test/ece"), bars("test NLL", "test/nll")],
        ),
        (
            "Reliability",
            "Is a network as often right as it says? Gap: mean confidence minus accuracy, above zero overconfident.",
            [
                bars("gap", "test/gap"),
                bars("ECE after temperature scaling", "temperature/ece"),
                bars("temperature", "temperature/value"),
                pictures("reliability diagrams", "reliability"),
                table("calibration"),
            ],
        ),
        (
            "Invariance",
            "The same images swept through all rotations: accuracy, agreement with the upright prediction, and how far "
            "the softmax moves (total variation). Outside is outside the rotations seen in training.",
            [
                bars("accuracy over rotations", "invariance/rotation/accuracy"),
                bars("accuracy outside the training range", "invariance/rotation/outside/accuracy"),
                bars("agreement", "invariance/rotation/agreement"),
                bars("total variation", "invariance/rotation/total_variation"),
                pictures("over the orbit, and by pose", "orbit_rotation", "by_pose_rotation"),
            ],
        ),
        (
            "Rectified images",
            "What the transformer makes of an image, and what it leaves of the pose: circular standard deviation of "
            "the angle within a class, in degrees, before and after.",
            [
                bars("spread of angles before", "rectification/0/rotation/input"),
                bars("spread of angles after", "rectification/0/rotation/residual"),
                bars("collapsed", "health/collapsed"),
                pictures("views", "views", "class_means_0"),
                table("predictions"),
            ],
        ),
        (
            "Training",
            "",
            [
                curves("validation error", "val/error"),
                curves("validation ECE", "val/ece"),
                curves("training loss", "train/loss"),
                curves("training loss of a step", "train/loss_step", "trainer/global_step"),
            ],
        ),
        ("Comparing runs", "", comparison()),
    ]


def workspace(entity: str, project: str, study: str) -> ws.Workspace:
    """The saved view: the study's runs at the left, grouped by data, placement and transform, panels beside."""
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{study}: data, placement and transform",
        sections=[
            ws.Section(name=title, panels=panels, is_open=number < 2)
            for number, (title, _, panels) in enumerate(sections())
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("Group") == study),
            groupby=[{"config": expr.Config, "run": expr.Metric}[section](name) for section, name in CELL],
            order=[expr.Ordering(expr.Summary("test/error"), ascending=True)],
            pinned_columns=[f"summary:{name}" for name in COLUMNS],
        ),
    )


def report(entity: str, project: str, study: str) -> wr.Report:
    """The page to show. A run set without a project is of the report's own: so the spec needs no server."""
    blocks: list[Any] = [wr.TableOfContents()]
    for title, words, panels in sections():
        runs = wr.Runset(
            name=study,
            filters=expr.And(expr.Metric("Group") == study),
            groupby=[f"{section}.{name}" for section, name in CELL],
        )
        blocks += [wr.H1(title), *([wr.P(words)] if words else [])]
        blocks.append(wr.PanelGrid(runsets=[runs], panels=_laid_out(panels), hide_run_sets=True))
    description = (
        "Made by stnlab's scripts/wandb_dashboard.py. Fractions, no percent; numbers are the last checkpoint's."
    )
    return wr.Report(
        entity=entity, project=project, title=f"Study {study}", description=description, blocks=blocks, width="fluid"
    )


def _laid_out(panels: Sequence[Any]) -> list[Any]:
    """Left to right, top to bottom; a table or a comparison takes a row of its own."""
    x = y = 0
    for panel in panels:
        wide = panel.layout.w == ROW
        if x and (wide or x + WIDTH > ROW):
            x, y = 0, y + HEIGHT
        panel.layout = wr.Layout(x=x, y=y, w=ROW if wide else WIDTH, h=panel.layout.h if wide else HEIGHT)
        x, y = (0, y + panel.layout.h) if wide else (x + WIDTH, y)
    return list(panels)


def specification(view: ws.Workspace, page: wr.Report) -> dict[str, Any]:
    """What would be sent to the server."""
    models = {"workspace": view._to_model(), "report": page._to_model()}
    return {name: model.model_dump(mode="json", by_alias=True, exclude_none=True) for name, model in models.items()}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", metavar="<entity>/<project>")
    parser.add_argument("--study", required=True, help="the runs' group on W&B")
    parser.add_argument("--dry-run", type=Path, metavar="SPEC.json", help="write the spec to a file, send nothing")
    given = parser.parse_args(arguments)
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", given.project):
        raise StnlabError(f"{given.project}: give <entity>/<project>, as in the address wandb.ai/<entity>/<project>")
    entity, project = given.project.split("/")
    view, page = workspace(entity, project, given.study), report(entity, project, given.study)
    if given.dry_run:
        given.dry_run.write_text(json.dumps(specification(view, page), indent=2) + "\n")
        print(f"{given.dry_run}: written")
        return
    import wandb

    if not wandb.login(prompt=False):
        raise StnlabError("not logged in to Weights & Biases; run `wandb login`, or give --dry-run spec.json")
    print(f"workspace: {view.save().url}")
    print(f"report: {page.save().url}")


if __name__ == "__main__":
    run_command(main)

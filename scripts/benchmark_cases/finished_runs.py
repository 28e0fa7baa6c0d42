"""`time_to_error`: images seen until the error of Jaderberg et al. (2015), Table 1, from runs that are finished."""

from pathlib import Path
from statistics import mean

from benchmark_cases.comparison import Comparison
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs

PRINTED = {"none": 0.012, "input": 0.007}
"""Error on rotated MNIST (R): CNN, and ST-CNN with an affine transformer."""
PAPERS_IMAGES = 150_000 * 256
RECIPES = ("fast", "fast_long")
PARAMETERS, TOLERANCE, SEEDS = 400_000, 0.1, 3
MISSING = "python -m stnlab.train -m recipe=fast_long seed=0,1,2 study={study} {choices}"
CHOICES = {"none": "placement=none backbone=cnn_400k", "input": "placement=input transform=affine backbone=st_cnn_400k"}


def time_to_error(study: Path | None) -> list[Comparison]:
    """Paper's images over ours for the runs of a study that reach the printed error; says which runs are missing."""
    if study is None:
        raise StnlabError("time_to_error: give a study of finished runs, --study runs/<study>")
    runs = [run for run in find_runs(study) if run.damaged is None and run.state == "done"]
    return [_compared(placement, [run for run in runs if _fits(run, placement)], study) for placement in PRINTED]


def _fits(run: RunDirectory, placement: str) -> bool:
    choices = run.config["choices"]
    network = choices["placement"] == placement and choices.get("transform") in (None, "affine")
    sized = abs(run.info["parameters"] / PARAMETERS - 1) <= TOLERANCE
    return network and sized and choices["data"] == "mnist_rotated" and choices["recipe"] in RECIPES


def _compared(placement: str, runs: list[RunDirectory], study: Path) -> Comparison:
    """The runs that saw as many images as most of them do: a study may hold several lengths."""
    name = f"time_to_error {'ST-CNN' if placement == 'input' else 'CNN'}, R"
    lengths = {int(run.info["images_seen"]) for run in runs}
    by_length = {length: [run for run in runs if int(run.info["images_seen"]) == length] for length in lengths}
    enough = {length: same for length, same in by_length.items() if len(same) >= SEEDS}
    if not enough:
        found = max((len(same) for same in by_length.values()), default=0)
        command = MISSING.format(study=study.name, choices=CHOICES[placement])
        return Comparison(name, "images", None, None, note=f"{found} of {SEEDS} seeds are there; missing: {command}")
    errors = {length: mean(run.metrics["test/error"] for run in same) for length, same in enough.items()}
    reaching = [length for length, error in errors.items() if error <= PRINTED[placement]]
    length = min(reaching) if reaching else min(errors, key=lambda one: errors[one])
    note = f"error {errors[length]:.2%} of {len(enough[length])} seeds, printed {PRINTED[placement]:.1%}"
    if not reaching:
        return Comparison(name, "images", length, PAPERS_IMAGES, note=f"{note}: NOT reached")
    return Comparison(name, "images", length, PAPERS_IMAGES, at_most=1 / 20, note=note)

"""The run directory: identity, files, states, lock."""

from stnlab.runs.code_version import code_version
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.evaluation import Evaluation, Examples, Frames, Orbit
from stnlab.runs.identity import digest, normalise, run_name
from stnlab.runs.predictions import CORNERS, LANDMARKS, Predictions

__all__ = [
    "CORNERS",
    "LANDMARKS",
    "Evaluation",
    "Examples",
    "Frames",
    "Orbit",
    "Predictions",
    "RunDirectory",
    "code_version",
    "digest",
    "find_runs",
    "normalise",
    "run_name",
]

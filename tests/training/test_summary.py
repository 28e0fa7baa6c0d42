import json

import numpy as np

from stnlab.runs.predictions import Predictions
from stnlab.training.summary import summarise


def said(n: int, seed: int, posed: bool = False) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=(n, 1))
    logits = (rng.normal(size=(n, 1, 3)) + 2 * np.eye(3)[labels]).astype(np.float32)
    angle = {"rotation": rng.uniform(-1, 1, (n, 1)).astype(np.float32)} if posed else {}
    return Predictions(logits, labels, np.arange(n), pose_parameters=angle)


def families(metrics: dict[str, float]) -> set[str]:
    return {name.split("/")[0] for name in metrics}


def test_there_is_what_the_arrays_allow():
    everything = summarise({"val": said(50, 0), "test": said(60, 1, posed=True)}, canvas=28)
    assert families(everything) == {"test", "val", "temperature", "by_pose"}
    assert json.loads(json.dumps(everything, allow_nan=False)) == everything
    assert all(type(value) is float for value in everything.values())
    assert families(summarise({"test": said(60, 1)}, canvas=28)) == {"test"}


def test_the_same_arrays_give_the_same_numbers():
    arrays = {"val": said(50, 0), "test": said(60, 1, posed=True)}
    assert summarise(arrays, canvas=28) == summarise(dict(reversed(arrays.items())), canvas=28)

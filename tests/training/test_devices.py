"""What a training step asks of the device, and of the machine."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stnlab.compose import compose
from stnlab.data.module import ImageData
from stnlab.training.classifier import Classifier
from stnlab.training.run import train_run

WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::_unique2", "aten::masked_select"}
"""What makes a GPU finish all it was given, since its result is needed to go on."""
SMALL = ["recipe=smoke", "logger=csv", "callbacks=quiet", "data.test_size=100", "data.validation_size=100"]
PARTS = [(ImageData, "distort"), (Classifier, "training_step"), (Classifier, "backward")]
PARTS += [(Classifier, "on_before_optimizer_step")]


class NoWaiting(TorchDispatchMode):
    """Raises where an operation would wait for a GPU, on a CPU, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.name().split(".")[0] not in WAITING, func
        result = func(*args, **(kwargs or {}))
        if func.name().startswith("aten::_to_copy"):
            assert result.device == args[0].device or args[0].device.type == "cpu", func
        return result


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
@pytest.mark.parametrize("choices", [["transform=affine"], ["transform=rotation_scale", "placement=deep"]])
def test_a_training_step_waits_for_nothing(
    accelerator: str, choices: list[str], tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    if accelerator == "gpu" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    calls = []

    def watched(part: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(part)
        def run(self: Any, *args: Any) -> Any:
            trainer = self.trainer
            if not trainer.training or trainer.global_step == 0:  # what is made once may wait
                return part(self, *args)
            calls.append(part.__name__)
            if accelerator == "gpu":
                torch.cuda.set_sync_debug_mode("error")
            try:
                with NoWaiting():
                    return part(self, *args)
            finally:
                if accelerator == "gpu":
                    torch.cuda.set_sync_debug_mode("default")

        return run

    for owner, name in PARTS:
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    places = [f"data.root={mnist_root}", f"runs_dir={tmp_path}", f"trainer.accelerator={accelerator}"]
    train_run(compose("train", [*SMALL, *places, *choices]))
    assert min(calls.count(name) for _, name in PARTS) == 39  # of 40 steps


def test_no_step_on_a_cpu_looks_for_a_gpu(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    seen = set()
    monkeypatch.setattr(Classifier, "on_train_batch_end", lambda *_: seen.add(os.environ["CUDA_VISIBLE_DEVICES"]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    train_run(compose("train", [*SMALL, f"data.root={mnist_root}", f"runs_dir={tmp_path}", "trainer=cpu"]))
    assert seen == {""}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"

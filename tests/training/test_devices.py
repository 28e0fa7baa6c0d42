"""What a training step asks of the device, and of the machine."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from stnlab.compose import compose
from stnlab.models.network import Network
from stnlab.training import devices
from stnlab.training.classifier import Classifier
from stnlab.training.components import build_components
from stnlab.training.geometry_arrays import geometry_arrays
from stnlab.training.run import train_run
from stnlab.training.running_metrics import RunningMetrics
from stnlab.training.view_sums import ViewSums

WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::_unique2", "aten::masked_select"}
"""What makes a GPU finish all it was given, since its result is needed to go on."""
SMALL = ["recipe=smoke", "logger=csv", "callbacks=quiet", "data.test_size=100", "data.validation_size=100"]


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
    steps = []
    advance = _TrainingEpochLoop.advance

    def watched(loop: _TrainingEpochLoop, *args: Any) -> None:
        if loop.global_step == 0:  # what is made once may wait
            return advance(loop, *args)
        steps.append(loop.global_step)
        if accelerator == "gpu":
            torch.cuda.set_sync_debug_mode("error")
        try:
            with NoWaiting():
                return advance(loop, *args)
        finally:
            if accelerator == "gpu":
                torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(_TrainingEpochLoop, "advance", watched)
    places = [f"data.root={mnist_root}", f"runs_dir={tmp_path}", f"trainer.accelerator={accelerator}"]
    places += ["logger=none"]  # which would write a number now and then, for which it has to wait
    train_run(compose("train", [*SMALL, *places, *choices]))
    assert steps == list(range(1, 40))


MNIST = [
    *("mnist_rotated", "mnist_rts", "mnist_elastic", "mnist_scaled", "mnist_translated", "mnist_addition"),
    "mnist_cluttered",
]
"""Not mnist_projective, which looks at the values of its poses."""
ON_A_GPU = [f"data={data}" for data in MNIST]
ON_A_GPU += [f"transform={transform}" for transform in ("projective", "thin_plate", "rotation_scale")]
ON_A_GPU += [f"placement={placement}" for placement in ("deep", "shared", "stacked", "parallel")]
ON_A_GPU += ["sampler=antialiased", "backbone=timm backbone.name=resnet18 localizer=fc"]


@pytest.mark.parametrize("choices", ON_A_GPU)
def test_on_a_gpu_nothing_meets_a_tensor_of_the_cpu_or_waits_for_one(
    choices: str, mnist_root: Path, no_gpu_needed: FakeTensorMode
):
    """Torch refuses an operation on two devices, but for those that `NothingOfTheCpu` refuses: before each copy a GPU
    waits for all that it was given."""
    small = ["recipe.batch_size=8", "data.train_size=64", "data.validation_size=16", "data.test_size=16"]
    parts = build_components(compose("train", [*small, f"data.root={mnist_root}", *choices.split()]))
    parts.data.prepare_data()
    gpu = torch.device("cuda", 0)
    with no_gpu_needed:
        parts.data.setup(device=gpu)
        network = on_device(parts.module.network, gpu)
        batches = iter(parts.data.loader("train"))
        network(parts.data.distort(next(batches)).image)  # what is made once, on the CPU, is moved
        with NothingOfTheCpu():
            batch = parts.data.distort(next(batches))
            prediction = network(batch.image)
        arrays = geometry_arrays(batch, prediction) | dict(batch.pose_parameters)
        arrays |= {"logits": prediction.logits, "image": batch.image, "label": batch.label, "index": batch.index}
        assert {tensor.device for tensor in (*arrays.values(), *prediction.views)} == {gpu}
        ViewSums().update(prediction, batch.label, parts.data)
        metrics = RunningMetrics()
        metrics.note(prediction.logits.sum(), prediction.logits, batch.label)
        metrics.fold()
        assert metrics.right[0].device == gpu


class NothingOfTheCpu(TorchDispatchMode):
    """Raises where a tensor of the CPU is copied to a GPU, or indexed by one of a GPU, which tensors without values
    allow."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        to = (kwargs or {}).get("device")
        assert to is None or torch.device(to).type == "cpu" or not of_the_cpu(args), func
        if func.name().startswith("aten::index"):
            rows = args[1] if isinstance(args[1], list | tuple) else [args[2]]
            indexed = {row.device.type for row in rows if isinstance(row, torch.Tensor)}
            assert args[0].device.type != "cpu" or indexed <= {"cpu"}, func
        return func(*args, **(kwargs or {}))


def of_the_cpu(args: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.device.type == "cpu" for one in args)


def on_device(network: Network, device: torch.device) -> Network:
    """As `network.to(device)`, which fake tensors refuse: their memory cannot be swapped."""
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            moved = torch.empty_like(tensor, device=device)
            setattr(module, name, nn.Parameter(moved) if isinstance(tensor, nn.Parameter) else moved)
    return network


def test_no_step_on_a_cpu_looks_for_a_gpu(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    seen = set()
    monkeypatch.setattr(Classifier, "on_train_batch_end", lambda *_: seen.add(os.environ["CUDA_VISIBLE_DEVICES"]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    train_run(compose("train", [*SMALL, f"data.root={mnist_root}", f"runs_dir={tmp_path}", "trainer=cpu"]))
    assert seen == {""}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_a_deterministic_job_leaves_the_next_one_as_it_is(tmp_path: Path, mnist_root: Path):
    kept = [*SMALL, f"data.root={mnist_root}", f"runs_dir={tmp_path}", "trainer=cpu", "recipe.steps=1"]
    for options, wanted in ([["trainer.deterministic=true"], True], [["seed=1"], False]):
        train_run(compose("train", [*kept, *options]))
        assert torch.are_deterministic_algorithms_enabled() == wanted
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"]  # before the first job starts cuBLAS, whatever it asks for


def test_compiling_for_a_gpu_needs_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(devices.sysconfig, "get_path", lambda _: str(tmp_path))
    assert "install Python's headers" in (devices.missing_compiler(on_gpu=True) or "")
    assert devices.missing_compiler(on_gpu=False) is None
    (tmp_path / "Python.h").touch()
    assert devices.missing_compiler(on_gpu=True) is None


def test_each_process_takes_gpus_of_its_own_and_waits_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "WAIT", 0.01)

    def new_process() -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        monkeypatch.setattr(devices, "_seen", [])

    taken = []
    for _ in range(4):
        new_process()
        with devices.claimed_devices(1, jobs_per_device=2):
            pass
        job = devices.claimed_devices(1, jobs_per_device=2)  # the next one of the same process
        job.__enter__()
        taken.append((os.environ["CUDA_VISIBLE_DEVICES"], job))
    assert [name for name, _ in taken] == ["4", "6", "4", "6"]
    new_process()
    monkeypatch.setattr(devices.time, "sleep", lambda _: [job.__exit__(None, None, None) for _, job in taken[:2]])
    for count in (2, 1):  # a smaller job of this process: CUDA has seen both, and counts from the first
        with devices.claimed_devices(count, jobs_per_device=2):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6"


@pytest.mark.parametrize("choices", [[], ["sampler=antialiased", "placement=deep"], ["data=mnist_cluttered"]])
def test_on_a_gpu_deterministic_trainings_end_the_same_to_the_last_bit(
    choices: list[str], tmp_path: Path, mnist_root: Path
):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    places = [f"data.root={mnist_root}", "trainer=gpu", "trainer.deterministic=true"]
    first, second = (train_run(compose("train", [*SMALL, *places, f"runs_dir={tmp_path / n}", *choices])) for n in "ab")
    assert first.metrics == second.metrics

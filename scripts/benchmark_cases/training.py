"""`loop`, `pipeline`, `epoch` and `eval`: training and what stands around it, in this process."""

import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision import transforms as tv

from benchmark_cases.clocks import TURN, TrainingClock, now
from benchmark_cases.comparison import Comparison, medians, side_by_side
from stnlab.compose import compose
from stnlab.runs.directory import RunDirectory
from stnlab.training.components import build_components
from stnlab.training.devices import hidden_gpus
from stnlab.training.evaluation import evaluate_run
from stnlab.training.loading import load_components
from stnlab.training.memory import keep_freed_memory
from stnlab.training.progress import DRAWINGS_A_SECOND
from stnlab.training.run import train_run

WIDTHS = [16, 32]
NETWORK = [f"backbone.channels={WIDTHS}", "placement=input", "transform=affine"]
ONE_EPOCH = [*NETWORK, "recipe.epochs=1", "logger=csv", "data.validation_size=0", "data.test_size=100"]
BATCH, REPEATS = 256, 3
WORKERS = max(2, min(8, os.cpu_count() or 1))
MEAN, STD = (0.1307,), (0.3081,)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def loop() -> list[Comparison]:
    """Images per second of training against a bare PyTorch loop with the same model, batches and optimiser."""
    rates = [_rates_of_an_epoch(ours_first=number % 2 == 0) for number in range(4 * REPEATS)]
    ours, reference = zip(*rates, strict=True)
    return [side_by_side("loop", "images/s", ours, reference, at_least=0.97)]


def pipeline() -> list[Comparison]:
    """Freshly rotated, normalised training images per second against torchvision's."""

    def ours() -> float:
        parts = build_components(compose("train", ONE_EPOCH))
        parts.data.setup(device=DEVICE)
        loader = parts.data.loader("train")
        start = time.perf_counter()
        count = sum(len(parts.data.distort(raw).image) for raw in loader)
        wait()
        return count / (time.perf_counter() - start)

    keep_freed_memory()  # as a training does
    with _elsewhere() as process:
        rates = medians({"ours": ours, "reference": lambda: process.submit(_torchvision_rate).result()}, REPEATS)
    return [Comparison("pipeline", "images/s", rates["ours"], rates["reference"], at_least=25)]


def epoch() -> list[Comparison]:
    """Images per second in an epoch of the ST-CNN on rotated MNIST, ours and as tutorials write it.

    In float32, and both in bfloat16 where the machine computes in it.
    """
    precisions = {"32-true": False} | ({"bf16-mixed": True} if _has_bfloat16() else {})
    found = []
    with _elsewhere() as process:
        for precision, half in precisions.items():
            rates = medians(
                {
                    "ours": lambda precision=precision: _our_rate(f"trainer.precision={precision}"),
                    "reference": lambda half=half: process.submit(_tutorial_rate, half).result(),
                },
                2 * REPEATS,  # single runs of either side differ by a tenth
            )
            compared = (f"epoch, {precision}", "images/s", rates["ours"], rates["reference"])
            found.append(Comparison(*compared, at_least=3))
    return found


def evaluation() -> list[Comparison]:
    """Seconds of the full evaluation beyond plain inference, against those of ten epochs of training."""
    with tempfile.TemporaryDirectory() as folder:
        choices = [*NETWORK, "recipe.epochs=1", "logger=none", f"runs_dir={folder}"]
        if DEVICE.type == "cuda":
            train_run(compose("train", [*choices, "study=warm"]))  # the first one loads CUDA's libraries
        run = train_run(compose("train", choices))
        options = compose("evaluate", [])

        def whole() -> float:
            start = time.perf_counter()
            evaluate_run(run, options)
            return time.perf_counter() - start

        seconds = medians({"whole": whole, "plain": lambda: _inference_seconds(run)}, REPEATS)
        ten_epochs = 10 * float(run.info["train_seconds"])
    beyond = seconds["whole"] - seconds["plain"]
    return [Comparison("eval, beyond inference, of 10 epochs", "s", beyond, ten_epochs, at_most=0.15)]


def wait() -> None:
    """For what a GPU still has to do."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process for the reference: this one's allocator is as a training has set it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        yield process


def _has_bfloat16() -> bool:
    if DEVICE.type == "cuda":
        return torch.cuda.is_bf16_supported()
    described = Path("/proc/cpuinfo")
    flags = described.read_text() if described.exists() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _our_rate(*choices: str) -> float:
    clock = f"+callbacks.clock._target_={TrainingClock.__module__}.{TrainingClock.__name__}"
    with tempfile.TemporaryDirectory() as folder:
        run = train_run(compose("train", [*ONE_EPOCH, clock, f"runs_dir={folder}", *choices]))
        return float(run.info["images_seen"]) / TrainingClock.seconds


def _as_in_a_script() -> AbstractContextManager[None]:
    """Lightning, imported here, makes each step of Adam look for NVIDIA's library; no script of a CPU's does."""
    return hidden_gpus() if DEVICE.type == "cpu" else nullcontext()


def _rates_of_an_epoch(ours_first: bool) -> tuple[float, float]:
    """Ours and the reference's, both at a time: a turn of steps each, for they differ by less than one minute and the
    next. The bar, which goes by the clock, has half its drawings."""
    spent, (images, steps) = [], _bare_epoch()

    def a_turn(of: int | None = TURN) -> None:
        start = now()
        deque(islice(steps, of), maxlen=0)
        spent.append(now() - start)

    TrainingClock.between, TrainingClock.starts = a_turn, ours_first
    try:
        ours = _our_rate(f"+callbacks.progress.refresh_rate={DRAWINGS_A_SECOND // 2}")
    finally:
        TrainingClock.between, TrainingClock.starts = None, True
    with _as_in_a_script():
        a_turn(of=None)
    return ours, images / sum(spent)


def _bare_epoch() -> tuple[int, Iterator[None]]:
    """How many images, and the steps."""
    parts = build_components(compose("train", ONE_EPOCH))
    parts.data.setup(device=DEVICE)
    network, loader = parts.module.network.to(DEVICE), parts.data.loader("train")
    classifier, localizers = network.classifier_parameters(), network.localizer_parameters()
    optimizer, schedule = parts.module.recipe.optimise(classifier, localizers, len(loader), fused=True)

    def steps() -> Iterator[None]:
        for raw in loader:
            batch = parts.data.distort(raw)
            loss = F.cross_entropy(network(batch.image).logits.flatten(0, 1), batch.label.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield

    return len(loader.rows), steps()


def _inference_seconds(run: RunDirectory) -> float:
    """Reading the data, and the logits of validation and test images."""
    start = time.perf_counter()
    parts = load_components(run, os.environ.get("STNLAB_DATA", "data"))
    parts.data.setup(device=DEVICE)
    network = parts.module.network.to(DEVICE).eval()
    with torch.inference_mode():
        for split in ("val", "test"):
            for raw in parts.data.loader(split):
                network(parts.data.distort(raw).image)
    wait()
    return time.perf_counter() - start


def _torchvision_rate() -> float:
    loader = _torchvision_loader()
    start = time.perf_counter()
    count = sum(len(images) for images, _ in loader)
    return count / (time.perf_counter() - start)


def _torchvision_loader() -> "DataLoader[tuple[Tensor, Tensor]]":
    turn = tv.RandomRotation(90, interpolation=tv.InterpolationMode.BILINEAR)
    chosen = tv.Compose([turn, tv.ToTensor(), tv.Normalize(MEAN, STD)])
    root = Path(os.environ.get("STNLAB_DATA", "data"))  # where ours has put them, in torchvision's layout
    images = datasets.MNIST(root, train=True, transform=chosen)
    return DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=WORKERS)


class Tutorial(nn.Module):
    """The network of `NETWORK` as the tutorials of PyTorch write it."""

    def __init__(self) -> None:
        super().__init__()
        self.localization = nn.Sequential(
            *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 20, 5), nn.ReLU(), nn.MaxPool2d(2))
        )
        self.fc_loc = nn.Sequential(nn.Linear(20 * 4 * 4, 50), nn.ReLU(), nn.Linear(50, 6))
        self.fc_loc[2].weight.data.zero_()
        self.fc_loc[2].bias.data.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
        first, second = WIDTHS
        self.features = nn.Sequential(
            *(
                nn.Conv2d(1, first, 9),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(first, second, 7),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
        )
        self.classifier = nn.Linear(second * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.fc_loc(self.localization(x).flatten(1)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.size()), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _tutorial_rate(half: bool) -> float:
    with _as_in_a_script():
        return _tutorial_epoch(half)


def _tutorial_epoch(half: bool) -> float:
    network = Tutorial().to(DEVICE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    total, correct, count = 0.0, 0.0, 0
    loader = _torchvision_loader()
    start = time.perf_counter()
    for images, labels in ((images.to(DEVICE), labels.to(DEVICE)) for images, labels in loader):
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
        correct += (logits.argmax(1) == labels).float().sum().item()
        count += len(images)
    return count / (time.perf_counter() - start)

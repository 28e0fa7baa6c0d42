"""Time ours against what one would write by hand, in turn, in one process: `python scripts/benchmark.py [case ...]`.

Each case runs ours and its reference several times in turn, warm, and prints medians and their ratio (above 1: ours is
faster). Figures depend on the machine; ratios less so.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from stnlab.compose import compose
from stnlab.geometry.sampling import sample
from stnlab.geometry.transforms import Affine
from stnlab.training.components import build_components
from stnlab.training.run import train_run

Result = dict[str, str | float]
DEMO = ["backbone.channels=[16,32]", "placement=input", "transform=affine"]
REPEATS = 3


def alternate(ours: Callable[[], float], reference: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Medians of both, measured in turn; each returns its rate."""
    pairs = [(ours(), reference()) for _ in range(repeats)]
    return statistics.median(one for one, _ in pairs), statistics.median(other for _, other in pairs)


def loop() -> list[Result]:
    """Images per second of training: `stnlab.train` against a bare PyTorch loop with the same model and batches."""

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return float(train_run(compose("train", [*choices, f"runs_dir={folder}"])).info["images_per_second"])

    def reference() -> float:
        parts = build_components(compose("train", choices))
        parts.data.setup()
        network, loader = parts.module.network, parts.data.loader("train")
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        start = time.perf_counter()
        for raw in loader:
            batch = parts.data.distort(raw)
            loss = F.cross_entropy(network(batch.image).logits.flatten(0, 1), batch.label.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(loader.rows) / (time.perf_counter() - start)

    choices = [*DEMO, "recipe.epochs=1", "logger=csv", "data.validation_size=0", "data.test_size=100"]
    mine, theirs = alternate(ours, reference, REPEATS)
    return [{"case": "loop", "unit": "images/s", "ours": mine, "reference": theirs, "ratio": mine / theirs}]


def sampler() -> list[Result]:
    """Affine warps per second, forward and backward in theta: ours against `F.affine_grid` and `F.grid_sample`."""

    def rate(warp: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], images: torch.Tensor) -> float:
        theta = nn.Parameter(0.1 * torch.randn(len(images), 6))
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.5:
            warp(images, theta).sum().backward()
            count += len(images)
        return count / (time.perf_counter() - start)

    def ours(images: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return sample(images, Affine()(theta), (images.shape[2], images.shape[3]))

    def reference(images: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        matrix = theta.reshape(-1, 2, 3) + torch.eye(2, 3)
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)

    results: list[Result] = []
    for shape in ((256, 1, 28, 28), (256, 1, 42, 42), (256, 32, 10, 10), (64, 3, 224, 224)):
        images = torch.rand(shape)
        mine, theirs = alternate(lambda x=images: rate(ours, x), lambda x=images: rate(reference, x), REPEATS)
        name = f"sampler {'x'.join(map(str, shape))}"
        results.append({"case": name, "unit": "images/s", "ours": mine, "reference": theirs, "ratio": mine / theirs})
    return results


CASES = {"loop": loop, "sampler": sampler}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"{', '.join(CASES)}; all if none is named")
    parser.add_argument("--json", type=Path, help="write results, machine and versions to this file")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))} (choices: {', '.join(CASES)})")
    results = [result for name in arguments.cases or CASES for result in CASES[name]()]
    for result in results:
        print(
            "{case:<26} ours {ours:>10,.0f} {unit}   reference {reference:>10,.0f}   ratio {ratio:.2f}".format(**result)
        )
    if arguments.json:
        machine = {"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
        arguments.json.write_text(json.dumps({**machine, "torch": torch.__version__, "results": results}, indent=2))


if __name__ == "__main__":
    main()

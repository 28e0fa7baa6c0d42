"""`stacked`: do seeds of one configuration train faster as one network with stacked weights than one after another, or
in a process each?"""

import copy
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Barrier

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from benchmark_cases.comparison import Comparison, medians
from benchmark_cases.training import BATCH, DEVICE, NETWORK, wait
from stnlab.compose import compose
from stnlab.models.network import Network
from stnlab.training.components import build_components
from stnlab.training.memory import keep_freed_memory

WARM, STEPS, REPEATS = 3, 10, 3
SECONDS = 5.0
"""That processes train side by side."""
SEEDS = [4, 8, 16] if DEVICE.type == "cuda" else [2, 4]


class Logits(nn.Module):
    """What `functional_call` can call."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.logits(image)


class Stacked:
    """So many networks, one batch and one optimiser each; or all as one, whose weights have a first axis of seeds."""

    def __init__(self, seeds: int, dtype: torch.dtype = torch.float32) -> None:
        self.alone = [Logits(_network(seed)).to(DEVICE, dtype) for seed in range(seeds)]
        self.weights, self.state = stack_module_state(copy.deepcopy(self.alone))
        of_one = torch.vmap(lambda weights, state, image: functional_call(self.alone[0], (weights, state), (image,)))
        self.logits = lambda image: of_one(self.weights, self.state, image)
        self.optimizers = [_optimizer(network.parameters()) for network in self.alone]
        self.optimizer = _optimizer(self.weights.values())
        self.images = torch.randn(seeds, BATCH, 1, 28, 28, device=DEVICE, dtype=dtype)
        self.labels = torch.randint(10, (seeds, BATCH), device=DEVICE)

    def stacked_step(self) -> None:
        self.optimizer.zero_grad()
        logits = self.logits(self.images).flatten(0, 2)
        (F.cross_entropy(logits, self.labels.flatten(), reduction="sum") / BATCH).backward()
        self.optimizer.step()

    def steps_alone(self) -> None:
        for network, optimizer, image, label in zip(self.alone, self.optimizers, self.images, self.labels, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(network(image).flatten(0, 1), label).backward()
            optimizer.step()

    def difference(self) -> float:
        """Between the gradients of the last step, over their largest entry."""
        alone = [dict(network.named_parameters()) for network in self.alone]
        pairs = [
            (weight.grad[row], one[name].grad) for name, weight in self.weights.items() for row, one in enumerate(alone)
        ]
        largest = max(float(single.abs().max()) for _, single in pairs)
        return max(float((stacked - single).abs().max()) for stacked, single in pairs) / largest


def stacked() -> list[Comparison]:
    """Training steps a second of all seeds together. The note says by how much their first gradients differ (in
    float64, where rounding takes no sample over a kink)."""
    keep_freed_memory()  # as a training does
    return [comparison for seeds in SEEDS for comparison in _compared(seeds)]


def _compared(seeds: int) -> list[Comparison]:
    exact = Stacked(seeds, torch.float64)
    exact.stacked_step()
    exact.steps_alone()
    note = f"gradients differ by {exact.difference():.0e}"
    both = Stacked(seeds)
    for step in (both.stacked_step, both.steps_alone):
        _rate(step, WARM)
    ways = {
        "stacked": lambda: seeds * _rate(both.stacked_step, STEPS),
        "one after another": lambda: seeds * _rate(both.steps_alone, STEPS),
        "a process each": lambda: _in_processes(seeds, SECONDS),
    }
    ours, *others = medians(ways, REPEATS).items()
    return [Comparison(f"stacked, {seeds} seeds; {way}", "steps/s", ours[1], rate, note=note) for way, rate in others]


def _in_processes(seeds: int, seconds: float) -> float:
    """Steps a second of so many processes together, each with its share of the cores."""
    context = get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(seeds, context) as processes:
        together = manager.Barrier(seeds)
        return sum(processes.map(_own_rate, [together] * seeds, [seconds] * seeds))


def _own_rate(together: Barrier, seconds: float) -> float:
    """In a process of its own; together: with whom it starts."""
    keep_freed_memory()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // together.parties))
    alone = Stacked(1)
    _rate(alone.steps_alone, WARM)
    together.wait()
    start, steps = time.perf_counter(), 0
    while not steps or time.perf_counter() - start < seconds:
        alone.steps_alone()
        wait()
        steps += 1
    return steps / (time.perf_counter() - start)


def _network(seed: int) -> Network:
    """With some noise on its weights: views of the identity are read at pixel centres, where gradients jump."""
    network = build_components(compose("train", [*NETWORK, f"seed={seed}"])).module.network
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    return network


def _optimizer(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.01)


def _rate(step: Callable[[], None], steps: int) -> float:
    """Calls a second."""
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return steps / (time.perf_counter() - start)

"""Optimiser, schedule, batch size and length, as one choice."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from stnlab.errors import StnlabError

Schedule = Callable[[float], float]
Positive = Annotated[int, Gt(0)]


@dataclass(frozen=True)
class Recipe:
    """batch_size is global, over all devices. The length is given either in epochs or in steps (batches).

    optimizer: takes parameter groups. schedule: factor on the learning rate as a function of progress in [0, 1].
    gradient_clip_norm: largest norm of the whole gradient, None: no limit. eval_batch_size changes no result beyond
    the last bits.
    """

    batch_size: Positive
    eval_batch_size: Positive
    optimizer: Callable[..., Optimizer]
    schedule: Schedule
    epochs: Positive | None = None
    steps: Positive | None = None
    gradient_clip_norm: Annotated[float, Gt(0)] | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise StnlabError(
                f"recipe.epochs={_or_null(self.epochs)} and recipe.steps={_or_null(self.steps)}: "
                "give one of them, the other null"
            )
        try:
            self.optimizer([nn.Parameter(torch.zeros(1))])
        except (TypeError, ValueError) as error:
            raise StnlabError(f"recipe.optimizer: {error}") from error
        try:
            rates = [float(self.schedule(progress)) for progress in (0.0, 0.5, 1.0)]
        except (TypeError, ValueError, ArithmeticError) as error:
            raise StnlabError(f"recipe.schedule: {error}") from error
        if not all(0 <= rate < math.inf for rate in rates):
            raise StnlabError(
                f"recipe.schedule: gives {rates} at the start, half-way and the end; it must not be negative"
            )

    def total_steps(self, steps_an_epoch: int) -> int:
        """Of the optimiser, over the whole training."""
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_an_epoch

    def optimise(
        self,
        classifier: Sequence[nn.Parameter],
        localizers: Sequence[tuple[float, list[nn.Parameter]]],
        steps: int,
        fused: bool = False,
    ) -> tuple[Optimizer, LambdaLR]:
        """The optimiser and its schedule over so many steps; localizers: (learning-rate multiplier, parameters).

        fused: one kernel for all parameters, if the optimiser has such a one and the recipe does not choose.
        """
        known = inspect.signature(self.optimizer).parameters
        chosen = getattr(self.optimizer, "keywords", {})
        way = {"fused": True} if fused and "fused" in known and not {"fused", "foreach"} & chosen.keys() else {}
        optimizer = self.optimizer([{"params": list(classifier)}], **way)
        base = optimizer.param_groups[0]["lr"]
        for multiplier, parameters in localizers:
            if parameters:
                optimizer.add_param_group({"params": parameters, "lr": base * multiplier})
        return optimizer, LambdaLR(optimizer, lambda step: self.schedule(min(step / steps, 1.0)))


def one_cycle(progress: float, warmup: Annotated[float, Ge(0), Lt(1)], final: Annotated[float, Ge(0)] = 0.0) -> float:
    """Linear from 0 to 1 in the first `warmup` of the training, then a cosine down to `final` (Smith 2018)."""
    if progress < warmup:
        return progress / warmup
    return final + (1 - final) * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def staircase(progress: float, parts: Positive, factor: Annotated[float, Gt(0)]) -> float:
    """1 in the first of equal parts of the training, multiplied by `factor` in each next (Jaderberg et al. 2015)."""
    return float(factor ** min(int(progress * parts), parts - 1))


def _or_null(value: Any) -> Any:
    return "null" if value is None else value

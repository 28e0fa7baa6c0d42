"""How the transformers do while they are trained: gradients of an epoch, views of a validation."""

import math

import torch
from torch import Tensor

from stnlab.data.batch import Batch
from stnlab.data.module import ImageData
from stnlab.evaluation.health import collapsed, health
from stnlab.models.network import Network
from stnlab.models.prediction import Prediction
from stnlab.runs.predictions import CORNERS
from stnlab.training.geometry_arrays import view_arrays
from stnlab.training.processes import gathered
from stnlab.training.view_sums import ViewSums

VALIDATED = ("outside", "blank", "theta_spread", "theta_drift", "collapsed")
GRADIENTS = ("grad_localizer", "grad_classifier")
NORMS_AN_EPOCH = 20
"""So many steps at least are measured, or all, and less than twice as many, evenly spread: all of a long epoch would be
half a hundredth of a training."""


class GradientNorms:
    """Norms of the localizers' and of the classifier's gradient before clipping, mean over twenty to forty steps of
    an epoch, evenly spread, or all of a shorter one.

    Steps whose gradient is not finite (a loss scaled too far in half precision) are left out. Nothing waits for the
    device before `fold`.
    """

    def __init__(self, network: Network) -> None:
        localizer = [parameter for _, parameters in network.localizer_parameters() for parameter in parameters]
        groups = zip(GRADIENTS, (localizer, network.classifier_parameters()), strict=True)
        self._groups = {name: len(parameters) for name, parameters in groups if parameters}
        self._parameters = [*localizer, *network.classifier_parameters()]
        self._waiting: list[Tensor] = []
        self._sums: dict[str, tuple[float, float]] = {}

    def update(self) -> None:
        """After the backward pass of a step: one operation for all parameters; their groups can wait."""
        # None where a parameter is frozen, or a localizer's with sampler.mode=nearest.
        gradients = [one.new_zeros(()) if one.grad is None else one.grad for one in self._parameters]
        self._waiting.append(torch.stack(torch._foreach_norm(gradients)))

    def fold(self) -> None:
        """Add what waits, step by step, so that it does not matter when."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        squares = torch.stack(waiting).cpu().double().square().split_with_sizes(list(self._groups.values()), dim=1)
        norms = torch.stack([group.sum(1).sqrt() for group in squares]).tolist()
        for name, steps in zip(self._groups, norms, strict=True):
            total, count = self._sums.get(name, (0.0, 0.0))
            finite = [norm for norm in steps if math.isfinite(norm)]
            for norm in finite:
                total += norm
            self._sums[name] = (total, count + len(finite))

    def state(self) -> dict[str, Tensor]:
        """[2] for each group, the sum of its norms and the steps so far, the same in every process."""
        self.fold()
        return {name: torch.tensor(sums, dtype=torch.float64) for name, sums in self._sums.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._sums = {name: (float(sums[0]), float(sums[1])) for name, sums in state.items()}

    def collect(self) -> dict[str, float]:
        """`health/grad_localizer`, with a localizer, and `health/grad_classifier`; then back to the start."""
        self.fold()
        sums, self._sums = self._sums, {}
        return {f"health/{name}": total / steps for name, (total, steps) in sums.items() if steps}


class RunningHealth:
    """`evaluation.health` of a pass over the validation split, over all processes."""

    def __init__(self) -> None:
        self._arrays: list[dict[str, Tensor]] = []
        self._views = ViewSums()
        self._canvas = (0, 0)

    def update(self, batch: Batch, prediction: Prediction, data: ImageData) -> None:
        if prediction.warps:
            self._arrays.append(view_arrays(prediction))
            self._views.update(prediction, batch.label, data)
            self._canvas = (batch.image.shape[2], batch.image.shape[3])

    def collect(self) -> tuple[dict[str, float], dict[int, str]]:
        """(`health/<name>`: of each measure that of the worst transformer, the collapsed ones by number).

        Nothing without a transformer. Then back to the start.
        """
        if not self._arrays:
            return {}, {}
        parts = [{name: tensor.cpu().numpy() for name, tensor in part.items()} for part in self._arrays]
        arrays, variances = gathered(parts), self._views.variances()
        corners = arrays["warps"][:, :, list(CORNERS)]
        found = health(corners, arrays["outside"], arrays["blank"], variances, self._canvas)
        self._arrays, self._views = [], ViewSums()
        return worst(found), collapsed(arrays["blank"], variances)


def worst(found: dict[str, float]) -> dict[str, float]:
    """Of `<name>/<number>` the worst transformer's: the smallest spread, since the same warp for all images answers to
    none of them, and the largest of everything else."""
    values: dict[str, list[float]] = {}
    for name, value in found.items():
        values.setdefault(f"health/{name.split('/')[0]}", []).append(value)
    return {name: (min if name == "health/theta_spread" else max)(several) for name, several in values.items()}

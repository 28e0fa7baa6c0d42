"""What a network says of the same test images in canonical pose, turned and scaled step by step."""

import numpy as np
import torch
from torch import Tensor

from stnlab.data.distortion import forward
from stnlab.data.module import ImageData
from stnlab.evaluation.invariance import OrbitSizes
from stnlab.models.network import Network
from stnlab.runs.evaluation import Orbit
from stnlab.seeds import generator

Said = tuple[Tensor, Tensor, Tensor]

AT_ONCE = 250
"""Images on a CPU, which takes twice as long for batches that leave its cache; fewer if a batch of evaluation has
fewer. A GPU takes that."""


def chosen_images(data: ImageData, count: int) -> Tensor:
    """Rows of the test predictions, rising: the first in an order that the data's own seed fixes, at most `count`."""
    order = torch.randperm(len(data.rows["test"]), generator=generator(data.seed, "orbits"))
    return order[:count].sort().values


@torch.inference_mode()
def sweep_orbits(network: Network, data: ImageData, sizes: OrbitSizes) -> dict[str, Orbit]:
    """`rotation` and `scale`, each alone; empty if `sizes` wants no images.

    The network is in eval mode on the data's device. Probabilities are float32 there: the batch size and threads move
    them by their rounding, about 1e-6, another device by that of its convolutions.
    """
    if not sizes.images:
        return {}
    chosen, orbits = chosen_images(data, sizes.images), sizes.values()
    canonical = {"rotation": 0.0, "scale": 1.0}
    said: dict[str, list[Said]] = {name: [] for name in orbits}
    labels: list[Tensor] = []
    cut: dict[str, list[Tensor]] = {name: [] for name in orbits}
    known = data.dataset.posed and data.dataset.background is None
    at_once = min(AT_ONCE, data.eval_batch_size) if data.device.type == "cpu" else data.eval_batch_size
    for rows in torch.split(chosen, at_once):
        raw = data.picked("test", data.rows["test"][rows])
        still = data.posed(raw)
        reference = _probabilities(network, still.image)
        labels.append(still.label)
        content = data.undistorted(raw) if known else None
        for name, values in orbits.items():
            if content is not None:
                cut[name].append(cut_off(content, data.distortion.size, name, values))
            each = []
            for value in values.tolist():
                moves = value != canonical[name]
                moved = _probabilities(network, data.posed(raw, **{name: value}).image) if moves else reference
                each.append(_compared(moved, reference))
            predicted, confidence, variation = (torch.stack(tensors) for tensors in zip(*each, strict=True))
            said[name].append((predicted, confidence, variation))
    training = {"rotation": data.distortion.rotation, "scale": data.distortion.scale}
    found = {}
    for name, parts in said.items():
        arrays = [torch.cat(tensors, 1).cpu().numpy() for tensors in zip(*parts, strict=True)]
        found[name] = Orbit(
            values=orbits[name],
            canonical=int(np.flatnonzero(orbits[name] == canonical[name]).item()),
            training=(float(training[name][0]), float(training[name][1])),
            indices=chosen.numpy(),
            labels=torch.cat(labels).cpu().numpy(),
            predicted=arrays[0],
            confidence=arrays[1],
            variation=arrays[2],
            cut=torch.cat(cut[name]).mean(0).float().cpu().numpy() if known else None,
        )
    return found


def cut_off(images: Tensor, size: int, orbit: str, values: np.ndarray) -> Tensor:
    """[N, V], the share of each image's content that lies outside a canvas of size x size pixels at each value.

    images: [N, C, h, w], as stored, above 0 where they show anything. orbit: `rotation` (values in degrees) or `scale`.
    """
    height, width = images.shape[2:]
    y, x = (torch.arange(length, dtype=torch.float64) - (length - 1) / 2 for length in (height, width))
    points = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1) * 2 / size
    amount = torch.from_numpy(values).double()
    turned = {"rotation": torch.zeros_like(amount), "scale": torch.ones_like(amount)}
    turned[orbit] = amount.deg2rad() if orbit == "rotation" else amount
    moved = forward(turned)(points.reshape(1, -1, 2).expand(len(values), -1, -1))
    outside = (moved.abs().amax(-1) > 1).to(images.device, torch.float32)
    content = images.sum(1, dtype=torch.float32).flatten(1)
    return content @ outside.T / content.sum(1, keepdim=True).clamp(min=1)


def _probabilities(network: Network, image: Tensor) -> Tensor:
    logits: Tensor = network(image.to(next(network.parameters()).dtype)).logits
    return logits.float().softmax(-1)


def _compared(moved: Tensor, reference: Tensor) -> Said:
    """Prediction [N, heads], confidence [N] and total variation [N] of probabilities [N, heads, classes]."""
    largest, predicted = moved.max(-1)
    variation = ((moved - reference).abs().sum(-1) / 2).mean(-1)
    return predicted.to(torch.int16), largest.clamp(max=1).prod(-1), variation.clamp(max=1)

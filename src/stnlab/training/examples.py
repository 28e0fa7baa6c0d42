"""A few test samples with what the transformers made of them, to look at."""

import numpy as np
import torch
from torch import Tensor

from stnlab.data.module import ImageData
from stnlab.models.network import Network
from stnlab.runs.evaluation import Examples

COUNT = 16


def make_examples(network: Network, data: ImageData) -> Examples:
    """The first test samples, the same for every run on this data."""
    batch = data.distort(data.first("test", COUNT))
    network.eval()
    with torch.inference_mode():
        prediction = network(batch.image.to(next(network.parameters()).dtype))
    pairs = [_as_grey(pair, data) for pair in zip(prediction.inputs, prediction.views, strict=True)]
    return Examples(
        indices=np.arange(len(batch.index)),
        images=_to_bytes(_denormalised(batch.image, data)),
        before=[before for before, _ in pairs],
        after=[after for _, after in pairs],
    )


def _as_grey(pair: tuple[Tensor, Tensor], data: ImageData) -> tuple[np.ndarray, np.ndarray]:
    """Channel means in [0, 1]: of images as they are, of features scaled to the range of what came in."""
    before, after = pair
    if before.shape[1:] == data.image_shape:
        before, after = _denormalised(before, data).mean(1), _denormalised(after, data).mean(1)
        return _to_bytes(before), _to_bytes(after)
    before, after = before.float().mean(1), after.float().mean(1)
    low, high = before.amin(), before.amax()
    scaled = ((image - low) / (high - low).clamp(min=1e-12) for image in (before, after))
    before, after = scaled
    return _to_bytes(before), _to_bytes(after)


def _denormalised(image: Tensor, data: ImageData) -> Tensor:
    return image.float() * data.std[:, None, None] + data.mean[:, None, None]


def _to_bytes(image: Tensor) -> np.ndarray:
    array: np.ndarray = (image.clamp(0, 1) * 255).round().byte().cpu().numpy()
    return array

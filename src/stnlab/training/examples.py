"""A few test samples with what the transformers made of them, to look at."""

import numpy as np
import torch
from torch import Tensor

from stnlab.data.module import ImageData
from stnlab.models.network import Network
from stnlab.models.prediction import Prediction
from stnlab.runs.evaluation import Examples
from stnlab.training.grey import denormalised, grey, is_image, to_bytes

COUNT = 16


def make_examples(network: Network, data: ImageData) -> Examples:
    """The first test samples, the same for every run on this data."""
    images = first_images(data, COUNT)
    prediction = look(network.eval(), images)
    pairs = [as_grey(pair, data) for pair in zip(prediction.inputs, prediction.views, strict=True)]
    return Examples(
        indices=np.arange(len(images)),
        images=to_bytes(denormalised(images, data)).cpu().numpy(),
        before=[to_bytes(before).cpu().numpy() for before, _ in pairs],
        after=[to_bytes(after).cpu().numpy() for _, after in pairs],
    )


def first_images(data: ImageData, count: int) -> Tensor:
    """The first test images as the network gets them, [count or fewer, C, H, W]."""
    return data.distort(data.first("test", count)).image


def look(network: Network, images: Tensor) -> Prediction:
    """What the network, in eval mode, says of a few images; its mode and torch's random state stay as they are."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        prediction: Prediction = network(images.to(next(network.parameters())))
    network.train(training)
    return prediction


def as_grey(pair: tuple[Tensor, Tensor], data: ImageData) -> tuple[Tensor, Tensor]:
    """What reached a transformer and its view as pictures in [0, 1]; features scaled to the range of what came in."""
    before, after = grey(*pair, data)
    if is_image(pair[0], data):
        return before, after
    low, high = before.amin(), before.amax()
    reach = (high - low).clamp(min=1e-12)
    return (before - low) / reach, (after - low) / reach

"""Every transform at every placement in four kinds of backbone learns from its first step."""

from functools import cache
from typing import Any

import pytest
import torch

from stnlab.compose import compose, conf_directory
from stnlab.data.module import ImageData
from stnlab.errors import StnlabError
from stnlab.runs.predictions import LANDMARKS
from stnlab.training.components import build_components, build_network

TRANSFORMS = sorted(path.stem for path in (conf_directory() / "transform").glob("*.yaml"))
PLACEMENTS = sorted({path.stem for path in (conf_directory() / "placement").glob("*.yaml")} - {"none"})
BACKBONES = {
    "cnn": {"channels": [4, 6]},
    "fcn": {"units": [12, 8]},
    "conv_net": {},
    "timm": {"name": "resnet18"},
}
ON_FEATURES = {"deep", "shared", "separate", "stacked"}


@cache
def node(group: str, choice: str) -> Any:
    return compose("train", [f"{group}={choice}"])[group]


@cache
def composed(*options: str) -> Any:
    return compose("train", list(options))


@cache
def base() -> tuple[dict[str, Any], ImageData]:
    config = compose("train", ["localizer.channels=[4,4]", "localizer.units=[8]"])
    return config, build_components(config).data


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_training_step(transform: str, placement: str, backbone: str):
    config, data = base()
    chosen = {
        "transform": node("transform", transform),
        "placement": node("placement", placement),
        "backbone": node("backbone", backbone) | BACKBONES[backbone],
    }
    if backbone == "fcn" and placement in ON_FEATURES:
        with pytest.raises(StnlabError, match="a transformer needs an image"):
            build_network(config | chosen, data)
        return
    check_a_step(config | chosen, data)


OPTIONS = {
    "a localizer for all": ["placement=parallel", "placement.join=separate_trunks", "placement.localizers=shared"],
    "iterated, for all": ["placement=parallel", "placement.localizers=shared", "placement.iterations=2"],
    "another at one depth": ["placement=stacked", "+localizer@placement.localizers.1=fc"],
    "timm's": ["localizer=timm", "localizer.channels=4", "localizer.units=[]"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_training_step_with_another_choice_of_localizers(transform: str, options: list[str]):
    _, data = base()
    small = {"transform": node("transform", transform), "backbone": node("backbone", "cnn") | BACKBONES["cnn"]}
    check_a_step(composed(*options) | small, data)


def check_a_step(config: dict[str, Any], data: ImageData) -> None:
    """Theta starts at the identity, the loss is finite, and every localizer learns."""
    network = build_network(config, data).train()
    generator = torch.Generator().manual_seed(0)
    prediction = network(torch.randn(2, 1, 28, 28, generator=generator))

    landmarks = torch.from_numpy(LANDMARKS)
    for warp in prediction.warps:
        torch.testing.assert_close(warp(landmarks), landmarks.expand(2, -1, -1), rtol=0, atol=1e-5)
    loss = torch.nn.functional.cross_entropy(prediction.logits.flatten(0, 1), torch.tensor([3, 8]))
    loss.backward()
    assert loss.isfinite()
    for transformer in network.transformers:
        if transformer.localizer is not None:
            gradients = [parameter.grad for parameter in transformer.localizer.parameters()]
            assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
            weight, bias = gradients[-2:]
            assert min(weight.abs().sum(), bias.abs().sum()) > 0

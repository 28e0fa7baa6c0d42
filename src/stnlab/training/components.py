"""From a configuration to the parts of a run. Every choice is checked here, before any data is read."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from stnlab.choices import build
from stnlab.data.module import ImageData
from stnlab.errors import StnlabError
from stnlab.geometry.transforms import Identity, Transform
from stnlab.models.backbones import Backbone, Shape
from stnlab.models.network import Network, assemble
from stnlab.runs.identity import Config
from stnlab.seeds import seeded
from stnlab.training.classifier import Classifier
from stnlab.training.recipe import Recipe


@dataclass(frozen=True)
class Components:
    """Data, and the module that trains a network on it."""

    data: ImageData
    module: Classifier


def build_components(config: Config) -> Components:
    """The parts that a configuration, complete or normalised, names. Raises StnlabError for a wrong choice.

    Each part draws its initial weights from a generator of its own, so runs that differ in the transformer alone start
    with the same classifier.
    """
    seed: int = config["seed"]
    recipe = _as(Recipe, build(config["recipe"], "recipe"), "recipe")
    sizes = {"batch_size": recipe.batch_size, "eval_batch_size": recipe.eval_batch_size}
    data = _as(ImageData, build(config["data"], "data", training_seed=seed, **sizes), "data")
    network = build_network(config, data)
    return Components(data, Classifier(network, recipe, data.dataset.classes, seed))


def build_network(config: Config, data: ImageData) -> Network:
    """The backbone with its transformers, freshly initialised."""
    seed: int = config["seed"]
    heads, classes = data.dataset.heads, data.dataset.classes
    with seeded(seed, "init", "backbone"):
        built = build(config["backbone"], "backbone", input_shape=data.image_shape, outputs=heads * classes)
    backbone = _as(Backbone, built, "backbone")
    sites = build(config["placement"], "placement")
    transform = Identity()
    if "transform" in config:
        transform = _as(Transform, build(config["transform"], "transform"), "transform")
    made = 0

    def make_localizer(input_shape: Shape, outputs: int) -> nn.Module:
        nonlocal made
        made += 1
        with seeded(seed, "init", "localizer", made):
            built = build(config["localizer"], "localizer", input_shape=input_shape, outputs=outputs)
        localizer: nn.Module = _as(nn.Module, built, "localizer")
        return localizer

    return assemble(backbone, sites, transform, make_localizer, data.background, heads)


def _as(role: type[Any], built: Any, path: str) -> Any:
    if not isinstance(built, role):
        raise StnlabError(f"{path}: {type(built).__name__} is no {role.__name__}; choose another _target_")
    return built

"""From a configuration to the parts of a run. Every choice is checked here, before any data is read."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import nn

from stnlab.choices import Node, build
from stnlab.data.module import ImageData
from stnlab.errors import StnlabError
from stnlab.geometry.sampling import Sampler
from stnlab.geometry.transforms import Identity, Transform
from stnlab.models.backbones import Backbone, Shape
from stnlab.models.network import Image, Network, assemble
from stnlab.models.placement import Site
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
    return Components(data, Classifier(network, recipe, seed))


def build_network(config: Config, data: ImageData) -> Network:
    """The backbone with its transformers, freshly initialised."""
    heads, classes = data.dataset.heads, data.dataset.classes
    sites = build(config["placement"], "placement")
    transform, sampler = Identity(), Sampler()
    if "transform" in config:
        transform = _as(Transform, build(config["transform"], "transform"), "transform")
        sampler = _as(Sampler, build(config["sampler"], "sampler"), "sampler")
    made: Counter[str] = Counter()

    def make(role: str, of: type[nn.Module], node: Node, outputs: int, input_shape: Shape) -> Any:
        """Each in turn has its own seed."""
        made[role] += 1
        with seeded(config["seed"], "init", role, made[role]):
            return _as(of, build(node, role, input_shape=input_shape, outputs=outputs), role)

    def make_localizer(site: Site, input_shape: Shape, outputs: int) -> Any:
        if site.localizer is None:
            return make("localizer", nn.Module, config["localizer"], outputs, input_shape)
        try:
            return make("localizer", nn.Module, site.localizer, outputs, input_shape)
        except StnlabError as error:
            raise StnlabError(f"placement.localizers.{site.depth}: {error}") from error

    with seeded(config["seed"], "init", "rest"):
        return assemble(
            Image(data.image_shape, data.background),
            lambda shape: make("backbone", Backbone, config["backbone"], heads * classes, shape),
            sites,
            transform,
            make_localizer,
            heads,
            sampler,
        )


def _as(role: type[Any], built: Any, path: str) -> Any:
    if not isinstance(built, role):
        raise StnlabError(f"{path}: {type(built).__name__} is no {role.__name__}; choose another _target_")
    return built

"""The papers' networks that take several choices at once, as their files in `conf/experiment/` make them."""

import pytest
import torch
from torch import nn

from stnlab.compose import compose, conf_directory
from stnlab.errors import StnlabError
from stnlab.models.network import Network
from stnlab.runs.identity import normalise
from stnlab.training.components import build_components
from stnlab.trust import allowed_targets, check_targets

UNTRAINED = ["backbone.pretrained=false", "localizer.pretrained=false"]
EXPERIMENTS = {
    "st_cnn_paper": ([], (1, 10), [(1, 28, 28)]),
    "addition": ([], (1, 19), [(2, 42, 42)] * 2),
    "svhn_single": ([], (5, 11), [(3, 64, 64)]),
    "svhn_multi": ([], (5, 11), [(3, 64, 64), (48, 32, 32), (64, 32, 32), (128, 16, 16)]),
    "birds_2x": (UNTRAINED, (1, 200), [(3, 224, 224)] * 2),
    "birds_4x": ([*UNTRAINED, "backbone.name=resnet10t", "localizer.name=resnet10t"], (1, 200), [(3, 224, 224)] * 4),
}
"""More overrides, heads and classes, shapes of the views."""


def network(*overrides: str) -> tuple[Network, tuple[int, ...]]:
    components = build_components(compose("train", list(overrides)))
    return components.module.network, components.data.image_shape


def test_every_experiment_is_tested():
    assert set(EXPERIMENTS) == {path.stem for path in (conf_directory() / "experiment").glob("*.yaml")}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_network_of_an_experiment_does_a_forward_pass(name: str):
    overrides, logits, views = EXPERIMENTS[name]
    net, image_shape = network(f"experiment={name}", *overrides)
    with torch.inference_mode():
        prediction = net.eval()(torch.randn(1, *image_shape))
    assert prediction.logits.shape == (1, *logits)
    assert prediction.logits.isfinite().all()
    assert [tuple(view.shape[1:]) for view in prediction.views] == views


def widths(localizer: nn.Module) -> list[tuple[str, int]]:
    convolutions = [("conv", one.out_channels) for one in localizer.modules() if isinstance(one, nn.Conv2d)]
    return convolutions + [("linear", one.out_features) for one in localizer.modules() if isinstance(one, nn.Linear)]


def test_localizers_of_the_house_number_networks_are_the_papers():
    """Section 4.2: of Single a four-layer CNN, of Multi two layers of 32 units each; and the layer that says theta."""
    linear = [("linear", 32), ("linear", 32), ("linear", 6)]
    single, _ = network("experiment=svhn_single")
    assert [widths(one.localizer) for one in single.transformers] == [[("conv", 32), ("conv", 32), *linear]]
    multi, _ = network("experiment=svhn_multi")
    assert [widths(one.localizer) for one in multi.transformers] == [linear] * 4


STACKED = ["placement=stacked", "placement.depths=[0,1]"]


def test_a_depth_may_have_another_localizer_and_nothing_else_changes():
    plain, _ = network(*STACKED)
    mixed, _ = network(*STACKED, "+localizer@placement.localizers.0=fc")
    assert widths(mixed.transformers[0].localizer) == [*[("linear", 32)] * 3, ("linear", 6)]
    for before, after in ((plain.transformers[1], mixed.transformers[1]), (plain.backbone, mixed.backbone)):
        for name, weights in before.state_dict().items():
            assert torch.equal(weights, after.state_dict()[name])


def test_a_finished_runs_own_configuration_makes_the_network_again():
    every = [f"+localizer@placement.localizers.{depth}=fc" for depth in (0, 1)]
    kept = normalise(compose("train", [*STACKED, *every, "localizer=finnveden"]))
    assert "localizer" not in kept
    kept["data"]["root"] = "data"  # a path is no part of it
    check_targets(kept, allowed_targets(), "config.yaml")
    again, made = build_components(kept).module.network, network(*STACKED, *every)[0]
    for name, weights in made.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])


def test_a_strangers_run_names_no_class_but_a_localizer_for_a_depth():
    kept = normalise(compose("train", [*STACKED, "+placement.localizers.1={_target_: os.system}"]))
    with pytest.raises(StnlabError, match=r"^config.yaml: localizer._target_=os.system is no class that conf/ names"):
        check_targets(kept, allowed_targets(), "config.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+placement.localizers.0.foo=1", "placement.localizers.0: localizer.foo: no such option"),
        ("placement.localizers.0.units=[0]", "placement.localizers.0: localizer.units=[0]: should be greater than 0"),
        ("+placement.localizers.7={}", "placement.localizers.7: no transformer sits there; placement.depths=[0, 1]"),
    ],
)
def test_a_wrong_localizer_of_a_depth_is_one_line(override: str, message: str):
    with pytest.raises(StnlabError) as caught:
        network(*STACKED, "+localizer@placement.localizers.0=fc", override)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)

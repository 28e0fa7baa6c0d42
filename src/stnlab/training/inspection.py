"""What is kept of a trained network beside its predictions: all of `evaluation.npz`."""

from dataclasses import replace

from stnlab.choices import build
from stnlab.evaluation.invariance import OrbitSizes
from stnlab.runs.evaluation import Evaluation, Frames
from stnlab.runs.identity import Config
from stnlab.training.components import Components
from stnlab.training.equivariance import measure_equivariance
from stnlab.training.examples import make_examples
from stnlab.training.orbits import sweep_orbits


def inspect_network(components: Components, config: Config, frames: Frames | None = None) -> Evaluation:
    """Examples, orbits and equivariance gaps, by this process alone, on the data's device; the rest is at hand.

    config: the run's own, as its directory holds it; without `evaluation` there are no orbits and gaps. frames: views
    that the training kept. The module has just been tested: its class means are the test split's.
    """
    module, data = components.module, components.data
    network = module.network
    network.to(data.mean.device).eval()  # after a test Lightning leaves it on the CPU
    kept = Evaluation(
        make_examples(network, data),
        class_means=module.class_means,
        frames=frames,
        view_variances=module.view_variances,
    )
    if "evaluation" not in config:
        return kept
    sizes: OrbitSizes = build({**config["evaluation"], "_target_": f"{OrbitSizes.__module__}.OrbitSizes"}, "evaluation")
    depths, gaps = measure_equivariance(network, data, sizes.images)
    return replace(kept, orbits=sweep_orbits(network, data, sizes), depths=depths, equivariance=gaps)

"""What is kept of a trained network beside its predictions: all of `evaluation.npz`."""

from stnlab.evaluation.invariance import OrbitSizes
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.identity import Config
from stnlab.training.components import Components
from stnlab.training.equivariance import measure_equivariance
from stnlab.training.examples import make_examples
from stnlab.training.orbits import sweep_orbits


def inspect_network(components: Components, config: Config) -> Evaluation:
    """Examples, orbits and equivariance gaps, by this process alone, on the data's device.

    config: the run's own, as its directory holds it; without `evaluation` there are examples only.
    """
    network, data = components.module.network, components.data
    network.to(data.mean.device).eval()  # after a test Lightning leaves it on the CPU
    examples = make_examples(network, data)
    if "evaluation" not in config:
        return Evaluation(examples)
    sizes = OrbitSizes(**config["evaluation"])
    depths, gaps = measure_equivariance(network, data, sizes.images)
    return Evaluation(examples, sweep_orbits(network, data, sizes), depths, gaps)

import numpy as np
import torch

from stnlab.evaluation.calibration import confidences, ece
from stnlab.training.calibration_error import CalibrationError


def expected(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Guo et al. (2017), with numpy's histogram, whose last bin is closed."""
    probabilities = torch.softmax(logits.double(), dim=1)
    confidence, predicted = (values.numpy() for values in probabilities.max(dim=1))
    gap = confidence - (predicted == labels.numpy())
    edges = np.linspace(0, 1, 16)
    return float(np.abs(np.histogram(confidence, edges, weights=gap)[0]).sum() / len(gap))


def test_equals_an_independent_computation_over_several_batches():
    generator = torch.Generator().manual_seed(0)
    size = 15_000  # sums of that many confidences near 1 need float64
    logits = 9 * torch.randn(4 * size, 10, generator=generator)
    labels = torch.where(torch.rand(4 * size, generator=generator) < 0.98, logits.argmax(1), 3)
    metric = CalibrationError()
    for part in range(4):
        metric.update(logits[part * size :][:size, None], labels[part * size :][:size, None])
    torch.testing.assert_close(float(metric.compute()), expected(logits, labels), rtol=0, atol=1e-6)


def test_full_confidence_belongs_to_the_last_bin():
    logits = torch.tensor([[100.0, 0.0], [100.0, 0.0], [3.3, 0.0], [3.4, 0.0]])
    labels = torch.tensor([0, 1, 0, 0])
    assert torch.softmax(logits[0], 0).max() == 1.0
    metric = CalibrationError()
    metric.update(logits[:, None], labels[:, None])
    value = float(metric.compute())
    torch.testing.assert_close(value, expected(logits, labels), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        value, ece(*confidences(logits[:, None].numpy(), labels[:, None].numpy())), atol=1e-6, rtol=0
    )


def test_a_sequence_is_as_sure_as_the_product_of_its_heads():
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(500, 3, 4, generator=generator)
    labels = logits.argmax(-1)
    labels[::5, 1] = 0
    metric = CalibrationError()
    metric.update(logits, labels)
    by_numpy = ece(*confidences(logits.numpy(), labels.numpy()))
    torch.testing.assert_close(float(metric.compute()), by_numpy, rtol=0, atol=1e-6)

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stnlab.evaluation.calibration import confidences, ece
from stnlab.training.running_metrics import FOLDED_EVERY, RunningMetrics


def expected(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Guo et al. (2017), with numpy's histogram, whose last bin is closed."""
    probabilities = torch.softmax(logits.double(), dim=1)
    confidence, predicted = (values.numpy() for values in probabilities.max(dim=1))
    gap = confidence - (predicted == labels.numpy())
    edges = np.linspace(0, 1, 16)
    return float(np.abs(np.histogram(confidence, edges, weights=gap)[0]).sum() / len(gap))


def note(metrics: RunningMetrics, logits: torch.Tensor, labels: torch.Tensor) -> None:
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1]
    metrics.note(loss, logits, labels)


def test_equals_an_independent_computation_over_several_batches():
    generator = torch.Generator().manual_seed(0)
    size = 15_000  # sums of that many confidences near 1 need float64
    logits = 9 * torch.randn(4 * size, 10, generator=generator)
    labels = torch.where(torch.rand(4 * size, generator=generator) < 0.98, logits.argmax(1), 3)
    metrics = RunningMetrics()
    for part in range(4):
        note(metrics, logits[part * size :][:size, None], labels[part * size :][:size, None])
    torch.testing.assert_close(metrics.collect()["ece"], expected(logits, labels), rtol=0, atol=1e-6)


def test_full_confidence_belongs_to_the_last_bin():
    logits = torch.tensor([[100.0, 0.0], [100.0, 0.0], [3.3, 0.0], [3.4, 0.0]])
    labels = torch.tensor([0, 1, 0, 0])
    assert torch.softmax(logits[0], 0).max() == 1.0
    metrics = RunningMetrics()
    note(metrics, logits[:, None], labels[:, None])
    value = metrics.collect()["ece"]
    torch.testing.assert_close(value, expected(logits, labels), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        value, ece(*confidences(logits[:, None].numpy(), labels[:, None].numpy())), atol=1e-6, rtol=0
    )


def test_a_sequence_is_as_sure_as_the_product_of_its_heads():
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(500, 3, 4, generator=generator)
    labels = logits.argmax(-1)
    labels[::5, 1] = 0
    metrics = RunningMetrics()
    note(metrics, logits, labels)
    found, by_numpy = metrics.collect(), ece(*confidences(logits.numpy(), labels.numpy()))
    torch.testing.assert_close(found["ece"], by_numpy, rtol=0, atol=1e-6)
    assert found["accuracy"] == float((logits.argmax(-1) == labels).all(-1).double().mean())


def test_where_it_is_folded_changes_no_bit_and_every_sample_counts_as_much():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1003, 1, 10, generator=generator)
    labels = torch.randint(10, (1003, 1), generator=generator)
    whole, interrupted = RunningMetrics(), RunningMetrics()
    batches = list(zip(logits.split(7), labels.split(7), strict=True))  # the last one is smaller
    assert len(batches) > 2 * FOLDED_EVERY
    for number, batch in enumerate(batches):
        note(whole, *batch)
        note(interrupted, *batch)
        if number == 60:
            interrupted.fold()
    found = whole.collect()
    assert found == interrupted.collect()
    assert found["loss"] == pytest.approx(float(F.cross_entropy(logits[:, 0], labels[:, 0])), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((logits[:, 0].argmax(1) == labels[:, 0]).double().mean()))
    note(whole, *batches[0])
    assert whole.collect()["accuracy"] == float((batches[0][0].argmax(-1) == batches[0][1]).double().mean())

"""Randomness as a function, of the CPU alone unless a device is named."""

import pytest
import torch

from stnlab.seeds import derive, reseed, seeded, step_seed


def test_reseeding_gives_the_draws_of_manual_seed():
    torch.manual_seed(7)
    expected = torch.rand(3)
    reseed(7, torch.device("cpu"))
    assert torch.rand(3).equal(expected)


@pytest.mark.parametrize("step", [0, 63, 64, 1000])
def test_seeds_of_steps_are_those_of_their_keys(step: int):
    assert step_seed(7, step, 0, 1) == derive(7, "step", step, 0, 1)


def test_weights_are_drawn_without_starting_a_gpu(monkeypatch: pytest.MonkeyPatch):
    def started(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", started)
    monkeypatch.setattr(torch.cuda, "_lazy_init", started)
    before = torch.default_generator.get_state()
    with seeded("a", 1):
        first = torch.rand(3)
    assert torch.default_generator.get_state().equal(before)
    with seeded("a", 1):
        assert torch.rand(3).equal(first)

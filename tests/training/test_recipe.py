import functools

import pytest
import torch
from torch import nn

from stnlab.choices import build
from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.training.recipe import Recipe, one_cycle


def test_one_cycle_rises_to_one_and_falls_to_the_end():
    cycle = functools.partial(one_cycle, warmup=0.25, final=0.1)
    assert [cycle(0.0), cycle(0.125), cycle(0.25)] == [0.0, 0.5, 1.0]
    assert cycle(0.625) == pytest.approx(0.55)
    assert cycle(1.0) == pytest.approx(0.1)
    assert one_cycle(0.0, warmup=0.0) == 1.0


def test_the_papers_recipe_divides_by_ten_each_50000_of_150000_steps():
    paper = build(compose("train", ["recipe=paper"])["recipe"], "recipe")
    (optimizer, schedule) = paper.optimise([nn.Parameter(torch.zeros(1))], [], paper.steps)
    assert (type(optimizer), paper.batch_size, paper.steps) == (torch.optim.SGD, 256, 150_000)
    (rate,) = schedule.lr_lambdas
    base = schedule.base_lrs[0]
    rates = [base * rate(step) for step in (0, 49_999, 50_000, 99_999, 100_000, 150_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def recipe(**changes) -> Recipe:
    choice = {
        "batch_size": 4,
        "eval_batch_size": 4,
        "optimizer": functools.partial(torch.optim.SGD, lr=0.5),
        "schedule": functools.partial(one_cycle, warmup=0.5),
        "epochs": 2,
    }
    return Recipe(**{**choice, **changes})


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_a_fused_optimiser_takes_the_same_steps(optimizer: type[torch.optim.Optimizer]):
    start = torch.randn(5)
    found = []
    for fused in (False, True):
        weight = nn.Parameter(start.clone())
        made, _ = recipe(optimizer=functools.partial(optimizer, lr=0.1, weight_decay=0.1)).optimise(
            [weight], [(0.1, [nn.Parameter(torch.zeros(1))])], 4, fused
        )
        assert [bool(group["fused"]) for group in made.param_groups] == [fused, fused]
        for _ in range(3):
            weight.grad = weight.detach().square()
            made.step()
        found.append(weight.detach())
    torch.testing.assert_close(*found)


def test_an_optimiser_is_fused_where_it_can_be_and_the_recipe_does_not_choose():
    weights = [nn.Parameter(torch.zeros(1))]
    chosen, _ = recipe(optimizer=functools.partial(torch.optim.SGD, lr=0.1, foreach=True)).optimise(
        weights, [], 4, True
    )
    assert not chosen.param_groups[0]["fused"]
    other, _ = recipe(optimizer=functools.partial(torch.optim.RMSprop, lr=0.1)).optimise(weights, [], 4, True)
    assert "fused" not in other.param_groups[0]


def test_each_localizer_has_its_learning_rate_and_all_follow_the_schedule():
    one, two = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer, schedule = recipe().optimise(list(one.parameters()), [(0.1, list(two.parameters()))], steps=4)
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates == [pytest.approx([rate, 0.1 * rate]) for rate in (0.0, 0.25, 0.5, 0.25)]


@pytest.mark.parametrize("length", [{"epochs": None}, {"steps": 10}])
def test_the_length_is_given_once(length):
    with pytest.raises(StnlabError, match="give one of them, the other null"):
        recipe(**length)

"""Fixtures that several parts of the suite share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch._subclasses import FakeTensorMode

from stnlab.data.mnist import fetch_mnist
from stnlab.geometry.constants import constant
from stnlab.geometry.maps import _pixel_basis

# A suite that was started in the background (`make test &`) inherits that SIGINT means nothing; several tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A test fails for what has changed, not for what was drawn.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def no_gpu_needed() -> Iterator[FakeTensorMode]:
    """In this mode tensors have no values and may lie on a GPU that is not there: to see what it would have to do."""
    kept = (constant, _pixel_basis)  # tensors that outlive the mode
    for one in kept:
        one.cache_clear()
    yield FakeTensorMode(allow_non_fake_inputs=True)
    for one in kept:
        one.cache_clear()


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The data root all tests read from (never write to): $STNLAB_DATA or <repository>/data, fetched once."""
    root = Path(os.environ.get("STNLAB_DATA") or Path(__file__).parents[1] / "data").absolute()
    fetch_mnist(root)
    return root

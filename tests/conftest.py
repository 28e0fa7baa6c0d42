"""Fixtures that several parts of the suite share."""

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from stnlab.data.mnist import fetch_mnist

# A suite that was started in the background (`make test &`) inherits that SIGINT means nothing; several tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A test fails for what has changed, not for what was drawn.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The data root all tests read from (never write to): $STNLAB_DATA or <repository>/data, fetched once."""
    root = Path(os.environ.get("STNLAB_DATA") or Path(__file__).parents[1] / "data").absolute()
    fetch_mnist(root)
    return root

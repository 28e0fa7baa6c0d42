"""What torch asks of a custom operation in each call, answered once."""

import inspect
from collections.abc import Callable
from typing import TypeVar

Forward = TypeVar("Forward", bound=Callable[..., object])


def signed(forward: Forward) -> Forward:
    """The `forward` of an `autograd.Function` with `setup_context`. torch binds its arguments by its signature, which
    takes Python longer to find than a small operation takes to run."""
    forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return forward

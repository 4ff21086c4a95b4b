"""Waiting for what another process does in its own time: look again until it is so, or say what it was instead."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], wanted: Callable[[T], bool] = bool, seconds: float = 60.0) -> T:
    """What ``look`` returns as soon as it is ``wanted``; an AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, f"it did not come about in {seconds} s; last seen: {seen!r}"
        time.sleep(0.02)
    return seen

"""Waiting for work that goes on in the service: one loop for transfers, jobs and deletions."""

import time
from collections.abc import Callable
from typing import TypeVar

from cephstorage_client.errors import ApiError, ServiceUnreachable, WaitTimeout
from cephstorage_client.shapes.background import Deletion, Job, Progress

W = TypeVar("W", Progress, Job, Deletion)
_GROWTH = 1.5


def until_ended(
    look: Callable[[], W],
    what: str,
    *,
    on_progress: Callable[[W], None] | None = None,
    timeout: float | None = None,
    interval: float = 0.1,
    longest_interval: float = 2.0,
    patience: float = 60.0,
) -> W:
    """Look until the work has ended; how it ended. Times in seconds.

    The pause between two looks grows from ``interval`` to ``longest_interval``. A service that is away for less than
    ``patience`` (a restart) is waited for. Raises WaitTimeout after ``timeout``, in which ``what`` is named, and
    what ``look`` raises.
    """
    started = answered = time.monotonic()
    while True:
        try:
            state = look()
        except (ServiceUnreachable, ApiError) as error:
            if isinstance(error, ApiError) and not error.transient:
                raise
            if time.monotonic() - answered >= patience:
                raise
        else:
            answered = time.monotonic()
            if on_progress:
                on_progress(state)
            if state["state"] != "inprogress":
                return state
        if timeout is not None and time.monotonic() - started >= timeout:
            raise WaitTimeout(f"The {what} has not ended within {timeout:g} seconds; it goes on.")
        time.sleep(interval)
        interval = min(interval * _GROWTH, longest_interval)

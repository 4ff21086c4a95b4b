"""Waiting to be woken, but no longer than is good: what loops in the background rest by.

Not ``asyncio.wait_for``: in Python 3.11 it forgets a cancellation that comes with what it waits for, and who was told to
stop would go on for ever.
"""

import asyncio
import contextlib


async def woken(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after ``seconds``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()

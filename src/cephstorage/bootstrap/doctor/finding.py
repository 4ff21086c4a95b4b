"""What the examination says of one thing."""

from collections.abc import Callable
from dataclasses import dataclass

CLOCK_TOLERANCE = 5.0
"""Seconds by which two clocks may differ; dates in HTTP have whole seconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``advice`` says what to do; it may also come with what is well."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def careful(name: str, look: Callable[[], Finding]) -> Finding:
    """What a look finds; a file that can't be looked at is a finding, too."""
    try:
        return look()
    except OSError as error:
        return Finding(name, ok=False, detail=f"{error.filename}: {error.strerror}", advice="See who owns it.")

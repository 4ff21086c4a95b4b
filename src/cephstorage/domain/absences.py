"""What an origin said is not there: a 404 or 410 that a rule lets us remember for a while (RFC 9111 section 4)."""

from dataclasses import dataclass

ABSENT = frozenset({404, 410})
LARGEST_BODY = 16 * 1024
"""Bytes; an answer with a larger body is not worth remembering."""


@dataclass(frozen=True, slots=True)
class Absence:
    """The origin's answer, to be repeated until ``until``; times are epoch seconds."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    since: float
    until: float

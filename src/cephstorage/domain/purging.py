"""Which edges have to be told to forget a key, when, and when it is enough.

Pure. Telling them once is not enough: an edge may be fetching a slice of the old version at that moment,
decided before the change was committed, and keep it after the purge. So it is told again later, when no
such answer can be under way any more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cephstorage.domain.handover import EDGE_LIFETIME

GRACE = 1.0
"""Seconds that a new row is left to the process that wrote it, which tells the edges at once."""
FOLLOW_UPS = (5.0, 200.0)
"""Seconds after the change when all edges are told again: soon, for what was under way as a rule, and beyond the time
that an edge waits for any answer (180 s)."""
_SLOWEST = 60.0


@dataclass(frozen=True, slots=True)
class Again:
    """Come back at ``not_before`` (epoch seconds) and tell ``edges``; none stands for all that there are then."""

    not_before: float
    edges: tuple[str, ...] = ()


def owed(edges: Collection[str], remaining: Sequence[str] | None) -> list[str]:
    """The edges to be told in this round. One that is not configured any more is forgotten."""
    return [edge for edge in edges if not remaining or edge in remaining]


def after_round(created_at: float, attempts: int, now: float, failed: Sequence[str]) -> Again | None:
    """What to do after a round; None when the row is done with.

    ``failed`` are the edges that did not answer. They are tried until nothing that they may have kept can
    still be there.
    """
    if now - created_at > EDGE_LIFETIME:
        return None
    if failed:
        return Again(now + min(_SLOWEST, 2.0 ** min(attempts, 10)), tuple(failed))
    return next((Again(created_at + pause) for pause in FOLLOW_UPS if created_at + pause > now), None)

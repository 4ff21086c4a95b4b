"""What follows from a try to deliver an event: again, and when; never again; or nobody there any more.

Pure. Two clocks run: an event has its own pauses, and a receiver that is in trouble is left alone as a whole.

    waiting ── answered 2xx ──────────────────────> delivered
       ^  └─── failed ──> its pause ──┐
       └──────────────────────────────┤ tries or time used up ──> dead letter ── redeliver ──> waiting
                                      └ 410: the webhook is switched off, its events stay

The events of a key are sent one after the other: the next one waits until the one before is delivered or dead.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import TypeVar

from cephstorage.domain.webhooks import Standing

TROUBLE = 3
"""Failures in a row after which a receiver is left alone."""
REST = 5.0
LONGEST_REST = 120.0
"""Seconds that it is left alone at first, and at most: the rest doubles with every try that fails."""
LONGEST_PATIENCE = 3600.0
"""Seconds for which a Retry-After is honoured at most."""
_PATIENCE = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: a status, or an error's code when there was none. ``retry_after`` is in seconds."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken the event."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def said(self) -> str | None:
        """What was wrong, in one word; None when nothing was."""
        return self.error or (None if self.delivered else f"http_{self.status}")

    @property
    def troubled(self) -> bool:
        """Whether the receiver as a whole does not work, rather than this event."""
        return self.status is None or self.status >= 500 or self.status == HTTPStatus.TOO_MANY_REQUESTS


class Fate(StrEnum):
    """What becomes of an event after a try."""

    DELIVERED = "delivered"
    AGAIN = "again"
    DEAD = "dead"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class RetryRule:
    """``attempts`` tries and ``give_up_after`` seconds, whichever ends first; pauses from ``base`` to ``cap`` seconds."""

    attempts: int = 20
    give_up_after: float = 3 * 86400.0
    base: float = 5.0
    cap: float = 3600.0

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds after try number ``attempt`` (1 is the first): the upper half of an exponential bound, by ``chance``."""
        bound = min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))
        return float(bound * (0.5 + chance / 2))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an event: its ``fate``, when it is due again (epoch seconds), and what was wrong."""

    fate: Fate
    due_at: float = 0.0
    error: str | None = None


def judge(rule: RetryRule, answer: Answer, attempts: int, since: float, now: float, chance: float) -> Verdict:
    """The fate of an event that has just been tried.

    ``attempts``: the tries before this one. ``since``: when it came to be waiting. ``chance`` is in [0, 1).
    """
    if answer.delivered:
        return Verdict(Fate.DELIVERED)
    if answer.status == HTTPStatus.GONE:
        return Verdict(Fate.GONE, now, answer.said)
    due = now + max(rule.pause(attempts + 1, chance), asked_patience(answer))
    if attempts + 1 >= rule.attempts or due >= since + rule.give_up_after:
        return Verdict(Fate.DEAD, now, answer.said)
    return Verdict(Fate.AGAIN, due, answer.said)


def asked_patience(answer: Answer) -> float:
    """Seconds that the receiver asked for (429 and 503 with Retry-After; RFC 9110 section 10.2.3, RFC 6585 section 4)."""
    if answer.status not in _PATIENCE:
        return 0.0
    return min(max(answer.retry_after or 0.0, 0.0), LONGEST_PATIENCE)


def after(standing: Standing, answer: Answer, now: float) -> Standing:
    """How a webhook stands after an answer.

    Requests that were under way when its rest began tell nothing new: they do not lengthen it.
    """
    seen = replace(standing, last_at=now, last_status=answer.status, last_error=answer.said)
    if answer.delivered:
        return replace(seen, delivered=standing.delivered + 1, failures=0)
    if not answer.troubled:
        return seen
    rest = asked_patience(answer)
    if standing.rest_until > now:
        return replace(seen, rest_until=max(standing.rest_until, now + rest) if rest else standing.rest_until)
    failures = standing.failures + 1
    if failures >= TROUBLE:
        rest = max(rest, min(LONGEST_REST, REST * 2.0 ** min(failures - TROUBLE, 16)))
    return replace(seen, failures=failures, rest_until=now + rest if rest else standing.rest_until)


def room(standing: Standing, concurrency: int, now: float) -> int:
    """How many requests may be under way: one while it is not known whether the receiver works again."""
    if standing.rest_until > now:
        return 0
    return 1 if standing.failures >= TROUBLE else concurrency


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that is due. ``key``: bucket and key; ``behind``: an earlier one of its key is not done with."""

    id: int
    key: tuple[str, str]
    behind: bool


W = TypeVar("W", bound=Waiting)


def chosen(due: Iterable[W], under_way: Collection[tuple[str, str]], most: int) -> list[W]:
    """Which events are sent now, longest due first: none before its turn, never two of a key, never more than ``most``.

    ``under_way``: the keys of the events that are being sent.
    """
    busy, now = set(under_way), []
    for each in due:
        if len(busy) >= most:
            break
        if not each.behind and each.key not in busy:
            busy.add(each.key)
            now.append(each)
    return now

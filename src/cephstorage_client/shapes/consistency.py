"""Whether index and store agree: walks over buckets, findings, the check of a key."""

from typing import TypedDict


class Walk(TypedDict):
    """A walk over a bucket. ``state``: "running" or "waiting"; ``age``: seconds since the last whole one began."""

    bucket: str
    kind: str
    state: str
    stage: str | None
    begun_at: float | None
    counts: dict[str, int] | None
    due_at: float | None
    last_begun_at: float | None
    last_ended_at: float | None
    age: float | None
    last_counts: dict[str, int] | None


class LastEvent(TypedDict):
    """When an event of a followed bucket last came."""

    bucket: str
    last_event_at: float


class ConsistencyOverview(TypedDict):
    """How many findings there are, by kind, every walk, and when events of followed buckets came."""

    findings: dict[str, int]
    walks: list[Walk]
    events: list[LastEvent]


class Finding(TypedDict):
    """A key that is not as it should be. ``done``: what was undertaken."""

    bucket: str
    key: str
    kind: str
    code: str
    done: str
    msg: str
    since: float
    seen_at: float


class CheckedKey(TypedDict):
    """What a check of a key came to. Not ``present`` and ``fine``: neither index nor store have it."""

    bucket: str
    key: str
    present: bool
    verdict: str
    action: str | None
    finding: Finding | None

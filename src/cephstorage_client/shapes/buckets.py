"""Buckets: usage, quotas, how long their keys live, and whether they are followed."""

from typing import NotRequired, TypedDict


class Limits(TypedDict):
    """Most bytes and keys; None: no limit."""

    size: int | None
    keyamount: int | None


class Bucket(TypedDict):
    """A bucket and its usage: ``size`` in bytes, ``keyamount`` keys; what its trash holds, if anything."""

    bucket: str
    username: str
    bucketname: str
    size: int
    keyamount: int
    created: float
    quota: Limits
    trash_size: NotRequired[int]
    trash_keyamount: NotRequired[int]


class Quota(TypedDict):
    """Limits of a bucket, or (``bucketname`` None) of all buckets of a tenant; what is stored, and what transfers reserved.

    ``backstop``, after a change: what became of the object store's own quotas.
    """

    username: str
    bucketname: str | None
    quota: Limits
    size: int
    keyamount: int
    reserved: Limits
    backstop: NotRequired[str]


class ExpiryRule(TypedDict):
    """Keys that begin with ``prefix`` end ``days`` after they were stored."""

    prefix: str
    days: float


class Lifecycle(TypedDict):
    """How long a bucket's keys live; ``trash_days`` None: what is deleted is gone."""

    rules: list[ExpiryRule]
    trash_days: float | None
    trash_overwritten: bool


class Following(TypedDict):
    """Whether the store tells of a bucket's changes; ``endpoint`` without its secret, times in epoch seconds."""

    bucket: str
    following: bool
    endpoint: str | None
    removals: bool | None
    persistent: bool | None
    last_event_at: float | None
    last_event_age: float | None


class FollowingCheck(TypedDict):
    """Whether the event of an object that was written for it has come, and after how many seconds."""

    arrived: bool
    seconds: float | None

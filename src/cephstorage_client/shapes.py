"""The shapes of the API's answers. Later versions of the service may add fields, never rename them."""

from typing import Any, Literal, NotRequired, TypedDict

State = Literal["inprogress", "success", "fail"]


class Record(TypedDict):
    """One visible version of a key. ``ts`` is its creation time in epoch seconds, ``size`` is in bytes."""

    key: str
    ts: float
    vfolder: str
    md5: str
    content_type: str
    size: int
    etag: str | None
    last_modified: str | None
    generation: int
    source: str
    bucket: str
    url: NotRequired[str]


class Page(TypedDict):
    """One page of a listing; ``cursor`` None on the last one."""

    keys: list[Record]
    vfolders: list[str]
    cursor: str | None


class Bucket(TypedDict):
    """A bucket and its usage: ``size`` in bytes, ``keyamount`` keys."""

    bucket: str
    username: str
    bucketname: str
    size: int
    keyamount: int
    created: float


class TransferHandle(TypedDict):
    """The token under which a creation in the background is followed."""

    token: str
    key: str


class TransferFault(TypedDict):
    """Why a transfer failed, or why its last attempt did."""

    code: str
    msg: str


class Progress(TypedDict):
    """How far a transfer is. ``progress`` equals ``state``; times are epoch seconds."""

    token: str
    progress: State
    state: State
    phase: str
    bytes_done: int
    bytes_total: int | None
    attempts: int
    key: str
    bucket: str
    error: TransferFault | None
    created: float
    updated: float
    ended: float | None
    next_attempt: float | None


class Mirror(TypedDict):
    """A mirror host bound to a bucket and an origin."""

    mirror_host: str
    bucket_name: str
    real_host: str
    mode: str
    ttl: float
    query: str
    private: bool
    preset: str | None
    rules: list[dict[str, Any]]
    created: float


class AccessToken(TypedDict):
    """An access token. ``token``, the secret itself, is present only in the answer that creates it."""

    id: str
    token: NotRequired[str]
    role: str
    username: str | None
    label: str
    created: float
    expires: float | None


class PurgeResult(TypedDict):
    """What edges have forgotten: ``told`` have, ``later`` did not answer and are told when they do."""

    msg: str
    mirror: str
    path: str
    key: str
    told: list[str]
    later: list[str]


class Explanation(TypedDict):
    """What a mirror would do with a URL, and why."""

    url: str
    mirror: str
    rule: str | None
    rule_number: int | None
    mode: str
    key: str | None
    target: str
    origin_url: str
    decision: str
    reason: str
    record: Record | None
    filling: bool
    fresh_for: float | None


class KeyOptions(TypedDict, total=False):
    """What may be said of a key to be: type, md5 (hex), creation time (epoch seconds or ISO 8601), preconditions."""

    content_type: str | None
    md5: str | None
    timetag: str | float | None
    if_absent: bool
    if_match: str | None


class NewKey(KeyOptions):
    """One key to be created from a URL."""

    key_url: str
    key_name: str


class ListOptions(TypedDict, total=False):
    """Which keys a listing shows; without ``vfolder`` and ``prefix``: the root folder. ``limit`` is per page."""

    vfolder: str | None
    prefix: str | None
    recursive: bool
    q: str | None
    content_type: str | None
    limit: int | None


class MirrorOptions(TypedDict, total=False):
    """How a mirror behaves; ``ttl`` is in seconds."""

    mode: str | None
    ttl: float | None
    query: str | None
    query_names: list[str] | None
    cookies: str | None
    private: bool
    preset: str | None
    files_origin: str | None
    rules: list[dict[str, Any]] | None

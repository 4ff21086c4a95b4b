"""What goes on in the background: transfers, deletions of many keys, jobs on a mirror's copies."""

from typing import Literal, NotRequired, TypedDict

State = Literal["inprogress", "success", "fail"]


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


class Deletion(TypedDict):
    """How far a deletion of many keys is. ``prefix`` None: a list of ``keys_total`` keys. Times are epoch seconds."""

    id: str
    bucket: str
    prefix: str | None
    progress: State
    state: State
    keys_deleted: int
    keys_missing: int
    keys_total: int | None
    error: TransferFault | None
    created: float
    updated: float
    ended: float | None


class JobFault(TypedDict):
    """What went wrong with one key or target."""

    what: str
    code: str
    msg: str


class EdgeState(TypedDict):
    """How many keys of a job an edge was told to forget, is yet to be told, and could not be told (it will be)."""

    edge: str
    told: int
    pending: int
    unreachable: int


class Job(TypedDict):
    """Work on a mirror's copies. ``counts`` say how much of what was done; times are epoch seconds.

    The answer to the purge of an address has ``path`` and the edges that were ``told`` of it, or are told ``later``.
    """

    job: str
    kind: str
    mirror: str
    bucket: str
    key: str | None
    prefix: str | None
    content_type: str | None
    stored_before: float | None
    state: State
    counts: dict[str, int]
    errors: list[JobFault]
    error: TransferFault | None
    edges: list[EdgeState]
    created: float
    updated: float
    ended: float | None
    path: NotRequired[str]
    told: NotRequired[list[str]]
    later: NotRequired[list[str]]

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
    metadata: NotRequired[dict[str, str]]
    expires: NotRequired[float]
    expires_at: NotRequired[float]
    url: NotRequired[str]


class Page(TypedDict):
    """One page of a listing; ``cursor`` None on the last one."""

    keys: list[Record]
    vfolders: list[str]
    cursor: str | None


class Folder(TypedDict):
    """What a folder holds, all below it counted."""

    vfolder: str
    size: int
    keyamount: int


class FolderUsage(Folder):
    """The same of a folder and of a page of its direct sub-folders."""

    vfolders: list[Folder]
    cursor: str | None


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
    error: "TransferFault | None"
    created: float
    updated: float
    ended: float | None


class RefusedLine(TypedDict):
    """Why a line of an import was refused."""

    line: int
    code: str
    msg: str


class ImportReport(TypedDict):
    """What came of an import: lines read, creations queued, keys that were there already, lines refused."""

    lines: int
    created: int
    present: int
    refused: int
    errors: list[RefusedLine]


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


class TrashedRecord(Record):
    """A version in the trash: "deleted" or "overwritten" at ``trashed``, and gone for good at ``due``."""

    reason: str
    trashed: float
    due: float


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
    origins: list[dict[str, Any]]
    choice: str
    failover_statuses: list[int]
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


class MirrorUsage(TypedDict):
    """What a mirror did in a period (epoch seconds), and in each point of it under ``series``.

    ``collapsed``: readers of fills beyond the first of each. ``errors``: answers to clients by status.
    """

    mirror: str
    since: float
    until: float
    step: float
    requests: int
    bytes_served: int
    edge_hits: int
    edge_hit_bytes: int
    store_hits: int
    fills: int
    collapsed: int
    passed_through: int
    refused: int
    origin_bytes: int
    origin_bytes_per_served_byte: float | None
    errors: dict[str, int]
    origin_failures: dict[str, int]
    series: list[dict[str, Any]]


class WorkOptions(TypedDict, total=False):
    """``concurrency`` and ``rate`` (a second) of requests to the origin; ``wait`` seconds for the end."""

    concurrency: int | None
    rate: float | None
    wait: float | None


class SelectOptions(WorkOptions, total=False):
    """Which copies are meant; ``older_than`` is in seconds since they were stored."""

    key: str | None
    prefix: str | None
    content_type: str | None
    older_than: float | None


class PurgeOptions(SelectOptions, total=False):
    """``all`` has to be said when nothing narrows a purge down; the others make less of it than a removal."""

    all: bool
    edges_only: bool
    soft: bool
    refresh: bool


class VerifyOptions(SelectOptions, total=False):
    """``byte_rate``: bytes read from the store a second, at most."""

    repair: bool
    byte_rate: float | None


class WarmOptions(WorkOptions, total=False):
    """URLs or paths of indexes, how deep they are followed, and how many items in all are taken."""

    sitemap: str | None
    packages: str | None
    folder: str | None
    depth: int | None
    most: int | None


class Fill(TypedDict):
    """A fill that runs: who carries it, since when (epoch seconds), and what was noted of it last.

    Bytes are noted once a second. ``resumable``: were its process killed now, the next one would go on from its bytes.
    """

    owner: str
    phase: str
    since: float
    bytes_done: int
    bytes_total: int | None
    resumable: bool


class Explanation(TypedDict):
    """What a mirror would do with a URL, and why.

    ``edge``: the ``lifetime`` that an edge would give it in seconds, and whether each of the ``edges`` ``keeps`` it
    (None: no answer). ``origin``: what it answered, if it was asked. ``origins``: those that may be asked, in their turn.
    """

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
    fill: Fill | None
    fresh_for: float | None
    edge: dict[str, Any]
    origin: dict[str, Any] | None
    origins: list[dict[str, Any]]


class KeyOptions(TypedDict, total=False):
    """What may be said of a key to be: type, md5 (hex), creation time (epoch seconds or ISO 8601), preconditions,
    names and values of the caller's own, and when it ends (a time, or a span from now such as "30d").
    """

    content_type: str | None
    md5: str | None
    timetag: str | float | None
    if_absent: bool
    if_match: str | None
    metadata: dict[str, str] | None
    expires: str | float | None


class CopyOptions(TypedDict, total=False):
    """What may be said of a copy: its preconditions, and what shall be other than at the source."""

    if_source_match: str | None
    if_absent: bool
    if_match: str | None
    content_type: str | None
    timetag: str | float | None
    metadata: dict[str, str] | None
    expires: str | float | None


class NewKey(KeyOptions):
    """One key to be created from a URL."""

    key_url: str
    key_name: str


class ListOptions(TypedDict, total=False):
    """Which keys a listing shows; without ``vfolder`` and ``prefix``: the root folder. ``limit`` is per page.

    Sizes in bytes, times in epoch seconds or ISO 8601, bounds inclusive; ``order`` is "asc" or "desc".
    """

    vfolder: str | None
    prefix: str | None
    recursive: bool
    q: str | None
    glob: str | None
    content_type: str | None
    md5: str | None
    size_min: int | None
    size_max: int | None
    ts_min: str | float | None
    ts_max: str | float | None
    order: str | None
    metadata: bool
    limit: int | None


class MirrorOptions(TypedDict, total=False):
    """How a mirror behaves; ``ttl`` and ``negative_ttl`` are in seconds, ``max_size`` in bytes, ``finish_from`` in percent.

    ``request_headers`` and ``response_headers`` have ``set`` (name to value) and ``drop`` (names); ``key`` has ``prefix`` or
    ``regex``, and ``to``.
    """

    mode: str | None
    ttl: float | None
    negative_ttl: float | None
    query: str | None
    query_names: list[str] | None
    cookies: str | None
    max_size: int | None
    finish_from: float | None
    redirects: str | None
    request_headers: dict[str, Any] | None
    response_headers: dict[str, Any] | None
    key: dict[str, str] | None
    digest: str | None
    digest_indexes: list[str] | None
    heuristic: bool | None
    client_control: bool | None
    methods: str | None
    private: bool | None
    preset: str | None
    files_origin: str | None
    rules: list[dict[str, Any]] | None
    origins: list[dict[str, Any]] | None
    choice: str | None
    failover_statuses: list[int] | None


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
    """What a check of a key came to."""

    bucket: str
    key: str
    verdict: str
    action: str | None
    finding: Finding | None


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

"""Mirrors: how they behave, what they did and would do, and what may be done with their copies."""

from typing import Any, TypedDict

from cephstorage_client.shapes.keys import Record


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

"""What proxy and edge (nginx) say to each other: header names, internal places, and how a purge is asked for.

Both sides import these names, so that the rendered nginx.conf and the proxy can't drift apart. Every
header that begins with ``x-cephstorage-`` is internal: nginx drops what a client sends under such a name
and hides what the proxy answers under it.

    client ──> front (slices, cache) ──> inner ──> proxy: "X-Accel-Redirect: /_store" ──> inner ──> Ceph RGW

The inner server is only reachable on a socket of nginx's own and is asked with one fixed path; the
client's target travels in ``TARGET``. So no target can name an internal place, and nothing rewrites it.
"""

from collections.abc import Iterable, Iterator, Sequence

SECRET_SETTING = "edge_secret"
"""Name of the shared secret in the settings table: who knows it is our nginx, or our purge sender."""
INTERNAL_PREFIX = "x-cephstorage-"

EDGE = "x-cephstorage-edge"
"""nginx -> proxy, sender -> edge: the edge secret."""
SLICE = "x-cephstorage-slice"
"""nginx -> proxy: ``1`` when Range asks for one slice; answer it only when all of it is at hand. ``whole`` when it is the
first of all: an answer with the whole object does as well, if it must not be kept."""
CONTINUES = "x-cephstorage-continues"
"""nginx -> proxy: ``1`` when the slice follows others of one answer, which was decided with the first of them."""
STORE_FAILED = "x-cephstorage-store-failed"
"""nginx -> proxy: the status of the store (or 502, 504) after an X-Accel that led nowhere. Read the record again,
or send the bytes yourself; never redirect to the same version again."""
TARGET = "x-cephstorage-target"
"""front -> inner: the client's raw request target. The proxy gets it as its request target."""

S3 = "x-cephstorage-s3"
"""nginx -> proxy: ``S3_ASKS`` when RGW has answered ``STORE_FAILED`` (404, 412) to an S3 client's signed request for a key. proxy -> proxy:
``S3_LET_IN`` when that client may have what the mirror has."""
S3_ASKS = "asks"
S3_LET_IN = "let-in"
S3_PREFIX = "/s3"
"""Before the S3 client's target, in the question to the proxy."""
S3_AGAIN = "@again"
"""proxy -> nginx, as ``ACCEL_REDIRECT``: ask RGW again; its answer is the client's."""

ACCEL_EXPIRES = "x-accel-expires"
"""proxy -> nginx: seconds that the edge may keep the answer; 0: not at all. Without it nothing is kept."""
ACCEL_BUFFERING = "x-accel-buffering"
"""proxy -> nginx: ``no`` when the bytes are still coming: nginx passes them on as they come, and not when a buffer is full."""
ACCEL_REDIRECT = "x-accel-redirect"
"""proxy -> nginx: ``STORE_LOCATION``, or ``DISK_LOCATION`` followed by the path below the objects folder."""
STORE_LOCATION = "/_store"
DISK_LOCATION = "/_disk/"
DISK_WHOLE_LOCATION = "/_disk_whole/"
"""The same files, whatever range the slice asks for."""
STORE_TARGET = "x-cephstorage-store-target"
"""proxy -> nginx: path and query of the presigned address; of a file, with ``FURTHER``, the path below the objects folder."""
STORE_HOST = "x-cephstorage-store-host"
"""proxy -> nginx: the Host that the presigned address is bound to."""
STORE_RANGE = "x-cephstorage-range"
"""proxy -> nginx: the Range to ask the store for; absent: the whole object."""
STORE_KEY = "x-cephstorage-store-key"
"""proxy -> nginx: bucket, generation and store version, the key of the internal cache. Absent (mirror slices, which
the front keeps itself): no internal cache."""
FURTHER = "x-cephstorage-further"
"""proxy -> nginx, with a slice that may be kept: where nginx fetches the others of this version, without asking again
for as long as it keeps slice 0, and the last slice of all: ``store bytes=3145728-4194303``, or ``disk ...``."""
KEEP_UNTIL = "x-cephstorage-keep-until"
"""proxy -> nginx, with ``FURTHER``: ``@`` and the moment (epoch seconds) until which each of these slices may be kept."""

MOST_HEAD = 32 << 10
"""Bytes of an answer's head for which nginx has room (proxy_buffer_size), its own notes in the cache's file included.
A proxy that sends more counts as broken, for everybody, and the next one is asked for the same."""

COPIED_HEADERS = ("cache-control", "content-disposition", "content-type", "expires", "set-cookie")
"""Answer headers that nginx itself takes over from the answer with X-Accel-Redirect."""

OWN_HEADERS = ("etag", "last-modified", "age", "cache-status", "via")
"""Answer headers that the proxy sets on every answer with an object; nginx puts them in place of the store's."""

CARRIED_HEADERS = (
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-security-policy",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "digest",
    "docker-content-digest",
    "docker-distribution-api-version",
    "expires",
    "link",
    "p3p",
    "permissions-policy",
    "pragma",
    "referrer-policy",
    "repr-digest",
    "timing-allow-origin",
    "vary",
    "x-amz-checksum-crc32",
    "x-amz-checksum-sha256",
    "x-amz-id-2",
    "x-amz-meta-md5",
    "x-amz-request-id",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-version-id",
    "x-cache",
    "x-cache-hits",
    "x-checksum-md5",
    "x-checksum-sha1",
    "x-checksum-sha256",
    "x-content-type-options",
    "x-frame-options",
    "x-goog-generation",
    "x-goog-hash",
    "x-goog-metageneration",
    "x-goog-storage-class",
    "x-goog-stored-content-encoding",
    "x-goog-stored-content-length",
    "x-permitted-cross-domain-policies",
    "x-powered-by",
    "x-pypi-file-package-type",
    "x-pypi-file-project",
    "x-pypi-file-python-version",
    "x-pypi-file-version",
    "x-pypi-last-serial",
    "x-robots-tag",
    "x-served-by",
    "x-timer",
    "x-xss-protection",
)
"""Headers of an origin that nginx can send along with the store's bytes. It has no way to carry any name whatever:
a record with another one is sent by the proxy itself."""
_CARRIED = frozenset(CARRIED_HEADERS)


def carried(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """The headers in the form in which nginx carries them, None when it can't.

    nginx sees the first of several lines under one name, so they are joined (RFC 9110 section 5.3).
    """
    joined: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in _CARRIED:
            return None
        joined[lower] = f"{joined[lower]}, {value}" if lower in joined else value
    return list(joined.items())


def kept_as_asked(target: str, canonical: str) -> bool:
    """Whether the edge may keep an answer: only under the one spelling that a purge will name.

    The edge's key is host and target as written. A key has many spellings (``%7E`` for ``~``, a query
    that the mirror ignores, the path ``/mirrors/proxy/...``), which nobody can enumerate afterwards.
    """
    return target == canonical


PURGE_PATH = "/purge"
PURGE_HOST = "x-cephstorage-purge-host"
"""sender -> edge: the mirror's host name, lower case, without a port."""
PURGE_TARGET = "x-cephstorage-purge-target"
"""sender -> edge: the canonical request target (path and query)."""
PURGE_RANGE = "x-cephstorage-purge-range"
"""sender -> edge: the slice, as ``purge_ranges`` names it."""
HELD_PATH = "/held"
"""``HEAD {edge}/held`` with the headers of a purge: whether the edge has the slice and would serve it unasked."""
HELD = "x-cephstorage-held"
"""edge -> asker: nginx's word for it; ``HIT`` when it is there and not over."""
PURGED = frozenset({200, 412})
"""Answers of an edge that mean the slice is gone: it was dropped, or was not there."""


def purge_ranges(size: int, slice_size: int) -> Iterator[str]:
    """The slices of an object of ``size`` bytes, each to be dropped by a request of its own.

    The module in Debian drops exact keys only, so the sender must know how large the object was that an
    edge may hold: the size of the version that has been replaced or deleted. Clients may have read any
    part of it, so that no slice's absence says anything about the next. Slice 0 has to be dropped before any
    other: while an edge keeps it, it fetches the others without asking (``FURTHER``).
    """
    for start in range(0, max(size, 1), slice_size):
        yield f"bytes={start}-{start + slice_size - 1}"


def purge_headers(secret: str, host: str, target: str, span: str) -> Sequence[tuple[str, str]]:
    """The headers of ``GET {edge}/purge`` that drops one slice. 403: the secret is wrong; others: try again."""
    return ((EDGE, secret), (PURGE_HOST, host), (PURGE_TARGET, target), (PURGE_RANGE, span))

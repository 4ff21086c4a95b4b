"""How one server asks the next: the headers that travel, and those that must not.

nginx passes a client's headers on unless they are set, so each internal name is set: to our value or to
nothing. ``proxy_set_header`` is not inherited by a block that has any of its own: every location that
asks carries the whole list.
"""

from cephstorage.domain import edge
from cephstorage.edge.text import Lines, canonical

UNTRUSTED = (
    edge.EDGE,
    edge.SLICE,
    edge.CONTINUES,
    edge.STORE_FAILED,
    edge.TARGET,
    edge.STORE_TARGET,
    edge.STORE_HOST,
    edge.STORE_RANGE,
    edge.STORE_KEY,
    edge.S3,
    edge.FURTHER,
    edge.KEEP_UNTIL,
    "x-cephstorage-stage",
    edge.PURGE_HOST,
    edge.PURGE_TARGET,
    edge.PURGE_RANGE,
    edge.ACCEL_EXPIRES,
    edge.ACCEL_REDIRECT,
    "cephstorage-forwarded",
    "forwarded",
    "proxy",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
)
"""Request headers by which a client could pass for somebody else."""
ANSWERED = (
    edge.STORE_TARGET,
    edge.STORE_HOST,
    edge.STORE_RANGE,
    edge.STORE_KEY,
    edge.FURTHER,
    edge.KEEP_UNTIL,
)
"""Answer headers between proxy and nginx."""
KEPT_BY_ITS_WORD = (
    "proxy_ignore_headers Cache-Control Expires Vary X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Charset;"
)
"""The proxy alone says how long an answer may be kept (X-Accel-Expires)."""
PLAIN = ("proxy_http_version 1.1;",)


def asks(*headers: tuple[str, str]) -> Lines:
    """The request's headers: ours as given, the untrusted ones dropped, the rest as the client sent them."""
    return hands_on(*{**dict.fromkeys(UNTRUSTED, '""'), **dict(headers)}.items())


def hands_on(*headers: tuple[str, str]) -> Lines:
    """The request's headers behind the front, which has dropped what is untrusted: as they came, ours added."""
    ours = {"connection": '""', **dict(headers)}
    return [*PLAIN, *(f"proxy_set_header {canonical(name)} {value};" for name, value in ours.items())]


def asks_only(*headers: tuple[str, str]) -> Lines:
    """The request's headers: nothing but ours. For the store, whose signature and cache know no client."""
    return ["proxy_pass_request_headers off;", "proxy_pass_request_body off;", *hands_on(*headers)]


def of_client(host: str) -> list[tuple[str, str]]:
    """What a proxy is told of the client."""
    return [("host", host), ("x-forwarded-for", "$remote_addr"), ("x-forwarded-proto", "$scheme")]


def hides(names: tuple[str, ...]) -> Lines:
    """Answer headers that end here."""
    return [f"proxy_hide_header {canonical(name)};" for name in names]

"""May this origin answer be stored, and what of it is kept? (RFC 9111 section 3, the mirror's share of it.)

What even a permanent mirror must respect: no-store, private, Set-Cookie, Vary: *, and bodies whose end can't be
known. For how long a stored answer may be used is the matter of ``freshness``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cephstorage.domain.cache_control import response_directives
from cephstorage.domain.edge import INTERNAL_PREFIX
from cephstorage.domain.records import OriginFacts
from cephstorage.domain.validators import Validators, http_date, is_strong

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
SERVER_COMMANDS = frozenset(
    {
        "x-accel-buffering",
        "x-accel-charset",
        "x-accel-expires",
        "x-accel-limit-rate",
        "x-accel-redirect",
        "x-sendfile",
    }
)
"""Answer headers by which an application commands the web server before it: an origin has no such right here."""
_OF_THE_BYTES = frozenset({"content-encoding", "content-language", "content-location", "digest", "repr-digest"})
_NOT_KEPT = HOP_BY_HOP | {
    "accept-ranges",
    "age",
    "alt-svc",
    "cache-status",
    "content-length",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "server",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "via",
}


def not_stored_reason(status: int, headers: Mapping[str, str], *, authorized: bool, drop_cookies: bool) -> str | None:
    """Why this answer to a GET must not be stored; None when it may be.

    ``headers`` has lower-case names. ``authorized``: the client's Authorization went to the origin.
    A plain ``no-cache`` does not forbid storing: it only asks for revalidation.
    """
    if status not in {200, 206}:
        return "status"
    control, _ = response_directives(headers)
    if "no-store" in control and "must-understand" not in control:  # RFC 9111 section 5.2.2.3: 200 is understood
        return "no-store"
    if "private" in control:
        return "private"
    if "set-cookie" in headers and not drop_cookies:
        return "set-cookie"
    if "*" in {name.strip() for name in headers.get("vary", "").split(",")}:
        return "vary"
    if authorized and not {"public", "s-maxage", "must-revalidate"} & control.keys():
        return "authorization"
    return None


def connection_headers(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The names (lower case) that must not travel further: hop-by-hop ones, those that Connection names, commands,
    and what only edge and proxy say to each other.
    """
    headers = tuple(headers)
    internal = {name.lower() for name, _ in headers if name.lower().startswith(INTERNAL_PREFIX)}
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for token in value.split(",")
        if token.strip()
    }
    return HOP_BY_HOP | SERVER_COMMANDS | named | internal


def confirmed(stored: OriginFacts, answer: OriginFacts) -> OriginFacts:
    """What is remembered of a stored answer once a 304 has confirmed it (RFC 9111 sections 3.2 and 4.3.4).

    Its headers take the place of the stored ones. Those that say what the bytes are stay: they did not come anew.
    """
    fresh = tuple((name, value) for name, value in answer.headers if name.lower() not in _OF_THE_BYTES)
    names = {name.lower() for name, _ in fresh}
    kept = tuple(pair for pair in stored.headers if pair[0].lower() not in names)
    return replace(
        stored,
        headers=kept + fresh,
        varies=answer.varies if "vary" in names else stored.varies,
        confirmed_date=answer.date or http_date(answer.response_time),
        age=answer.age,
        request_time=answer.request_time,
        response_time=answer.response_time,
    )


def confirms(stored: Validators, shown: Validators) -> bool:
    """Whether a 304 is about the stored answer: a strong tag that it shows has to be that one's (section 4.3.4)."""
    return shown.etag is None or not is_strong(shown.etag) or shown.etag == stored.etag


def kept_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The end-to-end response headers that are stored and given back verbatim.

    Left out: what belongs to one hop or one answer, and what the record holds in fields of its own.
    """
    headers = tuple(headers)
    dropped = _NOT_KEPT | connection_headers(headers)
    return tuple((name, value) for name, value in headers if name.lower() not in dropped)

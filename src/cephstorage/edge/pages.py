"""Problem documents for what nginx refuses by itself: like every other error, instead of its pages in HTML."""

import json
from dataclasses import dataclass

from cephstorage.edge.text import Lines, block

AGAIN_PAGES = ("error_page 502 = @again;", "error_page 504 = @unavailable;")
UNAVAILABLE_PAGE = ("error_page 502 504 = @unavailable;",)
TOO_MANY_PAGE = "error_page 429 = @too_many;"


@dataclass(frozen=True, slots=True)
class _Problem:
    """An answer (RFC 9457) and the place in nginx.conf that gives it. ``passing``: it may be well in a moment."""

    place: str
    status: int
    title: str
    code: str
    msg: str
    passing: bool = False

    def location(self, *before: Lines | str) -> Lines:
        """The place itself."""
        told = {"type": "about:blank", "title": self.title, "status": self.status, "code": self.code}
        document = json.dumps({**told, "detail": self.msg, "msg": self.msg}, separators=(",", ":"))
        return block(
            f"location {self.place}",
            *before,
            "default_type application/problem+json;",
            ["add_header Retry-After 1 always;"] if self.passing else [],
            "add_header Cache-Control no-store always;",
            f"return {self.status} '{document}';",
        )


_UNAVAILABLE = _Problem(
    "@unavailable", 503, "Service Unavailable", "unavailable", "No proxy answers the edge; try again.", passing=True
)
_TOO_LARGE = _Problem(
    "@too_large", 413, "Request Entity Too Large", "body_too_large", "The body is too large for this address."
)
_TOO_MANY = _Problem(
    "@too_many",
    429,
    "Too Many Requests",
    "too_many_requests",
    "This address has too many requests under way; try again.",
    passing=True,
)
_INVALID = "invalid_request"
_UNREAD = {
    400: _Problem("= /_malformed", 400, "Bad Request", _INVALID, "This is no valid HTTP request."),
    414: _Problem("= /_long_target", 414, "URI Too Long", _INVALID, "The address is too long."),
    494: _Problem(
        "= /_long_head", 431, "Request Header Fields Too Large", _INVALID, "The headers of the request are too long."
    ),
}
"""By nginx's status. Addresses and no named locations: nginx leads no request there whose target it could not read."""


def problem_pages() -> Lines:
    """Pages for nginx's own errors; those of a proxy pass untouched. A location with pages of its own inherits none."""
    return [
        *(_unread_page(status) for status in _UNREAD),
        "error_page 413 = @too_large;",
        "error_page 416 = @unsatisfiable;",
        TOO_MANY_PAGE,
        *UNAVAILABLE_PAGE,
    ]


def problem_locations() -> Lines:
    """Where these pages are."""
    return [
        *unavailable(_cut()),
        *_TOO_LARGE.location(_cut()),
        *_TOO_MANY.location(_cut()),
        *(line for problem in _UNREAD.values() for line in problem.location("internal;")),
        *block("location @unsatisfiable", _cut(), 'return 416 "$edge_nothing";'),
    ]


def unavailable(*before: Lines) -> Lines:
    """The answer when no proxy answers."""
    return _UNAVAILABLE.location(*before)


def long_head() -> Lines:
    """For a server behind: the page for a head that the front has taken, and that is too long with what it adds."""
    return [_unread_page(494), *_UNREAD[494].location("internal;")]


def _unread_page(status: int) -> str:
    return f"error_page {status} {_UNREAD[status].place};"


def _cut() -> Lines:
    """No page of nginx's own follows the slices that have been sent: in a later slice (a subrequest) the client is cut off.

    $request_length is 0 there. It is 0, too, for what could not be read as a request, which has a page of its own.
    """
    return ["if ($request_length = 0) { return 444; }"]

"""What the fault origin does with a path: the knobs, and the pure choice of the answer's head."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from email.utils import parsedate_to_datetime
from typing import Any

from cephstorage.domain.ranges import parse_range
from tests.harness.content import Body, Content

AUTO = "auto"
DEFAULT_MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"


class Gate(threading.Event):
    """A closed gate that the origin waits at until the test calls ``set()``.

    ``reached`` is set as soon as some answer waits there: tests wait for it and never sleep.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self._wakers: list[Callable[[], object]] = []

    def on_set(self, waker: Callable[[], object]) -> None:
        """Call ``waker`` once the gate is open, at once if it is."""
        self._wakers.append(waker)
        self.reached.set()
        if self.is_set():
            waker()

    def set(self) -> None:
        """Open the gate for everybody who waits and will come."""
        super().set()
        for waker in list(self._wakers):
            waker()


@dataclass
class LoggedRequest:
    """A request as it came, and what was sent for it so far. ``headers`` has lower-case names; ``body_md5`` is hex."""

    method: str
    target: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    connection: int = 0
    body_size: int = 0
    body_md5: str = ""


@dataclass
class Behaviour:
    """How a path answers. Every field may be changed while the origin runs, or be a function of the request.

    Faults: ``die_after`` body bytes of an answer the connection ends (``how`` is fin or rst), for the
    first ``die_times`` answers that get so far (None: always). With framing ``close`` and fin that is
    a clean-looking truncation. ``hang_up_times`` requests are cut before any answer;
    ``refuse_times`` are answered with ``refuse_status`` (and ``retry_after``). ``wrong_content_range``
    replaces the header's value; ``raw`` replaces the whole answer, head included, and ends the
    connection. After ``change_after_requests`` requests or ``change_after_bytes`` body bytes of the
    path the next answers show ``changed_body`` and ``changed_etag``.

    Pace: ``rate`` bytes per second, ``header_delay`` seconds, ``header_gate`` before the head,
    ``gate`` after ``gate_after`` body bytes of an answer.

    ``etag`` and ``last_modified``: verbatim, None for none, or ``AUTO``.
    """

    status: int = 200
    etag: Any = AUTO
    last_modified: Any = DEFAULT_MODIFIED
    content_type: Any = "application/octet-stream"
    headers: Any = field(default_factory=list)
    ranges: Any = True
    framing: Any = "length"
    conditional: Any = True
    honours_if_range: Any = True
    wrong_content_range: Any = None
    redirect: Any = None
    redirect_status: Any = 302
    die_after: Any = None
    die_times: Any = None
    how: Any = "fin"
    hang_up_times: int = 0
    refuse_times: int = 0
    refuse_status: int = 503
    retry_after: Any = None
    raw: Any = None
    change_after_requests: int | None = None
    change_after_bytes: int | None = None
    changed_body: Body | None = None
    changed_etag: Any = AUTO
    rate: Any = None
    header_delay: float = 0.0
    header_gate: Gate | None = None
    gate: Gate | None = None
    gate_after: int = 0

    def for_request(self, request: LoggedRequest) -> "Behaviour":
        """A copy with the functions among the fields called."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: value(request) for name, value in values.items() if callable(value)})


@dataclass
class Resource:
    """A path's body and behaviour, and what happened to it so far."""

    body: Body
    behaviour: Behaviour
    requests: int = 0
    sent: int = 0
    deaths: int = 0
    hang_ups: int = 0
    refusals: int = 0

    def version(self, behaviour: Behaviour) -> tuple[Body, str | None]:
        """The body and ETag that an answer beginning now shows. ``requests`` includes the present one."""
        by_requests = behaviour.change_after_requests is not None and self.requests > behaviour.change_after_requests
        by_bytes = behaviour.change_after_bytes is not None and self.sent >= behaviour.change_after_bytes
        if behaviour.changed_body is not None and (by_requests or by_bytes):
            return behaviour.changed_body, _etag(behaviour.changed_etag, behaviour.changed_body)
        return self.body, _etag(behaviour.etag, self.body)


@dataclass
class Head:
    """An answer's head and the span of the body that follows it (None: no body bytes)."""

    status: int
    headers: list[tuple[str, str]]
    body: Body
    span: tuple[int, int] | None
    framing: str


def _etag(value: Any, body: Body) -> str | None:
    if value != AUTO:
        return str(value) if value is not None else None
    if isinstance(body, Content):
        return f'"{body.seed:x}-{body.size:x}"'
    return f'"{hashlib.md5(body.data, usedforsecurity=False).hexdigest()}"'


def choose_head(request: LoggedRequest, behaviour: Behaviour, body: Body, etag: str | None) -> Head:
    """The head of an ordinary answer: redirect, 304, 416, 206 or the configured status."""
    headers = _representation_headers(behaviour, etag)
    if behaviour.redirect is not None:
        return Head(behaviour.redirect_status, [("Location", behaviour.redirect), *headers], body, (0, 0), "length")
    if behaviour.conditional and _unchanged(request.headers, etag, behaviour.last_modified):
        return Head(304, headers, body, None, "length")
    size = len(body)
    wanted = parse_range(request.headers.get("range")) if behaviour.ranges and behaviour.status == 200 else None
    if behaviour.ranges:
        headers.append(("Accept-Ranges", "bytes"))
    if wanted is None or not _if_range_holds(request.headers.get("if-range"), behaviour, etag):
        return Head(behaviour.status, headers, body, (0, size), behaviour.framing)
    span = wanted.resolve(size)
    if span is None:
        return Head(416, [*headers, ("Content-Range", f"bytes */{size}")], body, (0, 0), "length")
    told = behaviour.wrong_content_range or f"bytes {span.start}-{span.end - 1}/{size}"
    return Head(206, [*headers, ("Content-Range", told)], body, (span.start, span.end), behaviour.framing)


def _representation_headers(behaviour: Behaviour, etag: str | None) -> list[tuple[str, str]]:
    pairs = [
        ("Content-Type", behaviour.content_type),
        ("ETag", etag),
        ("Last-Modified", behaviour.last_modified),
        *behaviour.headers,
    ]
    return [(name, value) for name, value in pairs if value is not None]


def _unchanged(headers: dict[str, str], etag: str | None, modified: str | None) -> bool:
    if (asked := headers.get("if-none-match")) is not None:
        tags = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
        return asked.strip() == "*" or (etag is not None and etag.removeprefix("W/") in tags)
    since = headers.get("if-modified-since")
    if since is None or modified is None:
        return False
    return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)


def _if_range_holds(condition: str | None, behaviour: Behaviour, etag: str | None) -> bool:
    if condition is None or not behaviour.honours_if_range:
        return True
    if condition.startswith(('"', "W/")):
        return condition == etag and not condition.startswith("W/")
    return bool(condition == behaviour.last_modified)

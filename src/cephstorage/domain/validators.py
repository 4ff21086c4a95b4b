"""Validators and conditional requests: what a client holds already, and what to answer it.

Pure RFC 9110 section 13: strong and weak comparison, the precedence of preconditions (13.2.2) and
the answer's status and span. Used alike for stored objects, fills under way and published URLs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum

from cephstorage.domain.ranges import Span, parse_range

_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_DATE = re.compile(
    r"[A-Za-z]{3,9}, \d{2}[ -][A-Za-z]{3}[ -]\d{2,4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}"
)


@dataclass(frozen=True, slots=True)
class Validators:
    """ETag (verbatim, with quotes and W/) and Last-Modified (verbatim HTTP date) of a representation."""

    etag: str | None = None
    last_modified: str | None = None

    def strong(self, date: str | None = None) -> str | None:
        """The validator that may join bytes of two answers, fit for If-Range; None when there is none.

        A Last-Modified is strong only when the answer's Date is at least a second later
        (RFC 9110 section 8.8.2.2).
        """
        if self.etag is not None and is_strong(self.etag):
            return self.etag
        modified, answered = parse_http_date(self.last_modified), parse_http_date(date)
        if self.etag is None and modified is not None and answered is not None and answered - modified >= 1:
            return self.last_modified
        return None


def valid_etag(value: str | None) -> str | None:
    """Return ``value`` if it is one well-formed entity tag, else None."""
    value = value.strip() if value else None
    return value if value and _ETAG.fullmatch(value) else None


def is_strong(etag: str) -> bool:
    """Whether an entity tag is strong (RFC 9110 section 8.8.1)."""
    return not etag.startswith("W/")


def parse_http_date(value: str | None) -> float | None:
    """Epoch seconds of an HTTP date (all three forms of RFC 9110 section 5.6.7); None when invalid."""
    if value is None or not _DATE.fullmatch(value.strip()):
        return None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def http_date(seconds: float) -> str:
    """Format epoch seconds as an HTTP date; fractions are dropped."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def _etags(header: str) -> list[str]:
    return [match.group(0) for match in _ETAG.finditer(header)]


def _weak_match(header: str, etag: str | None) -> bool:
    if header.strip() == "*":
        return True
    return etag is not None and etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in _etags(header)}


def _strong_match(header: str, etag: str | None) -> bool:
    if header.strip() == "*":
        return True
    return etag is not None and is_strong(etag) and etag in _etags(header)


class Outcome(Enum):
    """What a conditional request comes to."""

    FULL = 200
    PARTIAL = 206
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412
    UNSATISFIABLE = 416


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome and, for FULL and PARTIAL, the bytes to send. ``span`` is None when the length is unknown."""

    outcome: Outcome
    span: Span | None = None


def evaluate(headers: Mapping[str, str], validators: Validators, length: int | None) -> Answer:
    """Decide a GET or HEAD by its preconditions and Range, in the order of RFC 9110 section 13.2.2.

    ``headers`` has lower-case names. ``length`` None means not known yet: Range is then ignored,
    which the RFC allows, because no correct Content-Range could be written.
    """
    failed = _failed_precondition(headers, validators)
    if failed is not None:
        return Answer(failed)
    full = Answer(Outcome.FULL, None if length is None else Span(0, length))
    requested = parse_range(headers.get("range"))
    if requested is None or length is None or not _if_range_holds(headers.get("if-range"), validators):
        return full
    span = requested.resolve(length)
    return Answer(Outcome.PARTIAL, span) if span is not None else Answer(Outcome.UNSATISFIABLE)


def _failed_precondition(headers: Mapping[str, str], validators: Validators) -> Outcome | None:
    modified = parse_http_date(validators.last_modified)
    if (if_match := headers.get("if-match")) is not None:
        if not _strong_match(if_match, validators.etag):
            return Outcome.PRECONDITION_FAILED
    elif (unmodified := parse_http_date(headers.get("if-unmodified-since"))) is not None:
        if modified is None or modified > unmodified:
            return Outcome.PRECONDITION_FAILED
    if (if_none_match := headers.get("if-none-match")) is not None:
        return Outcome.NOT_MODIFIED if _weak_match(if_none_match, validators.etag) else None
    since = parse_http_date(headers.get("if-modified-since"))
    if since is not None and modified is not None and modified <= since:
        return Outcome.NOT_MODIFIED
    return None


def _if_range_holds(if_range: str | None, validators: Validators) -> bool:
    if if_range is None:
        return True
    if_range = if_range.strip()
    if valid_etag(if_range) is not None:
        return is_strong(if_range) and if_range == validators.etag
    wanted = parse_http_date(if_range)
    return wanted is not None and wanted == parse_http_date(validators.last_modified)

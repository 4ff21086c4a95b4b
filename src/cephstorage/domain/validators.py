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

_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_LIST_ITEM = re.compile(rf"[ \t]*({_ETAG.pattern})?[ \t]*(?:,|\Z)")
_TIME = r"\d{2}:\d{2}:\d{2}"
_DATE = re.compile(
    rf"[A-Z][a-z]{{2}}, \d{{2}} [A-Z][a-z]{{2}} \d{{4}} {_TIME} GMT"
    rf"|[A-Z][a-z]{{5,8}}, \d{{2}}-[A-Z][a-z]{{2}}-\d{{2}} {_TIME} GMT"
    rf"|[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ \d]\d {_TIME} \d{{4}}",
    re.ASCII,
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
        return self.last_modified if self.etag is None and self.dated_firmly(date) else None

    def dated_firmly(self, date: str | None) -> bool:
        """Whether no other version can have this Last-Modified, by the Date of the answer that showed it."""
        modified, answered = parse_http_date(self.last_modified), parse_http_date(date)
        return modified is not None and answered is not None and answered - modified >= 1


def valid_etag(value: str | None) -> str | None:
    """Return ``value`` if it is one well-formed entity tag, else None."""
    value = value.strip() if value else None
    return value if value and _ETAG.fullmatch(value) else None


def is_strong(etag: str) -> bool:
    """Whether an entity tag is strong (RFC 9110 section 8.8.1)."""
    return not etag.startswith("W/")


def parse_http_date(value: str | None) -> float | None:
    """Epoch seconds of an HTTP date (all three forms of RFC 9110 section 5.6.7); None when invalid.

    The two-digit years of the oldest form are 1969 to 2068, as POSIX reads them.
    """
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


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (delta or HTTP date, RFC 9110 section 10.2.3); None when invalid.

    ``now`` is epoch seconds. A date in the past means no wait.
    """
    text = (header or "").strip()
    if re.fullmatch(r"\d{1,10}", text, re.ASCII):
        return float(text)
    moment = parse_http_date(text)
    return None if moment is None else max(0.0, moment - now)


def _etags(header: str) -> list[str]:
    """The tags of a list (RFC 9110 section 5.6.1); a list with anything else in it names none."""
    tags, position = [], 0
    while position < len(header):
        item = _LIST_ITEM.match(header, position)
        if item is None:
            return []
        if item.group(1) is not None:
            tags.append(item.group(1))
        position = item.end()
    return tags


def _weak_match(header: str, etag: str | None) -> bool:
    if header.strip() == "*":
        return True
    return etag is not None and etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in _etags(header)}


def strong_match(header: str, etag: str | None) -> bool:
    """Whether ``*`` or a list of tags names an existing representation, strongly (RFC 9110 section 13.1.1)."""
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


def evaluate(
    headers: Mapping[str, str],
    validators: Validators,
    length: int | None,
    *,
    method: str = "GET",
    date: str | None = None,
) -> Answer:
    """Decide a GET or HEAD by its preconditions and Range, in the order of RFC 9110 section 13.2.2.

    ``date`` is that of the origin's answer (empty: it had none), None when Last-Modified is our own.

    ``headers`` has lower-case names. ``length`` None means not known yet: Range is then ignored,
    which the RFC allows, because no correct Content-Range could be written. So is a suffix of an
    empty object (satisfiable, section 14.1.2), and any Range of a HEAD (section 14.2).
    """
    failed = _failed_precondition(headers, validators)
    if failed is not None:
        return Answer(failed)
    full = Answer(Outcome.FULL, None if length is None else Span(0, length))
    requested = parse_range(headers.get("range"))
    if method != "GET" or requested is None or length is None or (length == 0 and requested.suffix):
        return full
    if not _if_range_holds(headers.get("if-range"), validators, date):
        return full
    span = requested.resolve(length)
    return Answer(Outcome.PARTIAL, span) if span is not None else Answer(Outcome.UNSATISFIABLE)


def _failed_precondition(headers: Mapping[str, str], validators: Validators) -> Outcome | None:
    if (if_match := headers.get("if-match")) is not None:
        if not strong_match(if_match, validators.etag):
            return Outcome.PRECONDITION_FAILED
    elif (unmodified := parse_http_date(headers.get("if-unmodified-since"))) is not None:
        modified = parse_http_date(validators.last_modified)
        if modified is not None and modified > unmodified:
            return Outcome.PRECONDITION_FAILED
    if (if_none_match := headers.get("if-none-match")) is not None:
        return Outcome.NOT_MODIFIED if _weak_match(if_none_match, validators.etag) else None
    since = parse_http_date(headers.get("if-modified-since"))
    if since is not None:
        modified = parse_http_date(validators.last_modified)
        if modified is not None and modified <= since:
            return Outcome.NOT_MODIFIED
    return None


def _if_range_holds(if_range: str | None, validators: Validators, date: str | None) -> bool:
    """Whether the bytes asked for may be joined with those that the client has (section 13.1.5)."""
    if if_range is None:
        return True
    if_range = if_range.strip()
    if valid_etag(if_range) is not None:
        return is_strong(if_range) and if_range == validators.etag
    wanted = parse_http_date(if_range)
    if wanted is None or wanted != parse_http_date(validators.last_modified):
        return False
    return date is None or validators.dated_firmly(date)

"""The record of a key (its row in the index) and of a bucket: the values that services hand around."""

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cephstorage.domain.errors import InvalidInput, InvalidTimetag
from cephstorage.domain.names import BucketName, vfolder_of
from cephstorage.domain.quotas import NO_QUOTA, Quota
from cephstorage.domain.validators import Validators, http_date, strong_match

DEFAULT_CONTENT_TYPE = "application/octet-stream"
_CONTENT_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
LATEST = 253402300799
"""The last second of the year 9999: no date can be written of what comes after it."""
NO_VALIDATORS = Validators()
Metadata = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


@dataclass(frozen=True, slots=True)
class OriginFacts:
    """What a mirrored key remembers of its origin.

    ``target`` is the canonical request target it was fetched for (two targets may share a key);
    ``headers`` are the end-to-end response headers, verbatim, as the last confirmation left them, and ``date`` is the
    Date header of the answer with the bytes. Of the last answer that brought or confirmed them: ``age``, the seconds
    of its Age header, ``confirmed_date``, the Date of a confirmation, and when it was asked for and came (epoch
    seconds; 0: not known). ``varies`` are the values of the request headers by which it was chosen (Vary).
    """

    target: str
    headers: tuple[tuple[str, str], ...] = ()
    validators: Validators = NO_VALIDATORS
    date: str | None = None
    confirmed_date: str | None = None
    age: float = 0.0
    request_time: float = 0.0
    response_time: float = 0.0
    varies: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One visible version of a key. ``ts`` is its creation time (``timetag``) in epoch seconds.

    ``invalidated_at``: somebody asked then that the origin confirm this version before it is used again
    (epoch seconds). ``metadata`` are names and values that the caller gave. ``expires``: when the caller wished it to end;
    ``expires_at``: when it does, by that or by a rule of its bucket. ``current`` is False for what was last seen while the
    database does not answer: it may have been replaced or deleted since.
    """

    bucket: BucketName
    key: str
    ts: float
    md5: str
    content_type: str
    size: int
    generation: int
    etag: str | None
    last_modified: str | None
    store_version: str
    source: str
    validated_at: float
    origin: OriginFacts | None = None
    invalidated_at: float | None = None
    metadata: Metadata = ()
    expires: float | None = None
    expires_at: float | None = None
    current: bool = field(default=True, compare=False)

    @property
    def vfolder(self) -> str:
        """The virtual folder that holds the key."""
        return vfolder_of(self.key)

    def expired(self, now: float) -> bool:
        """Whether the key has ended, though it may not be gone yet."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def validators(self) -> Validators:
        """The public validators: the same during the fill, from the store and after a restart."""
        return Validators(self.etag, self.last_modified)


def living(record: Record | None, now: float) -> Record | None:
    """The record, unless its key has ended: then there is none, though it may have yet to be swept."""
    return None if record is None or record.expired(now) else record


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and its usage: bytes and number of keys, exact at every commit; what its trash holds stands beside them.

    ``quota`` is its own; ``bounded``: it or its tenant has one.
    """

    name: BucketName
    size: int
    keyamount: int
    created_at: float
    quota: Quota = NO_QUOTA
    bounded: bool = False
    trash_size: int = 0
    trash_keys: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: records, direct sub-folders (full paths) and where to go on.

    A page of a filtered listing may be short, or empty, and still have a cursor: so far the request has looked.
    """

    keys: tuple[Record, ...]
    vfolders: tuple[str, ...] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and what it holds, sub-folders included: bytes and keys, exact at every commit."""

    vfolder: str
    size: int
    keyamount: int


@dataclass(frozen=True, slots=True)
class FolderUsage:
    """What a folder holds, and a page of what its direct sub-folders hold."""

    folder: Folder
    vfolders: tuple[Folder, ...] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a listing asks for. ``vfolder`` None and no ``recursive``: every key that has ``prefix``.

    ``contains`` and ``glob`` (``domain.globs``) are about key names; bounds are inclusive; None and empty
    texts filter nothing. Filters concern keys, not sub-folders. Without ``facts`` the records have no ``origin``, most of
    what a mirrored key's row holds: for callers that only show them.
    """

    vfolder: str | None = ""
    prefix: str = ""
    recursive: bool = False
    contains: str = ""
    content_type: str = ""
    limit: int = 1000
    cursor: str | None = None
    descending: bool = False
    glob: str = ""
    md5: str = ""
    size_min: int | None = None
    size_max: int | None = None
    ts_min: float | None = None
    ts_max: float | None = None
    facts: bool = True

    @property
    def filtered(self) -> bool:
        """Whether some keys of the range may be left out."""
        bounds = (self.size_min, self.size_max, self.ts_min, self.ts_max)
        texts = (self.contains, self.content_type, self.glob, self.md5)
        return any(texts) or any(bound is not None for bound in bounds)


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold for the key at the moment of landing (checked again when the request arrives).

    ``if_match`` is ``*``, entity tags as in If-Match (RFC 9110 section 13.1.1), or one without its quotes.
    """

    if_absent: bool = False
    if_match: str | None = None

    def holds(self, etag: str | None, *, exists: bool) -> bool:
        """Whether the key as it is now (its public ETag) satisfies the precondition."""
        if self.if_absent and exists:
            return False
        if self.if_match is None:
            return True
        wanted = self.if_match.strip()
        if wanted != "*" and '"' not in wanted:
            wanted = f'"{wanted}"'
        return exists and strong_match(wanted, etag)


NO_PRECONDITION = Precondition()


def attempt_of(store_version: str) -> str:
    """The attempt that made, or is to make, a version: what stands before ``#`` in its name.

    Two names with the same attempt speak of the same bytes, however much of the version was known when
    they were written.
    """
    return store_version.partition("#")[0]


def parse_content_type(text: str | None) -> str | None:
    """A media type that a caller gives; None for none. Raises InvalidInput."""
    if not text:
        return None
    if not _CONTENT_TYPE.fullmatch(text):
        raise InvalidInput("The content_type must be 1 to 255 printable ASCII characters.")
    return text


def parse_timetag(value: str | float | None) -> float | None:
    """A creation time from epoch seconds or ISO 8601 (UTC when it names no zone). Raises InvalidTimetag."""
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    except ValueError:
        seconds = _iso_seconds(str(value))
    if not 0 <= seconds <= LATEST:
        raise InvalidTimetag(f"The timetag {value!r} lies outside the years 1970 to 9999.")
    return seconds


def _iso_seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidTimetag(f"The timetag {text!r} is neither epoch seconds nor an ISO 8601 time.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def key_validators(md5: str, ts: float) -> Validators:
    """Public validators of a key that did not come through a mirror: its md5 and creation time."""
    return Validators(f'"{md5}"', http_date(ts))

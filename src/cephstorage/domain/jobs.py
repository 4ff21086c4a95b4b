"""Jobs: work on many stored copies of a mirror, durable and in small steps.

    purge, soft, edges, refresh, verify ── walk over the keys of the mirror's bucket, from ``place`` on
    warm ─────────────────────────────── works off a list of items, which grows while it reads indexes

Each step is one transaction: what it changes, what it counts, and where to go on. So a job that is killed
goes on where its last step ended, and what it has counted is what it has done.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.names import BucketName, key_name
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import State
from cephstorage.domain.variants import variant_prefix

MOST_ERRORS = 20
"""Errors that a job keeps, its first ones; the others are counted."""
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/(?:\*|[A-Za-z0-9!#$&^_.+-]{1,127})")
_LONGEST_AGE = 3.2e9


class JobKind(StrEnum):
    """What is done with the copies.

    ``purge``: they are removed, from the edges too. ``edges``: only the edges forget them. ``soft``: they are asked
    for at the origin before they are used again. ``refresh``: that is done now. ``verify``: their bytes are hashed.
    ``warm``: copies are made of what is not there yet.
    """

    PURGE = "purge"
    EDGES = "edges"
    SOFT = "soft"
    REFRESH = "refresh"
    VERIFY = "verify"
    WARM = "warm"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which copies of a mirror are meant; by default all.

    A key means its variants, too. ``stored_before`` is in epoch seconds. ``content_type`` may be ``image/*``; parameters (charset) don't count.
    """

    key: str | None = None
    prefix: str = ""
    content_type: str | None = None
    stored_before: float | None = None

    def holds(self, record: Record) -> bool:
        """Whether the record is meant. What a tenant has uploaded is no copy of the mirror."""
        return (
            record.origin is not None
            and (self.key is None or record.key == self.key or record.key.startswith(variant_prefix(self.key)))
            and record.key.startswith(self.prefix)
            and (self.stored_before is None or record.ts < self.stored_before)
            and (self.content_type is None or _is_type(record.content_type, self.content_type))
        )


def _is_type(shown: str, wanted: str) -> bool:
    shown = shown.partition(";")[0].strip().lower()
    return shown.startswith(wanted[:-1]) if wanted.endswith("/*") else shown == wanted


def selection(
    key: str | None, prefix: str | None, content_type: str | None, older_than: float | None, now: float
) -> Selection:
    """Read a wish. ``older_than`` is in seconds. Raises InvalidInput, InvalidKey."""
    if key is not None and prefix:
        raise InvalidInput("A key and a prefix were given; name one of them.")
    if content_type is not None and not _CONTENT_TYPE.fullmatch(content_type):
        raise InvalidInput(f"{content_type!r} is no content type: write TYPE/SUBTYPE or TYPE/*.")
    if older_than is not None and not 0 <= older_than <= _LONGEST_AGE:
        raise InvalidInput("The age must be 0 or more seconds, and less than a century.")
    return Selection(
        key_name(key) if key is not None else None,
        key_name(prefix) if prefix else "",
        content_type.lower() if content_type is not None else None,
        now - older_than if older_than is not None else None,
    )


DEFAULT_SELECTION = Selection()


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is wanted. ``rate``: items a second at most, None for no limit; ``concurrency``: items at a time.

    ``verify`` reads at most ``byte_rate`` bytes a second, and brings damaged copies anew if ``repair``. ``warm``
    follows folders and sitemaps ``depth`` levels down and takes on at most ``most`` items.
    """

    kind: JobKind
    mirror: str
    bucket: BucketName
    selection: Selection = DEFAULT_SELECTION
    concurrency: int = 4
    rate: float | None = None
    byte_rate: float | None = None
    repair: bool = True
    depth: int = 8
    most: int = 100_000


class ItemKind(StrEnum):
    """What a warm-up finds at an item's target: an object, or an index that names more items."""

    OBJECT = "object"
    SITEMAP = "sitemap"
    PACKAGES = "packages"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a warm-up has to bring. ``target``: path and query at the mirror; ``depth``: levels left below it."""

    kind: ItemKind
    target: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """An item on a job's list."""

    number: int
    item: Item


@dataclass(frozen=True, slots=True)
class ItemError:
    """What went wrong with one key or target."""

    what: str
    code: str
    msg: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job's durable row. ``id`` is its token; ``owner`` runs it until ``due_at``, when anybody may go on with it.

    ``counts`` say how much was done, by names that depend on the kind; ``place`` is the last key that was looked at.
    """

    id: str
    request: JobRequest
    state: State
    created_at: float
    updated_at: float
    ended_at: float | None = None
    place: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ItemError, ...] = ()
    error_code: str | None = None
    error_msg: str | None = None
    owner: str | None = None
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step has done and is to be noted, all of it or nothing.

    ``removed``, ``marked`` and ``forgotten`` are records as they were seen: what has changed since is left alone. The
    first two are removed and marked by the step itself, and each is counted under its name. ``done`` are numbers of
    items that are off the list; ``found`` are new ones.
    """

    place: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ItemError, ...] = ()
    removed: tuple[Record, ...] = ()
    marked: tuple[Record, ...] = ()
    forgotten: tuple[Record, ...] = ()
    done: tuple[int, ...] = ()
    found: tuple[Item, ...] = ()


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Two counts as one."""
    return {name: counts.get(name, 0) + more.get(name, 0) for name in (*counts, *(n for n in more if n not in counts))}

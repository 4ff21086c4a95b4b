"""What became of each document, and the counts over all of them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from cephstorage.domain.names import BucketName

_MOST_NAMES = 50


class Outcome(StrEnum):
    """What became of a document or an object."""

    TAKEN = "taken"
    KNOWN = "known"
    PAST = "past"
    KEPT = "kept"
    MISSING = "missing"
    DIFFERS = "differs"
    UNVERIFIED = "unverified"
    UNFINISHED = "unfinished"
    UNLISTED = "unlisted"
    ADOPTED = "adopted"
    REFUSED = "refused"


FINE = frozenset({Outcome.TAKEN, Outcome.KNOWN, Outcome.PAST, Outcome.ADOPTED})
"""What needs nobody's attention."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an export; ``bucket`` is that of its file. ``text`` None: it is too long to be read."""

    file: str
    number: int
    text: bytes | None = field(repr=False)
    bucket: BucketName | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is told of a document, or of an object that none speaks of (``line`` 0). Never with a secret."""

    outcome: Outcome
    kind: str
    file: str = ""
    line: int = 0
    bucket: str = ""
    name: str = ""
    msg: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to import. ``unlisted``: adopt objects that no document speaks of; None: do not look for them.

    ``dry_run``: change nothing. ``skip_known``: ask Ceph only about keys that the index lacks. ``read``: hash objects
    whose ETag is no md5. ``concurrency``: questions to Ceph at a time.
    """

    dry_run: bool = False
    skip_known: bool = False
    read: bool = False
    unlisted: bool | None = False
    concurrency: int = 32


@dataclass(slots=True)
class Told:
    """Counts what was found; findings go to ``tell`` as they come. ``unread``: fields that mean nothing here."""

    tell: Callable[[Finding], None]
    counts: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)

    def __call__(self, finding: Finding) -> None:
        """Note one."""
        self.counts[(finding.kind, finding.outcome)] += 1
        self.tell(finding)

    def note_unread(self, names: Iterable[str]) -> None:
        """Note names of fields, a bounded number of them."""
        for name in names:
            if name in self.unread or len(self.unread) < _MOST_NAMES:
                self.unread[name[:100]] += 1

    @property
    def fine(self) -> bool:
        """Whether nothing needs attention."""
        return all(outcome in FINE for _, outcome in self.counts)

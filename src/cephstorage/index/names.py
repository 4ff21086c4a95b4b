"""Finding keys by what stands within their names: what the listing asks of an index of names.

Such an index is of trigrams, each three characters in a row. It is good for rare texts; for frequent ones
walking finds a page sooner. So it answers only where it has few answers.
"""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from cephstorage.index.walk import Span

TRIGRAM = 3


@dataclass(frozen=True, slots=True)
class Names:
    """Texts that all stand in the names looked for; empty ones say nothing."""

    texts: tuple[str, ...]

    def match(self, key: str) -> bool:
        """Whether all of them stand in a key."""
        return all(text in key for text in self.texts)

    @property
    def given(self) -> tuple[str, ...]:
        """Those that say something."""
        return tuple(text for text in self.texts if text)


class NameIndex(Protocol):
    """An index of names, of whatever kind the database has."""

    def can(self, names: Names) -> bool:
        """Whether it is there, and the texts are such that it finds them without reading all of it."""
        ...

    def sifts(self, conn: Connection, span: Span, names: Names) -> bool:
        """Whether so few names are likely to hold the texts that it is asked before a single key is looked at."""
        ...

    def find(self, conn: Connection, span: Span, names: Names, most: int) -> list[str] | None:
        """Every key of a span (its folder aside) that holds the texts, in no order.

        None: there may be more than ``most``, or it took too long; the keys must be walked over.
        """
        ...

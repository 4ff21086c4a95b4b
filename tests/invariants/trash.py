"""What lies in a bucket's trash: a pure account of what must be there, and of what may be.

A version is a key and the md5 of its bytes. While a key is at rest both are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

Version = tuple[str, str]


@dataclass
class Trash:
    """One bucket. ``deleted``, ``overwritten``: whether what is deleted, or replaced, goes there."""

    deleted: bool = False
    overwritten: bool = False
    certain: set[Version] = field(default_factory=set)
    possible: set[Version] = field(default_factory=set)

    def left(self, key: str, states: Iterable[str | None], *, kept: bool) -> None:
        """The key was in one of these states and is not any more. ``kept``: what it was is there now for certain."""
        versions = {(key, state) for state in states if state is not None}
        self.possible |= versions
        if kept:
            self.certain |= versions

    def taken(self, version: Version) -> None:
        """This version has come back, or was removed; maybe there was another one like it."""
        self.certain.discard(version)

    def of(self, key: str) -> "Trash":
        """What is known of one key's versions: both the same once somebody has looked while the key was at rest."""
        certain, possible = ({each for each in known if each[0] == key} for known in (self.certain, self.possible))
        return Trash(self.deleted, self.overwritten, certain, possible)

    def agrees(self, found: set[Version]) -> bool:
        """Whether these may be all that can be restored."""
        return self.certain <= found <= self.possible

    def seen(self, key: str, found: set[Version]) -> None:
        """These were found while nothing was under way for the key."""
        here = {version for version in found if version[0] == key}
        self.certain = {version for version in self.certain if version[0] != key} | here
        self.possible = {version for version in self.possible if version[0] != key} | here

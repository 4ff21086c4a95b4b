"""What may be asked of a listing: every parameter checked before a database sees it."""

import re
from dataclasses import dataclass

from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.globs import Sieve, glob, sieve
from cephstorage.domain.names import MAX_KEY_BYTES
from cephstorage.domain.records import ListQuery


@dataclass(frozen=True, slots=True)
class KeyGlob:
    """A glob over keys: the expression, and its sieve."""

    expression: re.Pattern[str]
    sieve: Sieve

    def matches(self, key: str) -> bool:
        """Whether the whole key matches; a key is a path without its first ``/``."""
        return self.expression.fullmatch(f"/{key}") is not None


def key_glob(query: ListQuery) -> KeyGlob | None:
    """The glob that a query has."""
    return KeyGlob(glob(query.glob), sieve(query.glob)) if query.glob else None


LARGEST_NUMBER = 2**63 - 1
"""What a size can be in every database."""


def checked(query: ListQuery) -> ListQuery:
    """Return the query if it can be answered. Raises InvalidInput."""
    texts = {
        "vfolder": query.vfolder or "",
        "prefix": query.prefix,
        "q": query.contains,
        "glob": query.glob,
        "content_type": query.content_type,
    }
    for name, text in texts.items():
        if "\0" in text:
            raise InvalidInput(f"{name} holds a NUL character, which no key can hold.")
    for name in ("q", "glob"):
        if len(texts[name].encode("utf-8", "replace")) > MAX_KEY_BYTES:
            raise InvalidInput(f"{name} is longer than any key: at most {MAX_KEY_BYTES} bytes.")
    for name, low, high in (("size", query.size_min, query.size_max), ("ts", query.ts_min, query.ts_max)):
        if low is not None and high is not None and low > high:
            raise InvalidInput(f"{name}_min is above {name}_max, so that nothing can match.")
    for bound in (query.size_min, query.size_max):
        if bound is not None and not 0 <= bound <= LARGEST_NUMBER:
            raise InvalidInput(f"A size lies between 0 and {LARGEST_NUMBER}.")
    return query

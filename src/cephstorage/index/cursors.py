"""Cursors: which entry of a listing was the last one, as base64url of JSON: ``["f", folder]``, ``["k", key]``.

Of the trash it is a version: ``["v", key, generation]``.
"""

import base64
import json
from dataclasses import dataclass

from cephstorage.domain.errors import InvalidCursor, InvalidKey
from cephstorage.domain.listing import LARGEST_NUMBER
from cephstorage.domain.names import key_name

FOLDER, KEY, VERSION = "f", "k", "v"


@dataclass(frozen=True, slots=True)
class Place:
    """The entry after which a page begins."""

    kind: str
    name: str
    generation: int = 0


def write_place(kind: str, name: str, *generation: int) -> str:
    """The cursor of an entry."""
    return base64.urlsafe_b64encode(json.dumps([kind, name, *generation]).encode()).decode()


def read_place(cursor: str | None, kinds: str = FOLDER + KEY) -> Place | None:
    """Read a cursor; ``kinds`` are those that the listing has. Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        kind, name, *more = json.loads(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
        key_name(name)
        (generation,) = more or [0]
        if type(generation) is not int or not 0 <= generation <= LARGEST_NUMBER:
            raise ValueError(generation)
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidKey) as error:
        raise InvalidCursor("The cursor was not made by this service; begin again without one.") from error
    if not (isinstance(kind, str) and len(kind) == 1 and kind in kinds):
        raise InvalidCursor("The cursor belongs to another listing; begin again without one.")
    return Place(kind, name, generation)

"""Deletions of many keys: what is wanted, and how far it is.

A deletion concerns what was there when it was asked for: a version that comes later stays, however long the
deletion takes. It is worked off in steps, each one transaction, in the order of keys from ``place`` on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.names import BucketName, key_name
from cephstorage.domain.transfers import State

MOST_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class Deletion:
    """Its durable row. ``prefix`` None: a list of keys.

    ``done`` keys are deleted; ``missing`` ones of the list were not there, or only in a newer version; ``total``
    is the length of the list.
    """

    id: str
    bucket: BucketName
    prefix: str | None
    state: State
    done: int
    missing: int
    total: int | None
    created_at: float
    updated_at: float
    ended_at: float | None = None
    error_code: str | None = None
    error_msg: str | None = None


@dataclass(frozen=True, slots=True)
class DeletionWish:
    """Keys by name, or by prefix; an empty prefix is the whole bucket."""

    keys: tuple[str, ...] = ()
    prefix: str | None = None


def deletion_wish(
    keys: Sequence[str] | None, prefix: str | None, vfolder: str | None, everything: bool
) -> DeletionWish:
    """Read a wish. Raises InvalidInput, InvalidKey."""
    given = sum((keys is not None, prefix is not None, vfolder is not None, everything))
    if given != 1:
        raise InvalidInput('Name one of "keys", "prefix", "vfolder", or say "all": true.')
    if everything:
        return DeletionWish(prefix="")
    if keys is not None:
        if not 1 <= len(keys) <= MOST_KEYS:
            raise InvalidInput(f"A list has 1 to {MOST_KEYS} keys; this one has {len(keys)}.")
        return DeletionWish(tuple(sorted({key_name(key) for key in keys})))
    wanted = prefix if prefix is not None else f"{vfolder}/"
    if not wanted or wanted == "/":
        raise InvalidInput('An empty prefix is the whole bucket: say "all": true if that is meant.')
    return DeletionWish(prefix=key_name(wanted))

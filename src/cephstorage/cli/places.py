"""Addresses of things: ``username``, ``username/bucketname`` and ``username/bucketname/key...``."""

from dataclasses import dataclass

from cephstorage.cli.exits import UsageMistake


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and what follows it. ``key`` is everything after the second slash, untouched; may be empty."""

    username: str
    bucketname: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.username}/{self.bucketname}" + (f"/{self.key}" if self.key else "")

    @property
    def folder(self) -> str:
        """The place read as a folder: one trailing slash, which people write to mean a folder, is not part of it."""
        return self.key.removesuffix("/")

    @property
    def prefix(self) -> str:
        """What the keys below the folder begin with; empty for the whole bucket."""
        return f"{self.folder}/" if self.key else ""

    def holding(self, name: str) -> str:
        """The key for something called ``name`` that is put here: inside a folder (or the bucket), else the key itself."""
        return self.key + name if self.key == "" or self.key.endswith("/") else self.key


def bucket_place(text: str) -> Place:
    """Read ``username/bucketname[/key...]``; the full name ``username___bucketname`` does too. Raises UsageMistake."""
    username, _, rest = text.partition("/")
    if "___" in username:
        username, _, bucketname = username.partition("___")
        rest = f"{bucketname}/{rest}" if rest else bucketname
    bucketname, _, key = rest.partition("/")
    if not username or not bucketname:
        raise UsageMistake(f"{text!r} names no bucket: write USERNAME/BUCKETNAME or USERNAME/BUCKETNAME/KEY.")
    return Place(username, bucketname, key)


def key_place(text: str) -> Place:
    """Read ``username/bucketname/key``. Raises UsageMistake."""
    place = bucket_place(text)
    if not place.key:
        raise UsageMistake(f"{text!r} names no key: write USERNAME/BUCKETNAME/KEY.")
    return place


def only_bucket(text: str) -> Place:
    """Read ``username/bucketname`` and nothing more. Raises UsageMistake."""
    place = bucket_place(text)
    if place.key:
        raise UsageMistake(f"{text!r} names a key: write USERNAME/BUCKETNAME.")
    return place


def is_tenant(text: str) -> bool:
    """Whether the text names a tenant alone."""
    username = text.removesuffix("/")
    return bool(username) and "/" not in username and "___" not in username

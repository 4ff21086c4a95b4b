"""Small tables that all processes share and know by heart: mirrors, tokens, settings; and what is counted by the minute."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from cephstorage.domain.access import AccessToken
from cephstorage.domain.mirrors import Mirror


class MirrorTable(Protocol):
    """Mirrors by host."""

    async def put(self, mirror: Mirror) -> None:
        """Create or replace. Raises BucketNotFound."""
        ...

    async def delete(self, host: str) -> None:
        """Raises MirrorNotFound."""
        ...

    async def all(self) -> Sequence[Mirror]:
        """Every mirror by host."""
        ...


class TokenTable(Protocol):
    """Access tokens, known only by the SHA-256 of their secret."""

    async def put(self, token: AccessToken, secret_hash: str) -> None:
        """Create or replace by id."""
        ...

    async def by_hash(self, secret_hash: str) -> AccessToken | None:
        """The token with this secret, expired ones included."""
        ...

    async def by_hashes(self, secret_hashes: Collection[str]) -> Mapping[str, AccessToken]:
        """Those of several that are there, by hash."""
        ...

    async def delete(self, token_id: str) -> None:
        """Raises AccessTokenNotFound."""
        ...

    async def all(self) -> Sequence[AccessToken]:
        """Every token, oldest first."""
        ...


class SettingsTable(Protocol):
    """Small named values that all processes share, and the counter that tells when any changed."""

    async def version(self) -> int:
        """Grows with every change of mirrors, tokens or settings, in whatever process."""
        ...

    async def get(self, name: str) -> str | None:
        """A value, or None."""
        ...

    async def put(self, name: str, value: str, *, only_if_absent: bool = False) -> str:
        """Set a value; return the one that stands afterwards."""
        ...

    async def all(self) -> Mapping[str, str]:
        """Every value by name."""
        ...

    async def change(self, values: Mapping[str, str | None], seen_version: int) -> bool:
        """Set several values at once, or remove them (None). False, and nothing done, when ``version`` has moved on."""
        ...


class SeriesTable(Protocol):
    """Sums by name and epoch minute, to which every process adds."""

    async def add(self, sums: Mapping[tuple[str, int], float]) -> None:
        """Add to sums; all or none."""
        ...

    async def read(self, prefix: str, since: int, until: int, step: int) -> Sequence[tuple[str, int, float]]:
        """Sums of the names that begin so, over points of ``step`` minutes: name, first minute, sum, in this order.

        A point begins at a multiple of ``step``.
        """
        ...

    async def forget(self, before: int) -> int:
        """Delete sums of minutes before one; return how many."""
        ...

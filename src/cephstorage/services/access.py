"""Access tokens: made once, shown once, kept as hashes, checked on every request."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from cephstorage.domain.access import AccessToken, Principal, Role
from cephstorage.domain.errors import InvalidInput, Unauthenticated
from cephstorage.domain.names import tenant_name
from cephstorage.files import create_once
from cephstorage.ports.tables import TokenTable

_MOST_REMEMBERED = 10_000


class Access:
    """Authenticates bearers and keeps the tokens."""

    def __init__(self, tokens: TokenTable, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, AccessToken] = {}

    async def refresh(self) -> None:
        """Look at what is remembered again: tokens changed somewhere.

        While the database is gone the remembered ones go on; what is forgotten here meanwhile stays forgotten.
        """
        asked = set(self._known)
        found = await self._tokens.by_hashes(asked) if asked else {}
        kept = {name: found.get(name) if name in asked else token for name, token in self._known.items()}
        self._known = {name: token for name, token in kept.items() if token is not None}

    async def authenticate(self, authorization: str | None) -> Principal:
        """The holder of ``Authorization: Bearer ...`` (RFC 6750). Raises Unauthenticated."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("Send an access token: 'Authorization: Bearer <token>'.")
        token = await self._find(_hash(secret.strip()))
        if token is None:
            raise Unauthenticated("The access token is unknown or revoked.")
        if token.expires_at is not None and token.expires_at <= self._clock():
            raise Unauthenticated("The access token has expired.")
        return Principal(token.id, token.role, token.username)

    async def _find(self, secret_hash: str) -> AccessToken | None:
        if (known := self._known.get(secret_hash)) is not None:
            return known
        token = await self._tokens.by_hash(secret_hash)
        if token is not None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known = {}
            self._known[secret_hash] = token
        return token

    async def create(
        self, role: Role, username: str | None, label: str, expires_in: float | None
    ) -> tuple[AccessToken, str]:
        """Make a token; the secret is returned here and never again. Raises InvalidInput, InvalidName."""
        if role is Role.TENANT and username is None:
            raise InvalidInput("A token with role tenant needs a username.")
        if role is Role.ADMIN and username is not None:
            raise InvalidInput("A token with role admin is not bound to a username.")
        now = self._clock()
        token = AccessToken(
            id=secrets.token_hex(8),
            role=role,
            username=tenant_name(username) if username is not None else None,
            label=label,
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
        )
        secret = f"cs_{secrets.token_urlsafe(32)}"
        await self._tokens.put(token, _hash(secret))
        return token, secret

    async def revoke(self, token_id: str) -> None:
        """End a token at once. Raises AccessTokenNotFound."""
        await self._tokens.delete(token_id)
        self._known = {}

    async def all(self) -> Sequence[AccessToken]:
        """Every token, without secrets."""
        return await self._tokens.all()

    async def ensure_admin(self, file: Path, instance: str) -> None:
        """See to it that the token in ``file`` (mode 0600) is an admin's; make both at the first start.

        ``instance`` names the data folder: each machine of an installation has a file of its own.
        """
        fresh = f"cs_{secrets.token_urlsafe(32)}\n".encode()
        content = file.read_bytes() if file.exists() else create_once(file, fresh)
        secret_hash = _hash(content.decode("utf-8", "replace").strip())
        if await self._tokens.by_hash(secret_hash) is None:
            token = AccessToken(f"admin-file-{instance}", Role.ADMIN, None, "admin-token file", self._clock(), None)
            await self._tokens.put(token, secret_hash)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()

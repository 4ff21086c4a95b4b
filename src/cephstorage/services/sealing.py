"""Secrets at rest: sealed in the database with a key that is not kept there.

AES-256-GCM (NIST SP 800-38D) under a key derived from the operator's text (HKDF, RFC 5869). The name of the
setting is authenticated with it, so that one row's secret can't be put into another row. Several keys may be
given: the first seals, all of them open. That is how a key is replaced:

    every process OLD,NEW ──> every process NEW,OLD (its start seals everything anew) ──> every process NEW
"""

import base64
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cephstorage.domain.errors import SecretKeyWrong
from cephstorage.ports.tables import SettingsTable

_SEALED = re.compile(r"sealed:1:([0-9a-f]{8}):([A-Za-z0-9_-]+={0,2})")
_NONCE = 12
_TRIES = 100


def _derived(text: str, use: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=b"cephstorage " + use).derive(text.encode())


def _draw() -> str:
    return secrets.token_hex(32)


class Seal:
    """Seals and opens texts. ``keys``: texts of high entropy, at least one."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = {_derived(key, b"key id", 4).hex(): AESGCM(_derived(key, b"settings", 32)) for key in keys}
        self._first = next(iter(self._ciphers))
        self._digesting = _derived(keys[0], b"digests", 32)

    def seal(self, name: str, text: str) -> str:
        """The text, sealed for the setting ``name``."""
        nonce = os.urandom(_NONCE)
        box = nonce + self._ciphers[self._first].encrypt(nonce, text.encode(), name.encode())
        return f"sealed:1:{self._first}:{base64.urlsafe_b64encode(box).decode()}"

    def open(self, name: str, kept: str) -> str:
        """The text of a sealed value; a plain one of an earlier version as it is. Raises SecretKeyWrong."""
        sealed = _SEALED.fullmatch(kept)
        if sealed is None:
            return kept
        cipher = self._ciphers.get(sealed[1])
        try:
            if cipher is None:
                raise ValueError("another key")
            box = base64.urlsafe_b64decode(sealed[2])
            return cipher.decrypt(box[:_NONCE], box[_NONCE:], name.encode()).decode()
        except (ValueError, InvalidTag) as error:
            raise SecretKeyWrong(
                f"The setting {name} is sealed in the database with the key {sealed[1]}, which is not among the keys "
                f"{', '.join(self._ciphers)} of this process. Set CEPHSTORAGE_SECRET_KEY to the key of the other "
                "processes (or put DATA_DIR/secret-key back from its backup); when it is lost, give the sealed secrets "
                "up with 'cephstorage config forget-sealed' and set them anew."
            ) from error

    def digest(self, text: str) -> str:
        """What equal texts have in common under the first key (HMAC-SHA-256, RFC 2104)."""
        return hmac.new(self._digesting, text.encode(), "sha256").hexdigest()

    def is_fresh(self, kept: str) -> bool:
        """Whether a kept value is sealed with the first key."""
        sealed = _SEALED.fullmatch(kept)
        return sealed is not None and sealed[1] == self._first

    @staticmethod
    def is_sealed(kept: str) -> bool:
        """Whether a kept value is sealed at all."""
        return _SEALED.fullmatch(kept) is not None


class SealedSettings:
    """Secrets among the settings that all processes share."""

    def __init__(self, table: SettingsTable, seal: Seal) -> None:
        self._table = table
        self._seal = seal

    async def made(self, name: str, draw: Callable[[], str] = _draw) -> str:
        """The secret ``name``; who asks first makes it. Raises SecretKeyWrong."""
        kept = await self._table.get(name)
        if kept is None:
            kept = await self._table.put(name, self._seal.seal(name, draw()), only_if_absent=True)
        return self._seal.open(name, kept)

    async def replace(self, name: str, draw: Callable[[], str] = _draw) -> str:
        """A new secret ``name`` in place of the old one."""
        text = draw()
        await self._table.put(name, self._seal.seal(name, text))
        return text

    def sealed(self, name: str, text: str) -> str:
        """What to keep for a secret."""
        return self._seal.seal(name, text)

    def opened(self, name: str, kept: str) -> str:
        """The secret that is kept. Raises SecretKeyWrong."""
        return self._seal.open(name, kept)

    def digest(self, text: str) -> str:
        """What equal secrets have in common, and tells nothing of them to who has only the database."""
        return self._seal.digest(text)

    def is_fresh(self, kept: str) -> bool:
        """Whether what is kept was sealed with the first key."""
        return self._seal.is_fresh(kept)

    async def renew(self, names: Sequence[str]) -> list[str]:
        """Seal what is plain (of ``names``) or sealed with an older key with the first one; which they were.

        Raises SecretKeyWrong when something does not open: then nothing is changed.
        """
        for _ in range(_TRIES):
            version, kept = await self._table.version(), await self._table.all()
            stale = self._stale(kept, names)
            if not stale or await self._table.change(stale, version):
                return sorted(stale)
        return []

    def _stale(self, kept: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
        secret = {name: value for name, value in kept.items() if name in names or self._seal.is_sealed(value)}
        texts = {name: self._seal.open(name, value) for name, value in secret.items()}
        return {name: self._seal.seal(name, texts[name]) for name in secret if not self._seal.is_fresh(secret[name])}

    async def forget_sealed(self) -> list[str]:
        """Remove the secrets that do not open, so that they can be made or set anew; which they were."""
        for _ in range(_TRIES):
            version, kept = await self._table.version(), await self._table.all()
            lost = [name for name, value in kept.items() if not self._opens(name, value)]
            if not lost or await self._table.change(dict.fromkeys(lost), version):
                return sorted(lost)
        return []

    def _opens(self, name: str, value: str) -> bool:
        try:
            self._seal.open(name, value)
        except SecretKeyWrong:
            return False
        return True

"""Published URLs: who may read a key without a token, until when, and how that is taken back."""

import secrets
from collections.abc import Callable

from cephstorage.domain import signing
from cephstorage.domain.names import BucketName
from cephstorage.ports.index import SettingsTable

_SETTING = "signing_key"


class Publishing:
    """Signs and checks published URLs with a key that all processes share."""

    def __init__(
        self, settings: SettingsTable, public_address: str, expires_in: int, clock: Callable[[], float]
    ) -> None:
        self.public_address = public_address
        self._settings = settings
        self._expires_in = expires_in
        self._clock = clock
        self._secret = b""

    async def refresh(self) -> None:
        """Load the signing key; the first process to start makes it."""
        self._secret = (await self._settings.put(_SETTING, secrets.token_hex(32), only_if_absent=True)).encode()

    async def rotate(self) -> None:
        """Replace the signing key: every URL published so far stops working."""
        self._secret = (await self._settings.put(_SETTING, secrets.token_hex(32))).encode()

    def url(self, bucket: BucketName, key: str, expires_in: int | None = None) -> str:
        """The published address of a key, valid for ``expires_in`` seconds."""
        expires = int(self._clock()) + (self._expires_in if expires_in is None else expires_in)
        return signing.published_url(self.public_address, self._secret, bucket, key, expires)

    def check(self, method: str, bucket: BucketName, key: str, expires: str, signature: str) -> None:
        """Raise SignatureInvalid unless this request was published."""
        signing.check(self._secret, method, bucket, key, expires, signature, self._clock())

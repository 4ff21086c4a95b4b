"""Published URLs: who may read a key without a token, until when, and how that is taken back."""

import re
from collections.abc import Callable

from cephstorage.domain import signing
from cephstorage.domain.configuration import LONGEST_PRESIGNED, PublishBy
from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.mirrors import signed_form
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.ports.store import Store
from cephstorage.services.configuration import Configuration
from cephstorage.services.sealing import SealedSettings

_SETTING = "signing_key"


class Publishing:
    """Signs and checks published URLs with a key that all processes share, or has the store presign them.

    ``address`` is where this service is reached unless the configuration has a public address.
    """

    def __init__(
        self,
        secrets: SealedSettings,
        configuration: Configuration,
        store: Store,
        address: str,
        expires_in: int,
        clock: Callable[[], float],
    ) -> None:
        self._secrets = secrets
        self._configuration = configuration
        self._store = store
        self._address = address
        self._expires_in = expires_in
        self._clock = clock
        self._secret = b""

    @property
    def public_address(self) -> str:
        """Base of the URLs that this service answers."""
        return self._configuration["public_address"] or self._address

    async def refresh(self) -> None:
        """Load the signing key; the first process to start makes it. Raises SecretKeyWrong."""
        self._secret = (await self._secrets.made(_SETTING)).encode()

    async def rotate(self) -> None:
        """Replace the signing key: every URL that was signed with it stops working. Presigned ones don't."""
        self._secret = (await self._secrets.replace(_SETTING)).encode()

    def url(self, record: Record, expires_in: int | None = None) -> str:
        """The published address of a key, valid for ``expires_in`` seconds. Raises InvalidInput."""
        if self._configuration["publish_by"] == PublishBy.RGW.value:
            presigned = self._presigned(record, expires_in)
            if presigned is not None:
                return presigned
        expires = int(self._clock()) + (self._expires_in if expires_in is None else expires_in)
        return signing.published_url(self.public_address, self._secret, record.bucket, record.key, expires)

    def _presigned(self, record: Record, expires_in: int | None) -> str | None:
        if expires_in is not None and expires_in > LONGEST_PRESIGNED:
            raise InvalidInput(
                f"expires_in: URLs that Ceph answers itself are valid for {LONGEST_PRESIGNED} seconds at most."
            )
        seconds = min(self._expires_in, LONGEST_PRESIGNED) if expires_in is None else expires_in
        if record.expires_at is not None:  # Ceph would go on answering
            seconds = max(1, min(seconds, int(record.expires_at - self._clock())))
        return self._store.published(record.bucket, record.key, record.store_version, seconds)

    def mirror_url(self, url: str, host: str, expires_in: int | None = None) -> tuple[str, int]:
        """An address of the private mirror ``host``, as written, that anybody can read for ``expires_in`` seconds.

        With it the moment when it expires (epoch seconds). Raises InvalidKey.
        """
        expires = int(self._clock()) + (self._expires_in if expires_in is None else expires_in)
        scheme, _, rest = url.partition("#")[0].partition("://")
        authority = re.split(r"[/?]", rest, maxsplit=1)[0]
        written = rest[len(authority) :]
        path, _, query = (written if written.startswith("/") else f"/{written}").partition("?")
        target = f"{path}?{query}" if query else path
        canonical = signed_form(path, query)
        return f"{scheme}://{authority}{signing.signed_target(self._secret, host, target, canonical, expires)}", expires

    def check_target(
        self, method: str, host: str, canonical: str, signed: signing.TargetSignature, *, begun: bool = False
    ) -> None:
        """Raise SignatureInvalid unless this request to a private mirror was signed. One that has ``begun`` may expire."""
        now = 0.0 if begun else self._clock()
        signing.check_target(self._secret, method, host, canonical, signed, now)

    def check(self, method: str, bucket: BucketName, key: str, expires: str, signature: str) -> None:
        """Raise SignatureInvalid unless this request was published."""
        signing.check(self._secret, method, bucket, key, expires, signature, self._clock())

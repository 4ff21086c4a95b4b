"""Calls about transfers: creating keys from URLs in the background, and following them to their end."""

from collections.abc import Callable, Sequence
from typing import Unpack, cast

from cephstorage_client.connection import Connection, bucket_path, given, key_path
from cephstorage_client.errors import ApiError
from cephstorage_client.names import encode_segment
from cephstorage_client.shapes.background import Progress, TransferHandle
from cephstorage_client.shapes.keys import CopyOptions, KeyOptions, NewKey, Record
from cephstorage_client.waiting import until_ended


class TransferCalls(Connection):
    """Creation from URLs and progress. Every method raises ApiError and ServiceUnreachable."""

    def create_key(
        self,
        username: str,
        bucketname: str,
        key: str,
        url: str,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[KeyOptions],
    ) -> TransferHandle:
        """Have the service fetch ``url`` into a key, in the background."""
        answer = self._call(
            "POST",
            f"{bucket_path(username, bucketname)}/keys",
            json=given({**options, "key_url": url, "key_name": key}),
            headers={"Idempotency-Key": idempotency_key} if idempotency_key else None,
        )
        return cast("TransferHandle", answer)

    def create_keys(self, username: str, bucketname: str, items: Sequence[NewKey]) -> list[TransferHandle]:
        """Create many keys from URLs, all of them or none; one token each, in order."""
        answer = self._call("POST", f"{bucket_path(username, bucketname)}/keys", json=[given(item) for item in items])
        return cast("list[TransferHandle]", answer)

    def copy_key(
        self,
        username: str,
        bucketname: str,
        source_key: str,
        key: str,
        *,
        source_bucket: str | None = None,
        **options: Unpack[CopyOptions],
    ) -> Record:
        """Copy a key into this bucket, from it or from ``source_bucket``, within the store. Waits for the end."""
        return self._copied("copies", username, bucketname, key, source_key, source_bucket, options)

    def rename_key(
        self,
        username: str,
        bucketname: str,
        source_key: str,
        key: str,
        *,
        source_bucket: str | None = None,
        **options: Unpack[CopyOptions],
    ) -> Record:
        """Rename a key, also into another bucket: the old name goes as the new one comes. Waits for the end."""
        return self._copied("renames", username, bucketname, key, source_key, source_bucket, options)

    def _copied(
        self,
        what: str,
        username: str,
        bucketname: str,
        key: str,
        source_key: str,
        source_bucket: str | None,
        options: CopyOptions,
    ) -> Record:
        wish = given({**options, "source_key": source_key, "source_bucket": source_bucket, "key": key})
        answer = self._call("POST", f"{bucket_path(username, bucketname)}/{what}", json=wish)
        if "token" in answer:
            ended = self.wait(answer["token"])
            if ended["error"] is not None:
                raise ApiError(409, ended["error"]["code"], ended["error"]["msg"])
            answer = self._call("GET", key_path(username, bucketname, key))
        return cast("Record", answer)

    def progress(self, token: str) -> Progress:
        """How far a transfer is."""
        return cast("Progress", self._call("GET", f"/ceph/progress/{encode_segment(token)}"))

    def cancel(self, token: str) -> None:
        """Cancel a transfer that is in progress."""
        self._call("DELETE", f"/ceph/progress/{encode_segment(token)}")

    def wait(
        self,
        token: str,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        timeout: float | None = None,
        interval: float = 0.1,
        longest_interval: float = 2.0,
        patience: float = 60.0,
    ) -> Progress:
        """Poll until the transfer has ended; return its last progress, whether success or fail.

        The pause between two polls grows from ``interval`` to ``longest_interval`` seconds. A service
        that is away for less than ``patience`` seconds (a restart) is waited for. Raises WaitTimeout
        after ``timeout`` seconds.
        """
        return until_ended(
            lambda: self.progress(token),
            f"transfer {token}",
            on_progress=on_progress,
            timeout=timeout,
            interval=interval,
            longest_interval=longest_interval,
            patience=patience,
        )

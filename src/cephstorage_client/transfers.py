"""Calls about transfers: creating keys from URLs in the background, and following them to their end."""

from collections.abc import Callable, Sequence
from typing import Unpack, cast

from cephstorage_client.connection import Connection, bucket_path, given
from cephstorage_client.names import encode_segment
from cephstorage_client.shapes import KeyOptions, NewKey, Progress, TransferHandle
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

"""Calls about whether index and store agree: walks over buckets, findings, the check of a key."""

from collections.abc import Iterator
from typing import cast

from cephstorage_client.connection import LANDING_TIMEOUT, Connection, given
from cephstorage_client.shapes.consistency import CheckedKey, ConsistencyOverview, Finding


class ConsistencyCalls(Connection):
    """Index and store. ``bucket`` is a full name ``username___bucketname``. Every method raises ApiError and
    ServiceUnreachable.
    """

    def consistency(self, bucket: str | None = None) -> ConsistencyOverview:
        """How far the walks over buckets are, what the last ones came to, and how many findings there are."""
        return cast("ConsistencyOverview", self._call("GET", "/monitor/consistency", params={"bucket": bucket}))

    def begin_walk(self, bucket: str | None = None, *, kind: str = "reconcile") -> int:
        """Have walks begin now, over one bucket or all; ``kind``: "reconcile", "scrub" or "deletions". How many do."""
        return int(self._call("POST", "/monitor/consistency", json=given({"bucket": bucket, "kind": kind}))["begun"])

    def findings(self, bucket: str | None = None, *, kind: str | None = None) -> Iterator[Finding]:
        """Every key that is not as it should be."""
        for page in self._pages("/monitor/consistency/findings", {"bucket": bucket, "kind": kind, "limit": 1000}):
            yield from cast("list[Finding]", page["findings"])

    def check_key(self, bucket: str, key: str, *, changed: bool = False) -> CheckedKey:
        """Hold one key against the store, and have what does not agree mended, followed or noted.

        ``changed``: a client of the store has just changed it, so that no grace is waited for.
        """
        body = {"bucket": bucket, "key": key, "changed": changed}
        answer = self._call("POST", "/monitor/consistency/check", json=body, timeout=LANDING_TIMEOUT)  # it may be read
        return cast("CheckedKey", answer)

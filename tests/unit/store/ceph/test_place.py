"""The address that nginx is sent to: it lives longer than an edge may keep it."""

import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from cephstorage.domain.handover import EDGE_LIFETIME
from cephstorage.domain.names import BucketName
from cephstorage.store.ceph import CephConfig, CephStore

BUCKET = BucketName("alice", "photos")


async def test_an_address_outlives_whatever_an_edge_keeps_it_with() -> None:
    store = CephStore(CephConfig("http://127.0.0.1:1", "access", "secret"))
    place = store.place(BUCKET, "a b/ü", "transfer.1#version")
    assert place is not None
    query = {name: values[0] for name, values in parse_qs(urlsplit(place.target).query).items()}
    signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert signed + int(query["X-Amz-Expires"]) > time.time() + EDGE_LIFETIME + 3600
    assert int(query["X-Amz-Expires"]) <= 7 * 86400, "S3 takes no more"
    assert query["versionId"] == "version"
    await store.close()

"""What other S3 clients have stored, seen through the port: read as it is, and never touched."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from cephstorage.domain.errors import StoreMisconfigured
from cephstorage.domain.names import BucketName
from cephstorage.ports.store import StoredObject
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.transfer.description import record_of
from tests.conformance.store.test_store import content
from tests.harness.ceph import Ceph
from tests.harness.content import MIB
from tests.harness.s3 import Bystander


@pytest.fixture
def bystander(ceph: Ceph) -> Iterator[Bystander]:
    """Another client, and a bucket that it has made without versioning."""
    other = Bystander(ceph, f"foreign___{uuid4().hex[:12]}")
    other.client.create_bucket(Bucket=other.bucket)
    yield other
    other.close()


@pytest.fixture
async def store(ceph: Ceph) -> AsyncIterator[CephStore]:
    made = CephStore(CephConfig(ceph.gateway, ceph.access_key, ceph.secret_key))
    yield made
    await made.close()


async def test_an_object_of_a_bucket_without_versions_stays_readable_under_its_name(
    bystander: Bystander, store: CephStore
) -> None:
    bucket, old, new = BucketName.parse(bystander.bucket), b"old bytes", b"new bytes, others"
    bystander.client.put_object(Bucket=bystander.bucket, Key="a/ü", Body=old, ContentType="text/plain")
    found = await store.current(bucket, "a/ü")
    assert found is not None
    assert (found.size, found.md5, found.metadata["content_type"]) == (
        len(old),
        hashlib.md5(old).hexdigest(),
        "text/plain",
    )
    assert [each async for each in store.objects(bucket)] == [found]
    await store.create_bucket(bucket)  # makes it versioned
    assert await content(store, found) == old
    bystander.client.put_object(Bucket=bystander.bucket, Key="a/ü", Body=new)
    assert await content(store, found) == old
    assert not await store.is_newest(bucket, "a/ü", found.store_version)
    after = await store.current(bucket, "a/ü")
    assert after is not None
    assert await content(store, after) == new
    bystander.client.delete_object(Bucket=bystander.bucket, Key="a/ü")
    assert await store.current(bucket, "a/ü") is None
    await store.delete(bucket, "a/ü", after.store_version)
    assert await content(store, found) == old


async def test_other_bytes_under_the_same_version_id_are_another_version(
    bystander: Bystander, store: CephStore
) -> None:
    bucket, seen = BucketName.parse(bystander.bucket), []
    for body in (b"one", b"two"):
        bystander.client.put_object(Bucket=bystander.bucket, Key="k", Body=body)
        seen.append(await store.current(bucket, "k"))
    assert all(seen)
    assert len({each.store_version for each in seen if each}) == 2
    first, second = (each.store_version for each in seen if each)
    await store.delete(bucket, "k", first)  # as when the second was adopted in its place
    assert await store.current(bucket, "k") == seen[1]
    await store.delete(bucket, "k", second)
    await store.delete(bucket, "k", second)
    assert await store.current(bucket, "k") is None


async def test_what_another_user_owns_and_lets_nobody_read_is_seen_and_makes_no_record(
    bystander: Bystander, store: CephStore, ceph: Ceph
) -> None:
    """One such object ended a walk over its bucket, and a rebuilding of all of them."""
    bucket, stranger = BucketName.parse(bystander.bucket), ceph.add_user(uuid4().hex)
    await store.create_bucket(bucket)
    bystander.client.put_bucket_acl(Bucket=bystander.bucket, ACL="public-read-write")
    bystander.client.put_object(Bucket=bystander.bucket, Key="k", Body=b"ours")
    with contextlib.closing(Bystander(ceph, bystander.bucket, stranger.access_key, stranger.secret_key)) as other:
        for key in ("k", "theirs"):
            other.client.put_object(Bucket=bystander.bucket, Key=key, Body=b"theirs")
    found = {each.store_version: each async for each in store.objects(bucket)}
    assert sorted((each.key, record_of(each) is not None) for each in found.values()) == [
        ("k", False),
        ("k", True),
        ("theirs", False),
    ]
    theirs, ours = await store.versions(bucket, "k")
    assert (theirs.foreign, theirs.size, ours.foreign, ours.size) == (True, 6, True, 4)
    current = await store.current(bucket, "k")
    assert current == found[theirs.store_version]
    planned = StoredObject(bucket, "k", store.plan_version("t", 1), 6, "0" * 32, {})
    assert await store.holds(planned) is None
    assert await store.holds(replace(planned, key="theirs")) is None
    with pytest.raises(StoreMisconfigured, match="denies access"):
        await store.open(bucket, "k", theirs.store_version)


async def test_the_md5_of_what_came_in_parts_is_not_guessed(bystander: Bystander, store: CephStore) -> None:
    client, place = bystander.client, {"Bucket": bystander.bucket, "Key": "big"}
    upload = client.create_multipart_upload(**place)["UploadId"]
    bodies = [b"x" * 5 * MIB, b"y"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**place, UploadId=upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate(bodies, 1)
    ]
    client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    found = await store.current(BucketName.parse(bystander.bucket), "big")
    assert found is not None
    assert (found.size, found.md5) == (5 * MIB + 1, "")
    assert await content(store, found) == b"".join(bodies)

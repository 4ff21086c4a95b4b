"""What other S3 clients have stored, seen through the port: read as it is, and never touched."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.store.ceph import CephConfig, CephStore
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

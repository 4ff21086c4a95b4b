"""Copies and renames in the index: a rename is one transaction over two keys, and concerns one version."""

from dataclasses import replace

import pytest

from cephstorage.domain.errors import PreconditionFailed
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import CopySource, Kind, Lease, State
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import (
    BUCKET,
    NOW,
    OTHER,
    OWNER,
    RIVAL,
    UNTIL,
    land,
    new,
    plan_for,
    removal_versions,
    request_for,
)


async def begun(index: SqlIndex, source: Record, key: str, bucket: BucketName = BUCKET, *, moves: bool = True) -> Lease:
    """A copy that is about to be published."""
    wish = request_for(key, Kind.COPY, bucket, url=None)
    of = CopySource(source.bucket, source.key, source.generation, source.store_version, moves)
    lease = Lease("id-copy", OWNER, 1)
    plan = plan_for(lease, source.size, metadata=(("color", "blue"),))
    made = await index.transfers.begin_upload(new("copy", replace(wish, copy_of=of)), plan, OWNER, NOW, UNTIL)
    assert made == lease
    assert await index.landing.plan(lease, plan, NOW)
    return lease


async def usage(index: SqlIndex, bucket: BucketName = BUCKET) -> tuple[int, int]:
    found = await index.buckets.get(bucket)
    return found.size, found.keyamount


@pytest.mark.parametrize("bucket", [BUCKET, OTHER], ids=str)
async def test_a_rename_publishes_and_removes_at_once(index: SqlIndex, bucket: BucketName) -> None:
    await index.buckets.create(OTHER, NOW)
    source = await land(index, "one", "a/old")
    lease = await begun(index, source, "b/new", bucket)
    record = await index.landing.publish(lease, NOW)
    assert await index.keys.get(BUCKET, "a/old") is None
    assert await index.keys.get(bucket, "b/new") == record
    assert (record.size, record.metadata) == (source.size, (("color", "blue"),))
    assert await removal_versions(index) == [source.store_version]
    assert await usage(index, bucket) == (10, 1)
    assert (await index.transfers.get("token-copy")).state is State.SUCCESS


async def test_a_copy_leaves_its_source(index: SqlIndex) -> None:
    source = await land(index, "one", "old")
    await index.landing.publish(await begun(index, source, "new", moves=False), NOW)
    assert await index.keys.get(BUCKET, "old") == source
    assert (await removal_versions(index), await usage(index)) == ([], (20, 2))


@pytest.mark.parametrize("change", ["replaced", "deleted"])
async def test_a_rename_of_what_has_changed_changes_nothing(index: SqlIndex, change: str) -> None:
    source = await land(index, "one", "old")
    lease = await begun(index, source, "new")
    if change == "replaced":
        newer = await land(index, "two", "old", size=7)
    else:
        newer = None
        await index.keys.delete(BUCKET, "old", NOW)
    before = await usage(index)
    with pytest.raises(PreconditionFailed):
        await index.landing.publish(lease, NOW)
    assert await index.keys.get(BUCKET, "old") == newer
    assert await index.keys.get(BUCKET, "new") is None
    assert await usage(index) == before


async def test_a_copy_of_what_has_changed_is_of_the_version_that_was_asked_for(index: SqlIndex) -> None:
    source = await land(index, "one", "old")
    lease = await begun(index, source, "new", moves=False)
    await land(index, "two", "old", size=7)
    assert (await index.landing.publish(lease, NOW)).md5 == source.md5


async def test_a_copy_whose_process_died_is_taken_over_with_its_plan(index: SqlIndex) -> None:
    source = await land(index, "one", "old")
    await begun(index, source, "new")
    assert await index.transfers.expire_owner(OWNER, NOW) == 1
    taken = await index.transfers.claim(RIVAL, NOW, UNTIL)
    assert taken is not None
    assert taken.plan is not None
    assert taken.request.copy_of == CopySource(BUCKET, "old", 1, source.store_version, moves=True)
    await index.landing.publish(Lease(taken.id, RIVAL, taken.fence), NOW)
    assert await index.keys.get(BUCKET, "old") is None

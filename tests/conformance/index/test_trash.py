"""The trash in the index: what was deleted is kept whole, comes back whole, and goes for good in its time."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cephstorage.domain.deletions import DeletionWish
from cephstorage.domain.errors import BucketNotEmpty, BucketNotFound, InvalidCursor, KeyNotFound, PreconditionFailed
from cephstorage.domain.lifecycle import DAY, ExpiryRule, Lifecycle, Reason
from cephstorage.domain.quotas import Quota
from cephstorage.domain.records import Record
from cephstorage.domain.transfers import CopySource, Kind, Lease
from cephstorage.index import SqlIndex
from cephstorage.index.cursors import KEY, VERSION, write_place
from tests.conformance.index.conftest import (
    BUCKET,
    FACTS,
    NOW,
    OTHER,
    OWNER,
    UNTIL,
    begin,
    land,
    new,
    plan_for,
    removal_versions,
    request_for,
)

DUE = NOW + 7 * DAY
META = (("color", "blue"),)


@pytest.fixture(autouse=True)
async def kept(index: SqlIndex) -> None:
    """The bucket keeps for a week what is deleted."""
    await index.lifecycles.put(BUCKET, Lifecycle(trash_days=7))


async def trash(index: SqlIndex, now: float = NOW, prefix: str = "") -> list[tuple[str, int, str]]:
    page = await index.trash.listing(BUCKET, prefix, 100, None, now)
    return [(each.record.key, each.record.generation, each.reason.value) for each in page.versions]


async def usage(index: SqlIndex) -> tuple[int, int, int, int]:
    found = await index.buckets.get(BUCKET)
    return found.size, found.keyamount, found.trash_size, found.trash_keys


async def deleted(index: SqlIndex, name: str = "one", key: str = "k", **fields: object) -> Record:
    record = await land(index, name, key, **fields)  # type: ignore[arg-type]
    await index.keys.delete(BUCKET, key, NOW)
    return record


async def test_what_is_deleted_is_kept_whole_and_comes_back_whole(index: SqlIndex) -> None:
    record = await deleted(index, metadata=META)
    assert (await index.keys.get(BUCKET, "k"), await removal_versions(index)) == (None, [])
    (shown,) = (await index.trash.listing(BUCKET, "", 10, None, NOW)).versions
    assert (shown.record, shown.reason, shown.trashed_at, shown.due_at) == (record, Reason.DELETED, NOW, DUE)
    assert await usage(index) == (0, 0, 10, 1)
    back = await index.trash.restore(BUCKET, "k", None, NOW + 5, over=False)
    assert back == await index.keys.get(BUCKET, "k") == replace(record, generation=2, validated_at=NOW + 5)
    assert (await trash(index), await usage(index), await removal_versions(index)) == ([], (10, 1, 0, 0), [])


async def test_a_key_that_is_there_is_replaced_only_when_asked(index: SqlIndex) -> None:
    record = await deleted(index)
    newer = await land(index, "two", size=3)
    with pytest.raises(PreconditionFailed):
        await index.trash.restore(BUCKET, "k", None, NOW, over=False)
    assert (await index.keys.get(BUCKET, "k"), await trash(index)) == (newer, [("k", 1, "deleted")])
    back = await index.trash.restore(BUCKET, "k", None, NOW, over=True)
    assert (back.store_version, back.generation) == (record.store_version, newer.generation + 1)
    assert await removal_versions(index) == [newer.store_version]
    assert await usage(index) == (10, 1, 0, 0)


async def test_what_is_replaced_is_kept_where_that_is_wanted(index: SqlIndex) -> None:
    await index.lifecycles.put(BUCKET, Lifecycle(trash_days=7, trash_overwritten=True))
    first = await land(index, "one")
    second = await land(index, "two", size=3)
    assert (await trash(index), await usage(index)) == ([("k", 1, "overwritten")], (3, 1, 10, 1))
    await index.trash.restore(BUCKET, "k", 1, NOW, over=True)
    assert (await trash(index), await usage(index)) == ([("k", 2, "overwritten")], (10, 1, 3, 1))
    visible = await index.keys.get(BUCKET, "k")
    assert visible is not None
    assert (visible.store_version, visible.generation) == (first.store_version, 3)
    assert second.store_version not in await removal_versions(index)


async def test_of_what_is_replaced_neither_mirrored_copies_nor_what_has_expired_is_kept(index: SqlIndex) -> None:
    await index.lifecycles.put(BUCKET, Lifecycle(trash_days=7, trash_overwritten=True))
    lease = await begin(index, "one", "expired")
    await index.landing.plan(lease, plan_for(lease, expires=NOW), NOW)
    gone = [await index.landing.publish(lease, NOW), await land(index, "two", "mirrored", origin=FACTS)]
    for name, key in (("three", "expired"), ("four", "mirrored")):
        await land(index, name, key)
    assert (await trash(index), await removal_versions(index)) == ([], [each.store_version for each in gone])


async def test_the_version_that_is_named_comes_back_by_default_the_newest(index: SqlIndex) -> None:
    versions = [await deleted(index, name, size=size) for size, name in enumerate("abc", 1)]
    for generation, meant in ((versions[1].generation, versions[1]), (None, versions[2])):
        back = await index.trash.restore(BUCKET, "k", generation, NOW, over=True)
        assert back.store_version == meant.store_version
    assert [each.generation for each in versions][:1] == [generation for _, generation, _ in await trash(index)]


async def test_the_bytes_go_when_their_time_is_over(index: SqlIndex) -> None:
    record = await deleted(index)
    assert await index.trash.sweep(10, DUE - 1) == 0
    assert (await trash(index, DUE - 1), await trash(index, DUE)) == ([("k", 1, "deleted")], [])
    assert await index.trash.sweep(10, DUE) == 1
    assert (await removal_versions(index), await usage(index)) == ([record.store_version], (0, 0, 0, 0))
    with pytest.raises(KeyNotFound):
        await index.trash.restore(BUCKET, "k", None, DUE, over=False)


async def test_versions_are_removed_by_key_generation_or_all_together(index: SqlIndex) -> None:
    for name, key in (("a", "a"), ("b", "b"), ("b2", "b"), ("c", "c")):
        await deleted(index, name, key)
    listed = await trash(index)
    assert [key for key, _, _ in listed] == ["a", "b", "b", "c"]
    assert await trash(index, prefix="b") == listed[1:3]
    assert await index.trash.empty(BUCKET, "b", listed[1][1], NOW) == 1
    assert await index.trash.empty(BUCKET, "missing", None, NOW) == 0
    assert await trash(index) == [listed[0], listed[2], listed[3]]
    assert await index.trash.empty(BUCKET, None, None, NOW) == 3
    assert [await index.trash.sweep(3, NOW) for _ in range(3)] == [3, 1, 0]
    assert await usage(index) == (0, 0, 0, 0)


async def test_a_long_trash_is_emptied_in_steps(index: SqlIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others write between two of them: who empties a million versions holds nobody up, and is not cut off."""
    monkeypatch.setattr("cephstorage.index.lifecycles._EMPTIED_AT_ONCE", 2)
    for number in range(5):
        await deleted(index, f"n{number}", "k" if number % 2 else "я")
    write, landed = index.trash._db.write, list[Record]()

    async def stepped(*args: Any) -> Any:
        outcome = await write(*args)
        landed.append(await land(index, f"between-{len(landed)}", f"other-{len(landed)}"))
        return outcome

    monkeypatch.setattr(index.trash, "_db", SimpleNamespace(write=stepped))
    assert await index.trash.empty(BUCKET, None, None, NOW) == 5
    monkeypatch.undo()
    assert (len(landed), await trash(index), await usage(index)) == (3, [], (30, 3, 50, 5))


async def test_what_was_emptied_or_is_over_does_not_come_back_before_it_is_swept(index: SqlIndex) -> None:
    older, newer = await deleted(index, "one"), await deleted(index, "two")
    assert await index.trash.empty(BUCKET, "k", newer.generation, NOW) == 1
    with pytest.raises(KeyNotFound):
        await index.trash.restore(BUCKET, "k", newer.generation, NOW, over=False)
    with pytest.raises(KeyNotFound):
        await index.trash.restore(BUCKET, "k", None, DUE, over=False)
    back = await index.trash.restore(BUCKET, "k", None, NOW, over=False)
    assert back.store_version == older.store_version
    assert await index.trash.sweep(10, NOW) == 1


async def test_a_long_trash_is_read_page_by_page(index: SqlIndex) -> None:
    for number in range(5):
        await deleted(index, f"n{number}", "k" if number % 2 else "я")
    found, cursor = [], None
    while True:
        page = await index.trash.listing(BUCKET, "", 2, cursor, NOW)
        found += [(each.record.key, each.record.generation) for each in page.versions]
        if (cursor := page.cursor) is None:
            break
    assert found == sorted(found, key=lambda each: (each[0].encode(), each[1]))
    assert len(found) == 5
    with pytest.raises(BucketNotFound):
        await index.trash.listing(OTHER, "", 2, None, NOW)


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", write_place(VERSION, "k", 2**63), write_place(VERSION, "k\0", 1), write_place(KEY, "k")],
)
async def test_a_cursor_that_is_none_of_the_trash_is_refused(index: SqlIndex, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await index.trash.listing(BUCKET, "", 2, cursor, NOW)


async def test_deletions_of_many_keys_go_to_the_trash_and_mirrored_copies_do_not(index: SqlIndex) -> None:
    await land(index, "one", "a/1")
    copy = await land(index, "two", "a/2", origin=FACTS)
    await index.deletions.create("deletion", BUCKET, DeletionWish(prefix="a/"), NOW)
    assert await index.deletions.step(10, 0.0, NOW)
    assert await trash(index) == [("a/1", 1, "deleted")]
    assert await removal_versions(index) == [copy.store_version]


async def test_neither_what_has_expired_nor_the_source_of_a_rename_is_kept(index: SqlIndex) -> None:
    lease = await begin(index, "one", "expiring")
    await index.landing.plan(lease, plan_for(lease, expires=NOW + 1), NOW)
    await index.landing.publish(lease, NOW)
    assert await index.lifecycles.sweep(10, NOW + 1) == 1
    source = await land(index, "two", "old")
    of = CopySource(BUCKET, "old", source.generation, source.store_version, moves=True)
    wish = replace(request_for("new", Kind.COPY, url=None), copy_of=of)
    lease = Lease("id-copy", OWNER, 1)
    await index.transfers.begin_upload(new("copy", wish), plan_for(lease), OWNER, NOW, UNTIL)
    await index.landing.plan(lease, plan_for(lease), NOW)
    await index.landing.publish(lease, NOW)
    assert await trash(index) == []


async def test_nothing_takes_the_bytes_of_what_is_kept(index: SqlIndex) -> None:
    """Neither an attempt that does not know how it ended, nor a look into the store for what the index lacks."""
    record = await deleted(index)
    await index.landing.disown(BUCKET, "k", record.store_version)
    assert await removal_versions(index) == []
    adopted = await index.adoption.adopt(BUCKET, [record])
    assert (adopted.added, adopted.older) == (0, 1)
    known = await index.consistency.known(BUCKET, ["k"], ())
    assert record.store_version in str(known["k"])


async def test_the_trash_counts_to_the_quota_and_a_bucket_with_trash_stays(index: SqlIndex) -> None:
    await deleted(index)
    await index.quotas.set_bucket(BUCKET, Quota(20, None))
    assert (await index.quotas.of_bucket(BUCKET, NOW)).used.size == 10
    await land(index, "two", "other", size=10)
    await index.trash.restore(BUCKET, "k", None, NOW, over=False)
    await index.keys.delete(BUCKET, "k", NOW)
    await index.keys.delete(BUCKET, "other", NOW)
    with pytest.raises(BucketNotEmpty, match="trash"):
        await index.buckets.delete(BUCKET)


async def test_what_comes_back_lives_by_the_rules_and_not_by_an_end_that_has_passed(index: SqlIndex) -> None:
    lease = await begin(index, "one")
    await index.landing.plan(lease, plan_for(lease, expires=NOW + 10), NOW)
    await index.landing.publish(lease, NOW)
    await index.keys.delete(BUCKET, "k", NOW)
    await index.lifecycles.put(BUCKET, Lifecycle((ExpiryRule("k", 1),), trash_days=7))
    back = await index.trash.restore(BUCKET, "k", None, NOW + 20, over=False)
    assert (back.expires, back.expires_at) == (None, NOW + 20 + DAY)

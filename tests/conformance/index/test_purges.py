"""The outbox of purges: written with the change, for buckets of mirrors only, and kept until it is done with."""

from cephstorage.domain.mirrors import Mirror
from cephstorage.index import SqlIndex
from cephstorage.ports.purges import Purge
from tests.conformance.index.conftest import BUCKET, NOW, OTHER, land

LATER = NOW + 60


async def _mirrored(index: SqlIndex) -> None:
    await index.mirrors.put(Mirror("files.example", BUCKET, "http://origin.example"))


async def _told(index: SqlIndex) -> list[tuple[str, int]]:
    return [(purge.key, purge.size) for purge in await index.purges.due(LATER, 100)]


async def test_replacing_and_deleting_write_a_row_with_the_old_size(index: SqlIndex) -> None:
    await _mirrored(index)
    await land(index, "1", size=10)
    assert await _told(index) == []
    await land(index, "2", size=20)
    assert await _told(index) == [("k", 10)]
    await index.keys.delete(BUCKET, "k", NOW)
    assert await _told(index) == [("k", 10), ("k", 20)]


async def test_a_bucket_without_a_mirror_has_nothing_to_purge(index: SqlIndex) -> None:
    await index.buckets.create(OTHER, NOW)
    await index.mirrors.put(Mirror("files.example", OTHER, "http://origin.example"))
    await land(index, "1")
    await land(index, "2")
    await index.keys.delete(BUCKET, "k", NOW)
    assert await _told(index) == []


async def test_a_new_row_is_left_to_its_writer_for_a_moment(index: SqlIndex) -> None:
    await index.purges.add(BUCKET, "k", 5, NOW)
    assert await index.purges.due(NOW, 100) == []
    (own,) = await index.purges.of_key(BUCKET, "k")
    assert own == Purge(own.id, BUCKET, "k", 5, NOW)
    assert await index.purges.of_key(BUCKET, "other") == []


async def test_a_row_comes_back_until_it_is_done(index: SqlIndex) -> None:
    for key in ("a", "b"):
        await index.purges.add(BUCKET, key, 5, NOW)
    first, second = await index.purges.due(LATER, 100)
    await index.purges.again(first, LATER + 5, ["http://edge.example"])
    assert await index.purges.due(LATER, 100) == [second]
    again = await index.purges.due(LATER + 5, 1)
    assert again == [second]
    await index.purges.done([second.id, 10_000])
    (back,) = await index.purges.due(LATER + 5, 100)
    assert (back.key, back.attempts, back.remaining) == ("a", 1, ("http://edge.example",))
    await index.purges.again(back, LATER, [])
    (told,) = await index.purges.due(LATER, 100)
    assert (told.attempts, told.remaining) == (2, ())
    await index.purges.done([told.id])
    assert await index.purges.due(LATER, 100) == []


async def test_a_row_outlives_its_process(index: SqlIndex, factory: object) -> None:
    await index.purges.add(BUCKET, "k", 5, NOW)
    another = factory()  # type: ignore[operator]
    await another.open()
    try:
        assert [purge.key for purge in await another.purges.due(LATER, 100)] == ["k"]
    finally:
        await another.close()

"""Listing against a naive model, over keys that break careless code."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cephstorage.domain.errors import BucketNotFound, InvalidCursor
from cephstorage.domain.names import child_folder, vfolder_of
from cephstorage.domain.records import ListQuery, Record
from cephstorage.domain.transfers import Kind, Lease
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import (
    BUCKET,
    FACTORIES,
    FACTS,
    NOW,
    OTHER,
    OWNER,
    begin,
    land,
    new,
    plan_for,
    request_for,
)
from tests.harness.names import NASTY_KEYS

Entries = list[tuple[str, str]]


async def pages(index: SqlIndex, **fields: object) -> tuple[Entries, int]:
    """Every entry of a listing in order, and the number of pages."""
    found: Entries = []
    cursor, count = None, 0
    while True:
        page = await index.keys.listing(BUCKET, ListQuery(**fields, cursor=cursor))  # type: ignore[arg-type]
        count += 1
        entries = [("f", folder) for folder in page.vfolders] + [("k", record.key) for record in page.keys]
        assert entries or page.cursor is None
        found += entries
        if page.cursor is None:
            return found, count
        assert len(entries) == fields.get("limit", 1000)
        cursor = page.cursor


def model(
    keys: set[str],
    vfolder: str | None = "",
    prefix: str = "",
    recursive: bool = False,
    contains: str = "",
    limit: int = 0,
) -> Entries:
    """What a listing is, said as simply as can be."""
    folders: set[str] = set()
    inside = keys
    if vfolder is not None and recursive:
        inside = {key for key in keys if key.startswith(f"{vfolder}/" if vfolder else "")}
    elif vfolder is not None:
        inside = {key for key in keys if vfolder_of(key) == vfolder}
        children = {child_folder(vfolder, vfolder_of(key)) for key in keys}
        folders = {child for child in children if child is not None and f"{child}/".startswith(prefix)}
    found = {key for key in inside if key.startswith(prefix) and contains in key}
    by_bytes = str.encode
    return [("f", folder) for folder in sorted(folders, key=by_bytes)] + [
        ("k", key) for key in sorted(found, key=by_bytes)
    ]


async def fill(index: SqlIndex, keys: set[str]) -> None:
    """Land many keys."""
    for number, key in enumerate(sorted(keys)):
        await land(index, str(number), key)


SEGMENT = st.one_of(
    st.sampled_from(["", "a", "b", "a-", "a.b", "a!", "a0", " ", ".", "..", "%", "%2F", "\n", "\x01", "é", "e\u0301"]),
    st.sampled_from(["\U0010ffff", "\ud7ff", "\ue000", "\x7f", "_", "A"]),
)
KEY = st.lists(SEGMENT, min_size=1, max_size=5).map("/".join).filter(bool)
# Every example takes a database of its own from the fixture.
TOLERATED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
KEYS = st.sets(st.one_of(KEY, st.sampled_from(sorted(NASTY_KEYS.values()))), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=TOLERATED)
@given(keys=KEYS, limit=st.integers(1, 7), data=st.data())
def test_pages_equal_the_model(
    engine: str, places: Callable[[], str], keys: set[str], limit: int, data: st.DataObject
) -> None:
    folders = sorted({vfolder_of(key) for key in keys} | {vfolder_of(vfolder_of(key)) for key in keys})
    beginnings = sorted({key[:length] for key in keys for length in (0, 1, 2, 3, 5)})
    prefix = data.draw(st.sampled_from(beginnings))
    contains = data.draw(st.sampled_from(["", "", "a", "/", "%", "A", "_"]))

    async def compare() -> None:
        index = FACTORIES[engine](places())
        await index.open()
        await index.buckets.create(BUCKET, NOW)
        await asyncio.gather(*(_landed(index, number, key) for number, key in enumerate(sorted(keys))))
        for vfolder in [None, *folders]:
            for recursive in (False, True):
                for asked in ({}, {"prefix": prefix}, {"contains": contains}):
                    fields = {"vfolder": vfolder, "recursive": recursive, "limit": limit, **asked}
                    found, count = await pages(index, **fields)
                    assert found == model(keys, **fields)  # type: ignore[arg-type]
                    assert count == max(1, -(-len(found) // limit))
        await index.close()

    asyncio.run(compare())


async def _landed(index: SqlIndex, number: int, key: str) -> None:
    upload = new(str(number), request_for(key, Kind.UPLOAD))
    plan = plan_for(Lease(upload.id, OWNER, 1))
    lease = await index.transfers.begin_upload(upload, plan, OWNER, NOW, NOW + 30)
    await index.landing.publish(lease, NOW)


async def test_walking_the_folders_reaches_every_nasty_key(index: SqlIndex) -> None:
    keys = set(NASTY_KEYS.values())
    await fill(index, keys)
    reached: set[str] = set()
    seen: set[str] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        assert folder not in seen
        seen.add(folder)
        for kind, name in (await pages(index, vfolder=folder, limit=3))[0]:
            if kind == "f":
                waiting.append(name)
            else:
                assert name not in reached
                reached.add(name)
    assert reached == keys


async def test_siblings_that_sort_around_the_slash_keep_their_order(index: SqlIndex) -> None:
    await fill(index, {"a/b/1", "a-c/1", "a/1", "a.d/1", "a0/1", "b"})
    found, _ = await pages(index, limit=1)
    assert found == [("f", "a"), ("f", "a-c"), ("f", "a.d"), ("f", "a0"), ("k", "b")]


async def test_empty_segments_are_folders_of_their_own(index: SqlIndex) -> None:
    await fill(index, {"/x", "/x/y", "//z", "c", "a//b", "a/b"})
    assert (await pages(index))[0] == [("f", "/"), ("f", "/x"), ("f", "a"), ("k", "/x"), ("k", "c")]
    assert (await pages(index, vfolder="a"))[0] == [("f", "a/"), ("k", "a/b")]
    assert (await pages(index, vfolder="a/"))[0] == [("k", "a//b")]
    assert (await pages(index, vfolder="/"))[0] == [("k", "//z")]


async def test_prefix_narrows_folders_and_keys(index: SqlIndex) -> None:
    await fill(index, {"a/pa/1", "a/pb/1", "a/q/1", "a/p", "a/q1", "ap"})
    assert (await pages(index, vfolder="a", prefix="a/p"))[0] == [("f", "a/pa"), ("f", "a/pb"), ("k", "a/p")]
    assert (await pages(index, vfolder="a", prefix="a/pa/"))[0] == [("f", "a/pa")]
    assert (await pages(index, vfolder="a", prefix="a/pa/1"))[0] == []
    assert (await pages(index, vfolder="a", prefix="b"))[0] == []
    assert (await pages(index, vfolder=None, prefix="a/q"))[0] == [("k", "a/q/1"), ("k", "a/q1")]
    assert (await pages(index, vfolder="a", recursive=True, prefix="a/pa"))[0] == [("k", "a/pa/1")]


async def test_contains_means_bytes_and_no_wildcards(index: SqlIndex) -> None:
    await fill(index, {"README", "readme", "100%", "100x", "a_b", "axb"})
    assert (await pages(index, contains="EAD"))[0] == [("k", "README")]
    assert (await pages(index, contains="0%"))[0] == [("k", "100%")]
    assert (await pages(index, contains="a_b"))[0] == [("k", "a_b")]


async def test_content_type_is_compared_whole(index: SqlIndex) -> None:
    await land(index, "1", "a", content_type="text/plain")
    await land(index, "2", "b", content_type="text/plain; charset=utf-8")
    assert (await pages(index, content_type="text/plain"))[0] == [("k", "a")]


async def test_the_limit_is_kept_within_bounds(index: SqlIndex) -> None:
    await fill(index, {"a/1", "b", "c"})
    page = await index.keys.listing(BUCKET, ListQuery(limit=0))
    assert (page.vfolders, page.keys) == (("a",), ())
    page = await index.keys.listing(BUCKET, ListQuery(limit=10**9))
    assert len(page.keys) == 2
    assert page.cursor is None


async def test_there_is_no_cursor_when_a_page_ends_exactly_at_the_end(index: SqlIndex) -> None:
    await fill(index, {"a/1", "b"})
    assert (await index.keys.listing(BUCKET, ListQuery(limit=2))).cursor is None
    page = await index.keys.listing(BUCKET, ListQuery(limit=1))
    assert page.cursor is not None
    assert (await index.keys.listing(BUCKET, ListQuery(limit=1, cursor=page.cursor))).cursor is None
    await index.keys.delete(BUCKET, "b", NOW)
    assert (await index.keys.listing(BUCKET, ListQuery(limit=1))).cursor is None


async def test_a_key_that_comes_or_goes_disturbs_no_later_page(index: SqlIndex) -> None:
    await fill(index, {"a", "c", "e"})
    page = await index.keys.listing(BUCKET, ListQuery(limit=2))
    await index.keys.delete(BUCKET, "c", NOW)
    await land(index, "late", "b")
    rest = await index.keys.listing(BUCKET, ListQuery(limit=2, cursor=page.cursor))
    assert [record.key for record in rest.keys] == ["e"]


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "====",
        encoded(None),
        encoded({"a": 1, "b": 2}),
        encoded(["k"]),
        encoded(["k", 1]),
        encoded(["k", ""]),
        encoded(["z", "a"]),
        encoded(["k", "\ud800"]),
        encoded(["k", "a\0"]),
        encoded(["k", "x" * 1025]),
        encoded([["k"], "a"]),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
async def test_a_foreign_cursor_is_refused(index: SqlIndex, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await index.keys.listing(BUCKET, ListQuery(cursor=cursor))


async def test_a_folder_cursor_belongs_to_folder_listings(index: SqlIndex) -> None:
    with pytest.raises(InvalidCursor):
        await index.keys.listing(BUCKET, ListQuery(vfolder=None, cursor=encoded(["f", "a"])))


async def test_an_unknown_bucket_is_not_found(index: SqlIndex) -> None:
    with pytest.raises(BucketNotFound):
        await index.keys.listing(OTHER, ListQuery())


@pytest.mark.parametrize(
    "asked", [{}, {"contains": "zeb"}, {"contains": "zebra", "recursive": True}, {"glob": "zebra?"}, {"size_min": 1}]
)
async def test_what_is_only_shown_is_read_without_what_is_known_of_its_origin(
    index: SqlIndex, asked: dict[str, Any]
) -> None:
    index.listings.budget = 2  # so that texts in names are found by their index, too
    made = [await land(index, str(number), f"zebra{number}", origin=FACTS) for number in range(4)]
    for facts, expected in ((True, made), (False, [replace(record, origin=None) for record in made])):
        query: ListQuery | None = ListQuery(facts=facts, **asked)
        found: list[Record] = []
        while query is not None:
            page = await index.keys.listing(BUCKET, query)
            found += page.keys
            query = replace(query, cursor=page.cursor) if page.cursor is not None else None
        assert found == expected


async def test_nothing_is_listed_before_it_is_published(index: SqlIndex) -> None:
    lease = await begin(index, "1")
    assert await index.landing.plan(lease, plan_for(lease), NOW)
    assert (await pages(index))[0] == []

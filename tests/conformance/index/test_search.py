"""Filters, search, order and folders against a naive model, however few keys a request may look at."""

import asyncio
import contextlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pysqlite3.dbapi2 as sqlite
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event

from cephstorage.domain.errors import InvalidCursor
from cephstorage.domain.names import folders_above, parent_folder, vfolder_of
from cephstorage.domain.policy import Rule
from cephstorage.domain.records import ListQuery, Page, Record
from cephstorage.domain.transfers import Kind, Lease
from cephstorage.index import SqlIndex
from cephstorage.index.names import Names
from cephstorage.index.postgres_index import PostgresIndex
from cephstorage.index.postgres_names import PostgresNames, create_names
from cephstorage.index.rarity import rare_parts
from cephstorage.index.sqlite_index import SqliteIndex
from cephstorage.index.walk import Span, _values
from tests.conformance.index.conftest import BUCKET, FACTORIES, NOW, OTHER, OWNER, land, new, plan_for, request_for
from tests.conformance.index.test_listing import KEYS, TOLERATED, model
from tests.harness.names import NASTY_KEYS
from tests.harness.postgres import Postgres

TYPES = ("text/plain", "image/png")


async def put(index: SqlIndex, number: int, key: str, bucket: Any = BUCKET) -> Record:
    """A record whose fields follow from its number."""
    upload = new(f"{bucket}-{number}", request_for(key, Kind.UPLOAD, bucket))
    plan = plan_for(Lease(upload.id, OWNER, 1), number % 4, content_type=TYPES[number % 2], ts=float(number % 3))
    lease = await index.transfers.begin_upload(upload, plan, OWNER, NOW, NOW + 30)
    return await index.landing.publish(lease, NOW)


async def pages(index: SqlIndex, query: ListQuery) -> list[Page]:
    found = [await index.keys.listing(BUCKET, query)]
    while (cursor := found[-1].cursor) is not None:
        found.append(await index.keys.listing(BUCKET, replace(query, cursor=cursor)))
        assert len(found) < 1000, "the cursor does not move"
    return found


async def entries(index: SqlIndex, query: ListQuery) -> list[tuple[str, str]]:
    """Every entry of a listing, none twice."""
    found = await pages(index, query)
    assert all(len(page.keys) + len(page.vfolders) <= query.limit for page in found)
    shown = [("f", each) for page in found for each in page.vfolders]
    return shown + [("k", each.key) for page in found for each in page.keys]


def kept(record: Record, query: ListQuery) -> bool:
    """Whether a record passes the filters, said as simply as can be."""
    return (
        query.contains in record.key
        and (not query.glob or Rule(query.glob).matches(f"/{record.key}"))
        and (not query.content_type or record.content_type == query.content_type)
        and (not query.md5 or record.md5 == query.md5)
        and (query.size_min is None or record.size >= query.size_min)
        and (query.size_max is None or record.size <= query.size_max)
        and (query.ts_min is None or record.ts >= query.ts_min)
        and (query.ts_max is None or record.ts <= query.ts_max)
    )


def wanted(records: dict[str, Record], query: ListQuery) -> list[tuple[str, str]]:
    listed = model(set(records), query.vfolder, query.prefix, query.recursive)
    if query.descending:
        listed = sorted(listed, key=lambda entry: (entry[0] == "f", entry[1].encode()), reverse=True)
    return [(kind, name) for kind, name in listed if kind == "f" or kept(records[name], query)]


@st.composite
def queries(draw: st.DrawFn, keys: set[str]) -> ListQuery:
    some = sorted(keys)
    piece = st.sampled_from(some).flatmap(lambda key: st.integers(0, 3).map(lambda start: key[start : start + 4]))
    folders = sorted({vfolder_of(key) for key in keys})
    return ListQuery(
        vfolder=draw(st.one_of(st.none(), st.sampled_from(["", *folders]))),
        recursive=draw(st.booleans()),
        prefix=draw(st.one_of(st.just(""), st.sampled_from(some).map(lambda key: key[:2]))),
        contains=draw(st.one_of(st.just(""), piece)),
        glob=draw(st.one_of(st.just(""), piece.map(lambda text: f"*{text}*"), st.sampled_from(["*", "**", "?", "/*"]))),
        content_type=draw(st.sampled_from(["", "", *TYPES])),
        md5=draw(st.sampled_from(["", "", f"{1:032x}"])),
        size_min=draw(st.sampled_from([None, None, 1])),
        size_max=draw(st.sampled_from([None, None, 2])),
        ts_min=draw(st.sampled_from([None, None, 1.0])),
        ts_max=draw(st.sampled_from([None, None, 1.0])),
        limit=draw(st.integers(1, 5)),
        descending=draw(st.booleans()),
    )


LONG = st.text(st.sampled_from('abc/-%_\\"é'), min_size=3, max_size=9)


@settings(max_examples=40, deadline=None, suppress_health_check=TOLERATED)
@given(
    keys=st.one_of(KEYS, st.sets(LONG, min_size=3, max_size=25)), budget=st.sampled_from([1, 3, 5000]), data=st.data()
)
def test_every_listing_equals_the_model(
    engine: str, places: Callable[[], str], keys: set[str], budget: int, data: st.DataObject
) -> None:
    async def compare() -> None:
        index = FACTORIES[engine](places())
        await index.open()
        for bucket in (BUCKET, OTHER):
            await index.buckets.create(bucket, NOW)
        made = await asyncio.gather(*(put(index, number, key) for number, key in enumerate(sorted(keys))))
        await asyncio.gather(*(put(index, number, key, OTHER) for number, key in enumerate(sorted(keys)[:5])))
        index.listings.budget = budget
        records = {record.key: record for record in made}
        for _ in range(12):
            query = data.draw(queries(keys))
            assert await entries(index, query) == wanted(records, query)
        assert await index.usage_drift() == []
        await index.close()

    asyncio.run(compare())


async def test_a_filter_that_finds_nothing_gives_up_and_says_where(index: SqlIndex) -> None:
    index.listings.budget = 10
    for number in range(25):
        await put(index, number, f"k{number:02}")
    found = await pages(index, ListQuery(content_type="video/mp4"))
    assert [len(page.keys) for page in found] == [0, 0, 0]
    found = await pages(index, ListQuery(content_type="text/plain", limit=4))
    assert [len(page.keys) for page in found] == [4, 4, 4, 1]


async def test_an_index_of_names_finds_in_one_request_what_walking_does_not(index: SqlIndex) -> None:
    index.listings.budget = 5
    for number in range(30):
        await put(index, number, f"folder/picture-{number:02}.jpeg")
    await put(index, 99, "folder/zebra.jpeg")
    for query in (ListQuery(vfolder="folder", contains="zebr"), ListQuery(recursive=True, glob="zebra.*")):
        page = await index.keys.listing(BUCKET, query)
        assert ([record.key for record in page.keys], page.cursor) == (["folder/zebra.jpeg"], None)
    page = await index.keys.listing(BUCKET, ListQuery(recursive=True, contains="icture-2", limit=3))
    assert page.cursor is not None, "more than the budget match: they are walked over"


async def test_names_follow_their_keys(index: SqlIndex) -> None:
    index.listings.budget = 1
    await put(index, 1, "aaa/first")
    await put(index, 2, "bbb/zebra")
    await put(index, 3, "bbb/zebra")
    await index.keys.delete(BUCKET, "bbb/zebra", NOW)
    assert await entries(index, ListQuery(recursive=True, contains="zebra")) == []
    await put(index, 4, "ccc/zebra")
    page = await index.keys.listing(BUCKET, ListQuery(recursive=True, contains="zebra"))
    assert [record.key for record in page.keys] == ["ccc/zebra"]


async def test_a_folder_holds_what_is_below_it(index: SqlIndex) -> None:
    for number, key in enumerate(sorted(NASTY_KEYS.values())):
        await put(index, number, key)
    records = [record for page in await pages(index, ListQuery(vfolder=None)) for record in page.keys]
    for folder in {"", *(above for record in records for above in folders_above(record.vfolder))}:
        inside = [record for record in records if not folder or folder in folders_above(record.vfolder)]
        found = await index.keys.usage(BUCKET, folder, 1000, None)
        assert found is not None
        assert (found.folder.size, found.folder.keyamount) == (sum(record.size for record in inside), len(inside))
        below = {above for record in inside for above in folders_above(record.vfolder)}
        direct = sorted((each for each in below if parent_folder(each)[0] == folder), key=str.encode)
        assert [each.vfolder for each in found.vfolders] == direct
    assert await index.keys.usage(BUCKET, "no/such/folder", 10, None) is None


async def test_usage_of_folders_comes_in_pages(index: SqlIndex) -> None:
    for number, key in enumerate(["a/1", "b/1", "b/2", "c/d/1"]):
        await put(index, number, key)
    first = await index.keys.usage(BUCKET, "", 2, None)
    assert first is not None
    assert [(each.vfolder, each.keyamount) for each in first.vfolders] == [("a", 1), ("b", 2)]
    second = await index.keys.usage(BUCKET, "", 2, first.cursor)
    assert second is not None
    assert [(each.vfolder, each.keyamount) for each in second.vfolders] == [("c", 1)]
    assert second.cursor is None
    with pytest.raises(InvalidCursor):
        await index.keys.usage(BUCKET, "c", 2, first.cursor)


async def test_a_folder_goes_with_its_last_key_and_follows_sizes(index: SqlIndex) -> None:
    await land(index, "1", "a/b/k", 10)
    await land(index, "2", "a/b/k", 25)
    await land(index, "3", "a/l", 1)
    held = await index.keys.usage(BUCKET, "a", 10, None)
    assert held is not None
    assert (held.folder.size, held.vfolders[0].size) == (26, 25)
    await index.keys.delete(BUCKET, "a/b/k", NOW)
    assert await index.keys.usage(BUCKET, "a/b", 10, None) is None
    assert (await index.keys.listing(BUCKET, ListQuery(vfolder="a"))).vfolders == ()


async def test_drift_of_a_folder_is_seen_and_the_tree_can_be_made_anew(factory: Callable[[], SqlIndex]) -> None:
    index = factory()
    await index.open()
    await index.buckets.create(BUCKET, NOW)
    for number, key in enumerate(["a/b/c/1", "a/b/2", "a-b/3", "/x/y/4", "5"]):
        await put(index, number, key)
    tree = index._folder_statements._folders
    await index._db.write(lambda conn: conn.execute(tree.update().where(tree.c.name == "b").values(size=99)))
    assert await index.usage_drift() == [str(BUCKET)]
    await index._db.write(index._folder_statements.rebuild)
    assert await index.usage_drift() == []
    await index._db.write(lambda conn: conn.execute(tree.delete().where(tree.c.name == "c")))
    assert await index.usage_drift() == [str(BUCKET)]
    await index._db.write(index._folder_statements.rebuild)
    await index.close()


async def test_without_the_extension_search_walks(postgres: Postgres) -> None:
    url = postgres.fresh()
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"CREATE ROLE role_{name} LOGIN PASSWORD 'secret'")
        connection.execute(f"REVOKE CREATE ON DATABASE {name} FROM PUBLIC")
        for area in ("CephStorageGeneral", "CephStorageIndex", "CephStorageConfiguration", "CephStorageMonitor"):
            connection.execute(f'CREATE SCHEMA "{area}" AUTHORIZATION role_{name}')
    restricted = url.replace(url.split("://")[1].split("@")[0], f"role_{name}:secret")
    index = FACTORIES["postgresql"](restricted)
    assert isinstance(index, PostgresIndex)
    await index.open()
    await index.buckets.create(BUCKET, NOW)
    index.listings.budget = 2
    for number in range(6):
        await put(index, number, f"name-{number}")
    assert await entries(index, ListQuery(contains="name-5")) == [("k", "name-5")]
    assert len(await pages(index, ListQuery(contains="name-5"))) > 1
    assert not index.names.present
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    await index.database.alone(create_names)
    await index.close()
    again = FACTORIES["postgresql"](restricted)
    await again.open()
    again.listings.budget = 2
    assert len(await pages(again, ListQuery(contains="name-5"))) == 1
    await again.close()


async def test_an_index_of_names_that_names_other_rows_is_made_anew(tmp_path: Path) -> None:
    """VACUUM may number rows anew; here they are numbered anew by hand."""
    index = SqliteIndex(tmp_path / "cephstorage.db")
    await index.open()
    await index.buckets.create(BUCKET, NOW)
    for number, name in enumerate(["alpha", "beta", "gamma"]):
        await put(index, number, name)
    await index.close()
    with contextlib.closing(sqlite.connect(str(tmp_path / "cephstorage.db"))) as connection:
        connection.execute('UPDATE "CephStorageIndex_keys" SET rowid = 10 - rowid')
        connection.commit()
    await index.open()
    index.listings.budget = 1
    assert [record.key for record in (await index.keys.listing(BUCKET, ListQuery(contains="gamma"))).keys] == ["gamma"]
    assert await entries(index, ListQuery(contains="beta")) == [("k", "beta")]
    await index.close()


async def test_the_index_of_names_is_not_taken_for_keys_by_name(postgres: Postgres) -> None:
    """Trigrams answer ``key = ...``, too, and planners took them for long lists of keys: seconds instead of milliseconds."""
    url = postgres.fresh()
    index = FACTORIES["postgresql"](url)
    await index.open()
    await index.close()
    with psycopg.connect(url) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off")
        plan = str(
            connection.execute(
                """EXPLAIN SELECT 1 FROM "CephStorageIndex".keys WHERE key IN ('abc', 'abcd')"""
            ).fetchall()
        )
    assert re.search(r"keys_\d\d_(key|expr)_idx", plan) is None


async def archive(index: SqlIndex, names: list[str]) -> None:
    """Many keys, and what ANALYZE learns of them."""
    assert isinstance(index, PostgresIndex)
    await index.buckets.create(BUCKET, NOW)
    made = await put(index, 0, "x")
    await index.adoption.adopt(BUCKET, [replace(made, key=name, store_version=name) for name in names])
    with psycopg.connect(index._options.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


@settings(  # without a search for the smallest example that fails: each takes a database
    max_examples=5, deadline=None, suppress_health_check=TOLERATED, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
@given(numbers=st.sets(st.integers(0, 9999), min_size=60, max_size=200), data=st.data())
def test_rare_parts_of_texts_find_what_the_texts_do(postgres: Postgres, numbers: set[int], data: st.DataObject) -> None:
    names = [f"pool/lib{each:04}/{'Lib' if each % 2 else 'lib'}{each:04}-1.{each % 7}" for each in sorted(numbers)]
    piece = st.builds(
        lambda name, start, length, end: name[start : start + length] + end,
        st.sampled_from(names), st.integers(0, 20), st.integers(3, 12), st.sampled_from(["", "", "7", "/l", "%"]),
    )  # fmt: skip
    sought = data.draw(st.lists(st.lists(piece, min_size=1, max_size=2), min_size=30, max_size=30))

    async def compare() -> None:
        index = FACTORIES["postgresql"](postgres.fresh())
        assert isinstance(index, PostgresIndex)
        await index.open()
        try:
            await archive(index, names)
            assert "lib" in (await index.database.read(index.names.frequent, str(BUCKET)) or ())
            for texts in sought:
                span = Span(str(BUCKET), None, "", None)
                found = await index.database.read(index.names.find, span, Names(tuple(texts)), 1000)
                assert found is not None
                assert sorted(found) == sorted(name for name in names if all(text in name for text in texts))
                page = await index.keys.listing(BUCKET, ListQuery(recursive=True, contains=texts[0], limit=1000))
                assert [record.key for record in page.keys] == [name for name in ["x", *names] if texts[0] in name]
        finally:
            await index.close()

    asyncio.run(compare())


async def test_where_rare_parts_find_too_much_the_whole_text_is_tried(postgres: Postgres) -> None:
    index = FACTORIES["postgresql"](postgres.fresh())
    assert isinstance(index, PostgresIndex)
    await index.open()
    whole = [f"libzz7/{number}" for number in range(3)]
    await archive(
        index, [*whole, *(f"l/ib/{number:04}zz7" for number in range(40)), *(f"lib{n:04}" for n in range(2000))]
    )
    frequent = await index.database.read(index.names.frequent, str(BUCKET))
    assert frequent is not None
    assert rare_parts(Names(("libzz7",)), frequent | {"ibz", "bzz"}) == Names(("zz7",))
    index.names._frequent[str(BUCKET)] = (math.inf, frequent | {"ibz", "bzz"})
    found = await index.database.read(index.names.find, Span(str(BUCKET), None, "", None), Names(("libzz7",)), 10)
    assert sorted(found or ()) == whole
    await index.close()


async def test_what_is_frequent_is_asked_again_after_a_while(postgres: Postgres) -> None:
    index = FACTORIES["postgresql"](postgres.fresh())
    assert isinstance(index, PostgresIndex)
    now = [0.0]
    names = PostgresNames(lambda: now[0])
    await index.open()
    assert await index.database.read(names.frequent, str(BUCKET)) is None
    await archive(index, [f"zebra-{number}" for number in range(200)])
    assert await index.database.read(names.frequent, str(BUCKET)) is None
    now[0] = 601
    assert "zeb" in (await index.database.read(names.frequent, str(BUCKET)) or ())
    await index.close()


@pytest.mark.parametrize("descending", [False, True])
async def test_a_walk_reads_what_it_takes_and_not_the_whole_folder(postgres: Postgres, descending: bool) -> None:
    """A row value as the end of a span does not end a scan: 10,000 keys have 300 pages."""
    index = FACTORIES["postgresql"](postgres.fresh())
    assert isinstance(index, PostgresIndex)
    await index.open()
    await index.buckets.create(BUCKET, NOW)
    made = await put(index, 0, "folder/x")
    for start in range(0, 10_000, 2000):
        keys = [f"folder/key-{number:05}" for number in range(start, start + 2000)]
        await index.adoption.adopt(BUCKET, [replace(made, key=key, store_version=key) for key in keys])
    with psycopg.connect(index._options.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    span = Span(str(BUCKET), "folder", "folder/key-04000", "folder/key-06000", descending=descending)
    walk = index.listings._walk
    values = {**_values(span), "content_type": "none", "limit": 10, "take": 50}
    await index.database.alone(lambda conn: _assert_few_pages(conn, walk._statement("rows", span, values), values))
    await index.close()


@pytest.mark.parametrize("folder", [None, "folder"])
async def test_texts_in_names_are_looked_for_in_the_index_alone(postgres: Postgres, folder: str | None) -> None:
    """Where keys came in another order than that of their names, every row of a walk lies on another page."""
    index = FACTORIES["postgresql"](postgres.fresh())
    assert isinstance(index, PostgresIndex)
    await index.open()
    await archive(index, [f"folder/key-{number * 997 % 2000:04}" for number in range(2000)])
    span, walk = Span(str(BUCKET), folder, "folder/key-0400", None), index.listings._walk
    values = {**_values(span), "contains": "none", "limit": 10, "take": 200}
    await index.database.alone(lambda conn: _assert_few_pages(conn, walk._statement("rows", span, values), values))
    await index.close()


async def test_a_rare_text_is_looked_for_before_any_key_is_walked_over(postgres: Postgres) -> None:
    index = FACTORIES["postgresql"](postgres.fresh())
    await index.open()
    names = [f"pool/lib{number:04}" for number in range(2000)]
    await archive(index, names)
    with walks_seen() as walks:
        page = await index.keys.listing(BUCKET, ListQuery(recursive=True, contains="1996"))
        assert ([record.key for record in page.keys], walks) == (["pool/lib1996"], [])
        await index.keys.listing(BUCKET, ListQuery(recursive=True, contains="lib"))
        assert len(walks) == 1, "frequent texts fill a page sooner by walking"
        await index.keys.listing(BUCKET, ListQuery("pool", contains="1996"))
        assert len(walks) == 2, "in a folder all names may have what is rare elsewhere"
    await index.close()


@contextlib.contextmanager
def walks_seen() -> Iterator[list[str]]:
    """The statements that walk over keys."""
    seen: list[str] = []

    def look(_: Connection, __: object, statement: str, *___: object) -> None:
        if "taken" in statement:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", look)


def _assert_few_pages(conn: Connection, statement: Any, values: dict[str, object]) -> None:
    asked = statement.compile(dialect=conn.dialect, compile_kwargs={"render_postcompile": True})
    given = {**asked.params, **values}
    (plan,) = conn.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {asked}", given).scalar_one()
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 30

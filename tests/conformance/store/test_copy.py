"""The port ``Store``: copies of versions, for every adapter."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from cephstorage.domain.errors import StoredBytesMissing
from cephstorage.domain.records import attempt_of
from cephstorage.ports.store import Store, StoredObject, StoredVersion
from cephstorage.store.ceph.store import CephStore
from cephstorage.store.patient import PatientStore
from tests.conformance.store.conftest import BUCKET, OTHER
from tests.conformance.store.test_store import attempts, content, listed, planned, put
from tests.harness.content import MIB, Content
from tests.harness.names import NASTY_KEYS

BODY = b"bytes to be copied"


def named(version: StoredObject) -> StoredVersion:
    return StoredVersion(version.bucket, version.key, version.store_version)


async def copied(store: Store, source: StoredObject, target: StoredObject) -> StoredObject:
    return replace(target, store_version=await store.copy(named(source), target))


async def test_a_copy_has_the_bytes_and_what_is_said_of_it(store: Store, tmp_path: Path) -> None:
    await store.create_bucket(OTHER)
    source = await put(store, tmp_path, BODY, "a", timetag="1.0", content_type="text/plain")
    wish = planned(store, BODY, "b", OTHER, timetag="2.0", content_type="text/x-other")
    copy = await copied(store, source, replace(wish, custom=(("color", "blue"),)))
    assert await content(store, copy) == BODY
    assert attempt_of(copy.store_version) == wish.store_version
    assert await listed(store, OTHER) == [copy]
    await store.delete(BUCKET, "a", source.store_version)
    assert await content(store, copy) == BODY
    assert await listed(store) == []


async def test_nasty_keys_are_copied(store: Store, tmp_path: Path) -> None:
    for number, key in enumerate(NASTY_KEYS.values()):
        body = f"bytes {number}".encode()
        source = await put(store, tmp_path, body, key)
        copy = await copied(store, source, planned(store, body, f"target {number}"))
        back = await copied(store, copy, planned(store, body, key))
        assert (await content(store, copy), await content(store, back)) == (body, body), key


async def test_the_copy_is_of_the_version_that_was_named(store: Store, tmp_path: Path) -> None:
    old = await put(store, tmp_path, b"older bytes", "a")
    await put(store, tmp_path, b"newer bytes", "a")
    copy = await copied(store, old, planned(store, b"older bytes", "b"))
    assert await content(store, copy) == b"older bytes"


async def test_a_source_that_is_gone_is_missed_and_nothing_is_left(store: Store, tmp_path: Path) -> None:
    source = await put(store, tmp_path, BODY, "a")
    await put(store, tmp_path, b"another", "a")
    await store.delete(BUCKET, "a", source.store_version)
    with pytest.raises(StoredBytesMissing):
        await store.copy(named(source), planned(store, BODY, "b"))
    assert [found.key for found in await listed(store)] == ["a"]
    assert len(list((tmp_path / "objects").rglob("*.json"))) <= 1  # on disk: what lies beside the bytes


async def test_what_is_not_the_version_that_was_meant_is_not_kept(store: Store, tmp_path: Path) -> None:
    """Ceph's ``null`` version may be exchanged under its name; a file on disk may not."""
    source = await put(store, tmp_path, BODY, "a")
    other = replace(planned(store, BODY, "b"), md5="0" * 32)
    if isinstance(store._store if isinstance(store, PatientStore) else store, CephStore):
        with pytest.raises(StoredBytesMissing):
            await store.copy(named(source), other)
        assert [found.key for found in await listed(store)] == ["a"]
    else:
        assert await content(store, await copied(store, source, other)) == BODY


async def test_a_copy_may_be_repeated(store: Store, tmp_path: Path) -> None:
    source = await put(store, tmp_path, BODY, "a")
    wish = planned(store, BODY, "b")
    first = await store.copy(named(source), wish)
    assert await store.copy(named(source), wish) == first
    assert await store.holds(wish) == first
    assert [found.key for found in await attempts(store)] == ["a", "b"]


async def test_a_key_is_copied_onto_itself(store: Store, tmp_path: Path) -> None:
    source = await put(store, tmp_path, BODY, "a", timetag="1.0")
    copy = await copied(store, source, planned(store, BODY, "a", timetag="2.0"))
    assert await content(store, copy) == await content(store, source) == BODY


async def test_large_objects_are_copied_in_parts_of_the_one_version(store: Store, tmp_path: Path) -> None:
    ceph = store._store if isinstance(store, PatientStore) else store
    if isinstance(ceph, CephStore):
        ceph.writing.copied_whole, ceph.writing.copied_part = 6 * MIB, 5 * MIB
    body = Content(1, 12 * MIB).read()
    source = await put(store, tmp_path, body, "a")
    await put(store, tmp_path, b"newer", "a")
    notes: list[str] = []

    async def note(version: str) -> None:
        notes.append(version)

    wish = planned(store, body, "b")
    made = replace(wish, store_version=await store.copy(named(source), wish, note))
    assert hashlib.md5(await content(store, made)).hexdigest() == wish.md5
    assert len(notes) == isinstance(ceph, CephStore)

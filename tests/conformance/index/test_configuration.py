"""Buckets, mirrors, access tokens, settings, and the counter that tells of their changes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cephstorage.domain.access import AccessToken, Role
from cephstorage.domain.errors import AccessTokenNotFound, BucketNotEmpty, BucketNotFound, MirrorNotFound, OriginTimeout
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import Mode, Policy, Query, Rule
from cephstorage.domain.presets import preset_rules
from cephstorage.domain.records import Bucket
from cephstorage.index import SqlIndex
from tests.conformance.index.conftest import BUCKET, NOW, OTHER, begin, land

TOKEN = AccessToken("t1", Role.TENANT, "alice", "laptop", 5.0, 9.5)
MIRROR = Mirror("deb.example", BUCKET, "http://origin.example", private=True, created_at=3.0)


async def test_a_bucket_is_made_once_and_starts_empty(index: SqlIndex) -> None:
    assert await index.buckets.create(OTHER, NOW)
    assert not await index.buckets.create(OTHER, NOW + 1)
    assert await index.buckets.get(OTHER) == Bucket(OTHER, 0, 0, NOW)


async def test_buckets_are_listed_by_tenant_and_name(index: SqlIndex) -> None:
    for name in ("zoo", "art"):
        await index.buckets.create(BucketName("alice", name), NOW)
    await index.buckets.create(OTHER, NOW)
    assert [bucket.name.bucketname for bucket in await index.buckets.of_tenant("alice")] == ["art", "photos", "zoo"]
    assert await index.buckets.of_tenant("nobody") == []


async def test_an_empty_bucket_can_be_deleted_and_made_again(index: SqlIndex) -> None:
    await index.buckets.delete(BUCKET)
    for attempt in (index.buckets.get(BUCKET), index.buckets.delete(BUCKET)):
        with pytest.raises(BucketNotFound):
            await attempt
    assert await index.buckets.create(BUCKET, NOW)


async def test_a_bucket_in_use_is_not_deleted(index: SqlIndex) -> None:
    await land(index, "1")
    with pytest.raises(BucketNotEmpty, match="keys"):
        await index.buckets.delete(BUCKET)
    await index.keys.delete(BUCKET, "k", NOW)
    lease = await begin(index, "2")
    with pytest.raises(BucketNotEmpty, match="transfers"):
        await index.buckets.delete(BUCKET)
    await index.transfers.fail(lease, NOW, OriginTimeout("x"))
    await index.mirrors.put(MIRROR)
    with pytest.raises(BucketNotEmpty, match="mirrors"):
        await index.buckets.delete(BUCKET)
    await index.mirrors.delete(MIRROR.host)
    await index.buckets.delete(BUCKET)


async def test_mirrors_are_kept_whole_and_replaced_by_host(index: SqlIndex) -> None:
    defaults, rules = preset_rules("pypi", "https://files.example")
    rules = (*rules, Rule("/x", Mode.DENY, 1.5, Query.LISTED, ("a", "b"), None, ("Accept",), None, None))
    full = Mirror("pypi.example", BUCKET, "https://pypi.example", defaults, rules, preset="pypi")
    await index.mirrors.put(full)
    await index.mirrors.put(MIRROR)
    assert await index.mirrors.all() == [MIRROR, full]
    changed = Mirror(MIRROR.host, BUCKET, "http://else.example", Policy(Mode.BYPASS))
    await index.mirrors.put(changed)
    assert await index.mirrors.all() == [changed, full]


async def test_a_mirror_needs_its_bucket_and_a_known_host(index: SqlIndex) -> None:
    with pytest.raises(BucketNotFound):
        await index.mirrors.put(Mirror("x.example", OTHER, "http://o.example"))
    with pytest.raises(MirrorNotFound):
        await index.mirrors.delete("x.example")


async def test_tokens_are_found_by_the_hash_of_their_secret_only(index: SqlIndex) -> None:
    admin = AccessToken("t0", Role.ADMIN, None, "", 6.0, None)
    await index.tokens.put(TOKEN, "hash-1")
    await index.tokens.put(admin, "hash-0")
    assert await index.tokens.by_hash("hash-1") == TOKEN
    assert await index.tokens.by_hash("t1") is None
    assert await index.tokens.all() == [TOKEN, admin]
    await index.tokens.put(TOKEN, "hash-2")
    assert await index.tokens.by_hash("hash-1") is None
    await index.tokens.delete("t1")
    assert await index.tokens.by_hash("hash-2") is None
    with pytest.raises(AccessTokenNotFound):
        await index.tokens.delete("t1")


async def test_settings_are_set_once_or_replaced(index: SqlIndex) -> None:
    assert await index.settings.get("secret") is None
    assert await index.settings.put("secret", "a", only_if_absent=True) == "a"
    assert await index.settings.put("secret", "b", only_if_absent=True) == "a"
    assert await index.settings.put("secret", "c") == "c"
    assert await index.settings.get("secret") == "c"


async def test_settings_are_changed_together(index: SqlIndex) -> None:
    await index.settings.put("old", "x")
    version = await index.settings.version()
    assert await index.settings.change({"old": None, "a": "1", "b": "2", "never": None}, version)
    assert await index.settings.all() == {"a": "1", "b": "2"}
    assert await index.settings.version() == version + 1
    assert await index.settings.change({"a": "3"}, version + 1)
    assert await index.settings.get("a") == "3"


async def test_settings_are_left_alone_when_something_changed_since(index: SqlIndex) -> None:
    version = await index.settings.version()
    await index.settings.put("a", "1")
    assert not await index.settings.change({"a": "2", "b": "2"}, version)
    assert await index.settings.all() == {"a": "1"}
    assert await index.settings.version() == version + 1


async def test_of_changes_at_the_same_time_one_wins(index: SqlIndex, factory: Callable[[], SqlIndex]) -> None:
    elsewhere = factory()
    await elsewhere.open()
    version = await index.settings.version()
    sides = [index, elsewhere] * 4
    won = await asyncio.gather(*(side.settings.change({"a": str(n)}, version) for n, side in enumerate(sides)))
    await elsewhere.close()
    assert won.count(True) == 1
    assert await index.settings.get("a") == str(won.index(True))


async def change_settings(index: SqlIndex) -> None:
    assert await index.settings.change({"a": "b"}, await index.settings.version())


CHANGES: dict[str, Callable[[SqlIndex], Awaitable[object]]] = {
    "mirror put": lambda index: index.mirrors.put(MIRROR),
    "mirror deleted": lambda index: index.mirrors.delete("old.example"),
    "token put": lambda index: index.tokens.put(TOKEN, "hash"),
    "token deleted": lambda index: index.tokens.delete("old"),
    "setting put": lambda index: index.settings.put("a", "b"),
    "settings changed": change_settings,
}


@pytest.mark.parametrize("change", sorted(CHANGES))
async def test_every_change_is_seen_by_the_counter_everywhere(
    index: SqlIndex, factory: Callable[[], SqlIndex], change: str
) -> None:
    await index.mirrors.put(Mirror("old.example", BUCKET, "http://o.example"))
    await index.tokens.put(AccessToken("old", Role.ADMIN, None, "", 0.0, None), "old-hash")
    elsewhere = factory()
    await elsewhere.open()
    before = await elsewhere.settings.version()
    await CHANGES[change](index)
    assert await elsewhere.settings.version() > before
    await elsewhere.close()


async def test_what_changes_nothing_does_not_count(index: SqlIndex) -> None:
    await index.settings.put("a", "b")
    before = await index.settings.version()
    await index.settings.put("a", "c", only_if_absent=True)
    with pytest.raises(MirrorNotFound):
        await index.mirrors.delete("nobody.example")
    await land(index, "1")
    assert await index.settings.version() == before


async def test_check_is_one_line(index: SqlIndex) -> None:
    line = await index.check()
    assert line
    assert "\n" not in line

"""Secrets at rest: what opens them, what does not, and how a key is replaced."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cephstorage.domain.errors import SecretKeyWrong
from cephstorage.index import SqliteIndex
from cephstorage.services.sealing import Seal, SealedSettings

OLD, NEW = "old" * 12, "new" * 12
SECRET = "rgw-secret"


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    opened = SqliteIndex(tmp_path / "index.db")
    await opened.open()
    yield opened
    await opened.close()


def test_what_is_sealed_opens_and_does_not_show() -> None:
    for text in ("", SECRET, "é" * 1000):
        kept = Seal([OLD]).seal("a", text)
        assert Seal([OLD]).open("a", kept) == text
        assert not text or text not in kept
    assert Seal([OLD]).seal("a", SECRET) != Seal([OLD]).seal("a", SECRET)


def test_a_plain_value_is_taken_as_it_is() -> None:
    assert Seal([OLD]).open("a", "ab12" * 16) == "ab12" * 16


def test_another_key_another_name_or_another_bit_does_not_open() -> None:
    kept = Seal([OLD]).seal("a", SECRET)
    assert Seal([NEW, OLD]).open("a", kept) == SECRET
    for seal, name, value in (
        (Seal([NEW]), "a", kept),
        (Seal([OLD]), "b", kept),
        (Seal([OLD]), "a", kept[:-4] + ("AAAA" if kept[-4:] != "AAAA" else "BBBB")),
        (Seal([OLD]), "a", kept[: kept.rindex(":") + 5]),
    ):
        with pytest.raises(SecretKeyWrong, match="CEPHSTORAGE_SECRET_KEY") as refused:
            seal.open(name, value)
        assert f"setting {name} " in refused.value.msg
        assert not any(secret in refused.value.msg for secret in (OLD, NEW, SECRET))


async def test_a_secret_is_made_once_for_all_processes(index: SqliteIndex) -> None:
    here, there = (SealedSettings(index.settings, Seal([OLD])) for _ in range(2))
    made = await here.made("signing_key")
    assert await there.made("signing_key") == made
    kept = await index.settings.get("signing_key")
    assert kept is not None
    assert made not in kept
    replaced = await there.replace("signing_key")
    assert replaced != made
    assert await here.made("signing_key") == replaced


async def test_plain_and_older_secrets_are_sealed_anew_with_the_first_key(index: SqliteIndex) -> None:
    await index.settings.put("signing_key", "plain")
    await index.settings.put("public_address", "https://files.example.org")
    await index.settings.put("ceph_secret_key", Seal([OLD]).seal("ceph_secret_key", SECRET))
    renewing = SealedSettings(index.settings, Seal([NEW, OLD]))
    assert await renewing.renew(["signing_key", "edge_secret"]) == ["ceph_secret_key", "signing_key"]
    alone = SealedSettings(index.settings, Seal([NEW]))
    assert await alone.made("signing_key") == "plain"
    assert await alone.made("ceph_secret_key") == SECRET
    assert await index.settings.get("public_address") == "https://files.example.org"
    version = await index.settings.version()
    assert await alone.renew(["signing_key"]) == []
    assert await index.settings.version() == version


async def test_what_does_not_open_stays_as_it_is_until_it_is_given_up(index: SqliteIndex) -> None:
    await index.settings.put("ceph_secret_key", Seal([OLD]).seal("ceph_secret_key", SECRET))
    await index.settings.put("signing_key", "plain")
    before = await index.settings.all()
    stranger = SealedSettings(index.settings, Seal([NEW]))
    with pytest.raises(SecretKeyWrong, match="ceph_secret_key"):
        await stranger.renew(["signing_key"])
    assert await index.settings.all() == before
    assert await stranger.forget_sealed() == ["ceph_secret_key"]
    assert await index.settings.all() == {"signing_key": "plain"}

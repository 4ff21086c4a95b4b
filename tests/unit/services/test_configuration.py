"""The configuration: what wins, what is refused, and that a change is taken over whole or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cephstorage.domain.configuration import OPTIONS, Source, Values
from cephstorage.domain.errors import InvalidSetting, SecretKeyWrong, SettingFixed, SettingUntenable, Unavailable
from cephstorage.index import SqliteIndex
from cephstorage.services.configuration import Configuration
from cephstorage.services.sealing import Seal, SealedSettings

KEY, OTHER_KEY = "k" * 32, "o" * 32
SECRET = "rgw-secret"


class Recorder:
    """A follower that notes what it was given, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.tried: list[tuple[frozenset[str], bool]] = []
        self.in_place: list[Values] = []
        self.untenable: set[str] = set()
        self.unprepared: set[str] = set()

    async def try_out(self, values: Values, changed: frozenset[str], *, ask: bool) -> str | None:
        self.tried.append((changed, ask))
        if values["ceph_gateway"] in self.untenable:
            raise SettingUntenable("ceph_gateway: it does not answer.")
        return "seen" if ask else None

    async def prepare(self, values: Values) -> Callable[[], None]:
        if values["download_path"] in self.unprepared:
            raise SettingUntenable("download_path: not here.")
        return lambda: self.in_place.append(dict(values))


class House:
    """Configurations of several processes over one database."""

    def __init__(self, index: SqliteIndex) -> None:
        self.table = index.settings

    def process(
        self, environment: Values | None = None, *, key: str = KEY, on_ceph: bool = True
    ) -> tuple[Configuration, Recorder]:
        follower = Recorder()
        sealed = SealedSettings(self.table, Seal([key]))
        return Configuration(self.table, sealed, environment or {}, follower, on_ceph=on_ceph), follower


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    index = SqliteIndex(tmp_path / "index.db")
    await index.open()
    yield House(index)
    await index.close()


def source(configuration: Configuration, name: str) -> Source:
    return next(shown.source for shown in configuration.shown() if shown.option.name == name)


async def test_environment_before_database_before_default(house: House) -> None:
    configuration, _ = house.process({"ceph_region": "from-env"})
    elsewhere, _ = house.process()
    await elsewhere.change({"ceph_region": "from-db", "public_address": "http://db"}, probe=True)
    await configuration.refresh()
    named = ("ceph_region", "public_address", "publish_by")
    assert [configuration[name] for name in named] == ["from-env", "http://db", "edge"]
    assert [source(configuration, name) for name in named] == [Source.ENVIRONMENT, Source.DATABASE, Source.DEFAULT]


async def test_a_change_is_in_force_here_at_once_and_elsewhere_at_the_next_refresh(house: House) -> None:
    here, following = house.process()
    there, also_following = house.process()
    await there.refresh()
    assert await here.change({"public_address": "http://new/", "ceph_secret_key": SECRET}, probe=True) == "seen"
    assert (here["public_address"], here["ceph_secret_key"]) == ("http://new", SECRET)
    assert there["public_address"] == ""
    await there.refresh()
    assert there.values == here.values
    assert following.in_place == [here.values]
    assert [values["public_address"] for values in also_following.in_place] == ["", "http://new"]
    await there.refresh()
    assert len(also_following.in_place) == 2


async def test_null_takes_a_value_back(house: House) -> None:
    configuration, _ = house.process()
    await configuration.change({"publish_by": "edge", "public_address": "http://new"}, probe=True)
    await configuration.change({"public_address": None, "ceph_gateway": None}, probe=True)
    assert configuration["public_address"] == ""
    assert await house.table.all() == {"publish_by": "edge"}


async def test_secrets_are_sealed_and_never_shown(house: House) -> None:
    configuration, _ = house.process()
    await configuration.change({"ceph_secret_key": SECRET}, probe=True)
    kept = await house.table.get("ceph_secret_key")
    assert kept is not None
    assert SECRET not in kept
    shown = {shown.option.name: shown for shown in configuration.shown()}
    assert (shown["ceph_secret_key"].given, shown["ceph_secret_key"].value) == (True, None)
    assert SECRET not in repr(configuration.shown())
    assert {name for name, known in OPTIONS.items() if known.secret} == {"ceph_secret_key"}


@pytest.mark.parametrize(
    ("wishes", "error", "said"),
    [
        ({"public_address": "http://new", "nothing": "x"}, InvalidSetting, "nothing"),
        ({"public_address": "http://new", "ceph_gateway": "x"}, InvalidSetting, "ceph_gateway"),
        ({"public_address": "http://new", "ceph_region": "x"}, SettingFixed, "CEPHSTORAGE_CEPH_REGION"),
        ({"public_address": "http://new", "ceph_region": None}, SettingFixed, "CEPHSTORAGE_CEPH_REGION"),
        ({"public_address": "http://new", "publish_by": "rgw"}, InvalidSetting, "ceph_public_address"),
        ({"public_address": "http://new", "ceph_gateway": "http://dead"}, SettingUntenable, "ceph_gateway"),
    ],
)
async def test_what_is_refused_changes_nothing(
    house: House, wishes: dict[str, str | None], error: type[Exception], said: str
) -> None:
    configuration, following = house.process({"ceph_region": "fixed"})
    following.untenable = {"http://dead"}
    await configuration.refresh()
    before = dict(configuration.values)
    with pytest.raises(error, match=said):
        await configuration.change(wishes, probe=True)
    assert (configuration.values, await house.table.all()) == (before, {})
    assert len(following.in_place) == 1


async def test_what_others_need_can_not_be_taken_away(house: House) -> None:
    configuration, _ = house.process()
    await configuration.change({"publish_by": "rgw", "ceph_public_address": "http://s3"}, probe=True)
    with pytest.raises(InvalidSetting, match="ceph_public_address"):
        await configuration.change({"ceph_public_address": None}, probe=True)
    await configuration.change({"ceph_public_address": None, "publish_by": None}, probe=True)


async def test_changes_at_the_same_time_are_checked_together(house: House) -> None:
    here, _ = house.process()
    there, _ = house.process()
    await here.change({"ceph_public_address": "http://s3"}, probe=True)
    await there.refresh()
    outcomes = await asyncio.gather(
        here.change({"publish_by": "rgw"}, probe=True),
        there.change({"ceph_public_address": None}, probe=True),
        return_exceptions=True,
    )
    assert [isinstance(outcome, InvalidSetting) for outcome in outcomes].count(True) == 1
    kept = await house.table.all()
    assert kept in ({"ceph_public_address": "http://s3", "publish_by": "rgw"}, {})


async def test_the_trial_is_told_what_changes_and_whether_to_ask(house: House) -> None:
    configuration, following = house.process()
    await configuration.change({"ceph_gateway": "http://rgw", "ceph_region": "default"}, probe=False)
    assert following.tried == [(frozenset({"ceph_gateway"}), False)]


async def test_what_can_not_be_prepared_leaves_the_old_values_in_force(house: House) -> None:
    here, _ = house.process()
    there, following = house.process()
    following.unprepared = {"/elsewhere"}
    await there.refresh()
    await here.change({"download_path": "/elsewhere", "public_address": "http://new"}, probe=True)
    for _ in range(2):
        with pytest.raises(SettingUntenable, match="download_path"):
            await there.refresh()
        with pytest.raises(SettingUntenable, match="download_path"):
            await there.check()
    assert (there["public_address"], len(following.in_place)) == ("", 1)
    following.unprepared = set()
    await there.refresh()
    assert (there["public_address"], len(following.in_place)) == ("http://new", 2)
    assert "2 from the database" in await there.check()


async def test_a_secret_that_does_not_open_can_be_set_anew(house: House) -> None:
    theirs, _ = house.process(key=OTHER_KEY)
    await theirs.change({"ceph_secret_key": SECRET}, probe=True)
    ours, _ = house.process()
    with pytest.raises(SecretKeyWrong):
        await ours.refresh()
    with pytest.raises(SecretKeyWrong):
        await ours.change({"public_address": "http://new"}, probe=True)
    await ours.change({"ceph_secret_key": "anew"}, probe=True)
    assert ours["ceph_secret_key"] == "anew"


async def test_a_kept_secret_that_the_environment_fixes_need_not_open(house: House) -> None:
    theirs, _ = house.process(key=OTHER_KEY)
    await theirs.change({"ceph_secret_key": SECRET}, probe=True)
    ours, _ = house.process({"ceph_secret_key": "ours"})
    await ours.refresh()
    assert ours["ceph_secret_key"] == "ours"


async def test_a_database_that_is_gone_is_no_fault_of_the_values(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "index.db")
    await index.open()
    configuration, _ = House(index).process()
    await configuration.refresh()
    await index.close()
    with pytest.raises(Unavailable):
        await configuration.refresh()
    await configuration.check()

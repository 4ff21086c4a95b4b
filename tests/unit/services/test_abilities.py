"""Several processes and one gateway: who tries it, what the others learn, and what a gateway in trouble does to them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cephstorage.domain.abilities import ABILITIES_SETTING, LONGEST_TRY, Abilities, Ability, Claim, parse
from cephstorage.domain.errors import CephStorageError, StoreMisconfigured, StoreUnavailable
from cephstorage.index import SqliteIndex
from cephstorage.services.abilities import StoreAbilities

RGW = "http://rgw"
FOUND = [Ability("versions", True, "bad"), Ability("listing", False, "slow", needed=False)]
LACKING = [Ability("versions", False, "see rgw_some_setting")]


class Gateway:
    """Counts how often it is tried. Everything that processes ask goes through one of these."""

    def __init__(self) -> None:
        self.address, self.name = RGW, ""
        self.found, self.tries = FOUND, 0
        self.trouble: CephStorageError | None = None
        self.holds = asyncio.Event()
        self.holds.set()

    async def release(self) -> str:
        return self.name

    async def abilities(self) -> list[Ability]:
        self.tries += 1
        await self.holds.wait()
        if self.trouble is not None:
            raise self.trouble
        return self.found


class House:
    """Processes over one database, and the time."""

    def __init__(self, index: SqliteIndex) -> None:
        self.table, self.gateway, self.now = index.settings, Gateway(), 1_000_000.0
        self.processes: list[StoreAbilities] = []

    def process(self, gateway: Gateway | None = None) -> StoreAbilities:
        asked, owner = gateway or self.gateway, f"process-{len(self.processes)}"
        made = StoreAbilities(self.table, lambda: asked.address, asked, owner, lambda: self.now)
        self.processes.append(made)
        made.start()
        return made

    async def said(self, process: StoreAbilities, wanted: str) -> None:
        """Until it says so; the database is looked at as ``ChangeWatch`` would."""
        await self._until(process, lambda said: said == wanted)

    async def complained(self, process: StoreAbilities, wanted: str) -> None:
        """Until it is not ready and says why."""
        await self._until(process, lambda said: said.startswith("not ready: ") and wanted in said)

    async def _until(self, process: StoreAbilities, wanted: Callable[[str], bool]) -> None:
        said = ""
        async with asyncio.timeout(30):
            while not wanted(said):
                await process.refresh()
                await asyncio.sleep(0.001)
                try:
                    said = await process.check()
                except StoreMisconfigured as error:
                    said = f"not ready: {error.msg}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    index = SqliteIndex(tmp_path / "index.db")
    await index.open()
    made = House(index)
    yield made
    for process in made.processes:
        await process.stop()
    await index.close()


async def test_one_process_tries_and_the_others_learn(house: House) -> None:
    house.gateway.holds.clear()
    first, second = house.process(), house.process()
    async with asyncio.timeout(30):
        while not house.gateway.tries:  # noqa: ASYNC110 - the process has a task of its own
            await asyncio.sleep(0)
    assert await second.check() == "not tried yet"
    house.gateway.holds.set()
    for process in (first, second, house.process()):
        await house.said(process, "versions; not listing")
    assert house.gateway.tries == 1


@pytest.mark.parametrize("change", ["address", "name", "time"])
async def test_it_is_tried_again_when_it_may_be_another_one(house: House, change: str) -> None:
    await house.said(house.process(), "versions; not listing")
    house.gateway.found = FOUND[:1]
    match change:
        case "address":
            house.gateway.address = "http://other"
        case "name":
            house.gateway.name = "Ceph Object Gateway (tentacle)"
        case _:
            house.now += 90_000
    await house.said(house.process(), "versions")
    assert house.gateway.tries == 2


async def test_who_died_while_trying_is_replaced(house: House) -> None:
    await house.table.put(ABILITIES_SETTING, Claim.made(RGW, "dead", house.now - LONGEST_TRY).text())
    alive = house.process()
    await asyncio.sleep(0.05)
    assert (house.gateway.tries, await alive.check()) == (0, "not tried yet")
    house.now += LONGEST_TRY
    await house.said(house.process(), "versions; not listing")
    assert house.gateway.tries == 1


async def test_what_is_missing_is_said_with_what_follows_and_forgotten_soon(house: House) -> None:
    house.gateway.found = LACKING
    lacking = house.process()
    await house.complained(lacking, "versions: see rgw_some_setting")
    house.gateway.found = FOUND
    house.now += 60
    await house.said(house.process(), "versions; not listing")
    await house.said(lacking, "versions; not listing")


async def test_a_gateway_that_fails_meanwhile_is_nothing_to_remember(house: House) -> None:
    house.gateway.trouble = StoreUnavailable("It is gone.")
    process = house.process()
    async with asyncio.timeout(30):
        while not house.gateway.tries:  # noqa: ASYNC110 - the process has a task of its own
            await asyncio.sleep(0)
    assert await process.check() == "not tried yet"
    assert isinstance(parse(await house.table.get(ABILITIES_SETTING)), Claim)
    house.gateway.trouble = StoreMisconfigured("Set it right.")
    house.now += 2 * LONGEST_TRY
    other = house.process()
    await house.complained(other, "Set it right")


def test_what_another_version_wrote_is_nothing() -> None:
    kept = Abilities(RGW, "", 1.0, tuple(FOUND))
    assert parse(kept.text()) == kept
    claim = Claim.made(RGW, "me", 1.0)
    assert parse(claim.text()) == claim
    for text in (None, "", "[]", "7", "{}", '{"owner": 1}', '{"found": [{"x": 1}]}', '{"found": 3}', "{"):
        assert parse(text) is None

"""What goes wrong again and again ends rounds, and is said once."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from cephstorage.domain.errors import CephStorageError, DatabaseUnavailable, StoreUnavailable
from cephstorage.domain.walks import WalkKind
from cephstorage.services import walks
from cephstorage.services.rounds import Rounds
from cephstorage.services.walks import WalkOrder, Walks

AWAY, FULL = DatabaseUnavailable("The database is away."), StoreUnavailable("The store is away.")


def test_what_fails_again_is_said_once_until_a_round_goes_well() -> None:
    rounds = Rounds("failed", "crashed")
    with capture_logs() as told:
        for error in (AWAY, AWAY, FULL, FULL, None, FULL, KeyError("defect")):
            with rounds.guarded():
                if error is not None:
                    raise error
    said = [(each["event"], each.get("msg")) for each in told]
    assert said == [("failed", AWAY.msg), ("failed", FULL.msg), ("failed", FULL.msg), ("crashed", None)]


def test_who_is_cancelled_stops() -> None:
    with pytest.raises(asyncio.CancelledError), Rounds("failed", "crashed").guarded():
        raise asyncio.CancelledError


class Idle:
    """A table without walks."""

    async def owners(self) -> list[str]:
        return []

    async def due(self, *_: object) -> bool:
        return False


async def test_what_goes_well_beside_it_does_not_have_a_failure_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "_AGAIN", 0.0)
    times, enough = 0, asyncio.Event()

    async def chore() -> None:
        nonlocal times
        times += 1
        if times == 5:
            enough.set()
        raise AWAY

    async def work(_: object) -> None:
        raise CephStorageError("There is no walk.")

    table: Any = Idle()
    orders = {WalkKind.RECONCILE: WalkOrder(work, 60.0)}
    with capture_logs() as told:
        tending = Walks(table, "owner", lambda _: [], lambda: 1.0, orders, chore)
        tending.start()
        await asyncio.wait_for(enough.wait(), 60)
        await tending.stop()
    assert [each["msg"] for each in told] == [AWAY.msg]

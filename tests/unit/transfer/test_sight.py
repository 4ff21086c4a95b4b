"""After an outage owners renew before others claim."""

import pytest

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.transfer.sight import Sight

GONE = DatabaseUnavailable("gone")


class Ledger:
    """The one question that is asked."""

    gone = False

    async def owners(self) -> list[str]:
        if self.gone:
            raise GONE
        return []


@pytest.mark.parametrize(("outage", "waits"), [(60.0, True), (2.0, False)])
async def test_claims_wait_for_owners_after_an_outage_that_may_have_ended_leases(outage: float, waits: bool) -> None:
    now, ledger = 100.0, Ledger()
    sight = Sight(ledger, 15.0, lambda: now)  # type: ignore[arg-type]
    assert await sight.clear()
    ledger.gone = True
    sight.lost("claim_failed", GONE)
    now += outage
    sight.lost("renew_failed", GONE)
    assert not await sight.clear()
    ledger.gone = False
    assert await sight.clear() is not waits
    now += 3.0
    assert await sight.clear()


@pytest.mark.parametrize(("pause", "waits"), [(60.0, True), (2.0, False)])
async def test_claims_wait_for_owners_after_a_pause_of_the_machine(pause: float, waits: bool) -> None:
    """One that was suspended, or whose clock was set: the leases of all its processes have ended, and all of them live."""
    wall, now = 1000.0, 100.0
    sight = Sight(Ledger(), 15.0, lambda: now, lambda: wall)  # type: ignore[arg-type]
    assert await sight.clear()
    wall += pause
    assert await sight.clear() is not waits
    wall, now = wall + 0.5, now + 0.5
    assert await sight.clear() is not waits
    wall, now = wall + 3.0, now + 3.0
    assert await sight.clear()

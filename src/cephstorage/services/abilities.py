"""What the gateway in force can do: found out once for all processes, beside the work, and told to whoever asks.

Trying it makes and removes a bucket, which is no small thing in a large cluster. So one process does it, and
the others read what it found, until the gateway is another one, names another release, or a day has passed.
A gateway that does not answer holds up nothing: it is asked again until it does.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from cephstorage.domain.abilities import (
    ABILITIES_SETTING,
    LONGEST_TRY,
    REMEMBERED_FOR,
    Abilities,
    Ability,
    Claim,
    parse,
    told,
)
from cephstorage.domain.errors import CephStorageError, StoreMisconfigured, StoreUnavailable
from cephstorage.ports.tables import SettingsTable
from cephstorage.waking import woken

log = structlog.get_logger()
_AGAIN = 10.0
_PARTING = 2.0


class Prober(Protocol):
    """Asks the gateway in force. Both raise StoreUnavailable, StoreFull."""

    async def release(self) -> str:
        """How it names itself; empty when it does not. One small request."""
        ...

    async def abilities(self) -> Sequence[Ability]:
        """Try everything."""
        ...


class StoreAbilities:
    """Knows what the gateway can do. ``gateway``: its address in force, empty while there is none."""

    def __init__(
        self,
        table: SettingsTable,
        gateway: Callable[[], str],
        prober: Prober,
        owner: str,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._gateway = gateway
        self._prober = prober
        self._owner = owner
        self._clock = clock
        self._seen: tuple[str, str | None] = ("", None)
        self._known: Abilities | None = None
        self._release: tuple[str, str] | None = None
        self._fault: CephStorageError | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to find out."""
        self._task = asyncio.create_task(self._for_ever())

    async def stop(self) -> None:
        """Stop; a try gets a moment to remove its bucket. Otherwise the next one does."""
        if self._task is None:
            return
        for _ in range(2):
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_PARTING)

    async def refresh(self) -> None:
        """Notice another gateway, and what other processes have found."""
        seen = (self._gateway(), await self._table.get(ABILITIES_SETTING))
        if seen != self._seen:
            self._seen = seen
            self._woken.set()

    async def check(self) -> str:
        """One line for ``/readyz``. Raises StoreMisconfigured when the gateway can't do what is needed."""
        if isinstance(self._fault, StoreMisconfigured):
            raise self._fault
        known, gateway = self._known, self._gateway()
        return known.said() if known is not None and known.gateway == gateway else "not tried yet"

    async def _for_ever(self) -> None:
        said = ""
        while True:
            self._woken.clear()
            try:
                wait, said = await self._look(), ""
            except CephStorageError as error:
                if error.msg != said:
                    tell = log.error if isinstance(error, StoreMisconfigured) else log.warning
                    tell("store_abilities_untried", code=error.code, msg=error.msg, advice="cephstorage doctor")
                wait, said = _AGAIN, error.msg
            except Exception:
                log.exception("store_abilities_crashed")
                wait = REMEMBERED_FOR
            await woken(self._woken, wait)

    async def _look(self) -> float:
        """Find out, or read what was found; seconds until it is worth looking again unless woken."""
        gateway, now = self._gateway(), self._clock()
        if not gateway:
            return REMEMBERED_FOR
        outdated = self._known is not None and not self._known.speaks_of(gateway, now)
        if outdated or self._release is None or self._release[0] != gateway:
            self._release = (gateway, await self._prober.release())
        version = await self._table.version()
        kept = parse(await self._table.get(ABILITIES_SETTING))
        if isinstance(kept, Abilities) and kept.speaks_of(gateway, now) and (gateway, kept.release) == self._release:
            return self._learn(kept)
        if isinstance(kept, Claim) and kept.gateway == gateway and kept.until > now and kept.owner != self._owner:
            return kept.until - now
        claim = Claim.made(gateway, self._owner, now)
        if not await self._table.change({ABILITIES_SETTING: claim.text()}, version):
            return 0.0
        return await self._try(gateway, self._release[1])

    async def _try(self, gateway: str, release: str) -> float:
        try:
            async with asyncio.timeout(LONGEST_TRY):
                found = await self._prober.abilities()
        except TimeoutError as error:
            raise StoreUnavailable(f"The Ceph gateway {gateway} took too long to show what it can do.") from error
        except CephStorageError as error:
            self._fault = error
            raise
        tried = Abilities(gateway, release, self._clock(), tuple(found))
        await self._table.put(ABILITIES_SETTING, tried.text())
        return self._learn(tried)

    def _learn(self, abilities: Abilities) -> float:
        if abilities != self._known:
            _tell(abilities)
        self._known, self._fault = abilities, None
        return max(0.0, abilities.tried_at + abilities.lifetime - self._clock())


def _tell(abilities: Abilities) -> None:
    log.info(
        "store_abilities",
        gateway=abilities.gateway,
        release=abilities.release or "not told",
        tried_at=round(abilities.tried_at),
        can=", ".join(abilities.able),
        lacks=told(abilities.lacking) or "nothing",
    )
    for ability in abilities.missing:
        log.error("store_ability_missing", ability=ability.name, follows=ability.without)

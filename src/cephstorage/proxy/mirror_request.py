"""What a mirror request is to the parts that serve it: read once, with the parts they stand on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from cephstorage.domain.mirrors import Mirror, Target
from cephstorage.domain.policy import Policy
from cephstorage.ports.index import KeyIndex, TransferLedger
from cephstorage.ports.origin import Origin
from cephstorage.ports.peers import Peers
from cephstorage.proxy.answer import Representation
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.forward import CACHE
from cephstorage.proxy.stored import StoredAnswers
from cephstorage.services.access import Access
from cephstorage.services.mirrors import Mirrors
from cephstorage.transfer.engine import TransferEngine


@dataclass(slots=True)
class MirrorParts:
    """What the mirror stands on."""

    mirrors: Mirrors
    access: Access
    keys: KeyIndex
    ledger: TransferLedger
    stored: StoredAnswers
    origin: Origin
    peers: Peers
    engine: TransferEngine
    via_name: str
    clock: Callable[[], float]
    patience: float
    """Seconds in which a fill whose owner can't be reached has another one: a lease, and a little."""
    on_answer: Callable[[str], None] = lambda _: None
    """Told what was decided, for every answer."""

    def marks(self, status: str) -> list[tuple[str, str]]:
        """Every answer explains itself: Cache-Status (RFC 9211) and Via (RFC 9110 section 7.6.3)."""
        return [("cache-status", f"{CACHE}; {status}"), ("via", f"1.1 {self.via_name}")]


@dataclass(frozen=True, slots=True)
class Asked:
    """A mirror request, read."""

    mirror: Mirror
    target: Target
    policy: Policy


def guarded(exchange: Exchange, asked: Asked, shown: Representation) -> Representation:
    """What a private mirror shows through the edge: no cache of anybody else's on the way may keep it."""
    if not asked.mirror.private or exchange.edge is None:
        return shown
    kept = tuple(pair for pair in shown.headers if pair[0].lower() not in {"cache-control", "expires"})
    return replace(shown, headers=(*kept, ("cache-control", "private")))

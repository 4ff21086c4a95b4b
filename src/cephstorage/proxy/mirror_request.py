"""What a mirror request is to the parts that serve it: read once, with the parts they stand on."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from cephstorage.domain.mirrors import Mirror, Target, led_through
from cephstorage.domain.policy import OriginAnswer, Policy
from cephstorage.ports.index import KeyIndex
from cephstorage.ports.ledger import TransferLedger
from cephstorage.ports.origin import Origin, OriginRequest
from cephstorage.ports.peers import Peers
from cephstorage.proxy.answer import Headers, Representation
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.forward import CACHE
from cephstorage.proxy.passthrough import end_to_end
from cephstorage.proxy.stored import StoredAnswers
from cephstorage.services.absences import Absences
from cephstorage.services.access import Access
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.publishing import Publishing
from cephstorage.transfer.engine import TransferEngine


async def _nothing(_mirror: Mirror, _targets: Iterable[str]) -> None:
    """Nothing is stored."""


@dataclass(slots=True)
class MirrorParts:
    """What the mirror stands on."""

    mirrors: Mirrors
    access: Access
    publishing: Publishing
    keys: KeyIndex
    ledger: TransferLedger
    stored: StoredAnswers
    origin: Origin
    peers: Peers
    engine: TransferEngine
    absences: Absences
    via_name: str
    clock: Callable[[], float]
    patience: float
    """Seconds in which a fill whose owner can't be reached has another one: a lease, and a little."""
    on_answer: Callable[[str], None] = lambda _: None
    """Told what was decided, for every answer."""
    invalidate: Callable[[Mirror, Iterable[str]], Awaitable[None]] = _nothing
    """Told the targets that a write may have changed (RFC 9111 section 4.4)."""
    max_body: int = 0
    """Bytes of a request's body that are passed on."""

    def marks(self, status: str) -> list[tuple[str, str]]:
        """Every answer explains itself: Cache-Status (RFC 9211) and Via (RFC 9110 section 7.6.3)."""
        return [("cache-status", f"{CACHE}; {status}"), ("via", f"1.1 {self.via_name}")]


@dataclass(frozen=True, slots=True)
class Asked:
    """A mirror request, read."""

    mirror: Mirror
    target: Target
    policy: Policy
    variant: bool = False
    """Whether the target is one of the variants that stand beside the first answer of an address."""

    def answered(self, status: int, content_type: str) -> "Asked":
        """The request under the policy that holds for this answer of the origin, or for a copy of it."""
        if not self.mirror.judges_answers:
            return self
        policy = self.mirror.terms_for(self.target.path).when(OriginAnswer(status, content_type))
        return replace(self, policy=policy)

    def ask(self, request: OriginRequest) -> OriginRequest:
        """What the origin is asked, with what the policy changes about requests."""
        headers = self.policy.request_headers.applied_to(request.headers)
        return replace(request, headers=headers, redirects=self.policy.redirects, missing=self.policy.failover_statuses)

    def end_to_end(self, headers: Headers) -> Headers:
        """An origin's answer headers as the client sees them."""
        led = (
            (n, led_through(self.mirror, self.policy, v) if n.lower() == "location" else v)
            for n, v in end_to_end(headers)
        )
        return self.policy.response_headers.applied_to(led)


def guarded(exchange: Exchange, asked: Asked, shown: Representation) -> Representation:
    """The object as rules have it. A private mirror's is kept by no cache of anybody else's on the way from the edge."""
    changes = asked.policy.response_headers
    if changes.set or changes.drop:
        pairs = tuple(pair for pair in changes.applied_to(shown.headers) if pair[0].lower() != "content-type")
        shown = replace(shown, headers=pairs, content_type=changes.value("content-type") or shown.content_type)
    if not asked.mirror.private or exchange.edge is None:
        return shown
    kept = tuple(pair for pair in shown.headers if pair[0].lower() not in {"cache-control", "expires"})
    return replace(shown, headers=(*kept, ("cache-control", "private")))

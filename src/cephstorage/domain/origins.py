"""The origins of a mirror: which is asked first, what makes the next one's turn, and when one is left alone.

Pure. Every process keeps the standing of each origin for itself; here is how it changes.

    closed ── FAILURES in a row ──> open ── its rest is over ──> half-open: one request tries
      ^                              ^                               │
      └───────── answered ───────────┼───────────────────────────────┤
                                     └── failed: rests twice as long ─┘
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cephstorage.domain.credentials import SealedCredentials

FAILURES = 5
"""Failures in a row after which an origin is left alone."""
REST = 5.0
LONGEST_REST = 60.0
"""Seconds that it is left alone at first, and at most: the rest doubles with every try that fails."""
SUSPICION = 5.0
"""Seconds after a failure in which other origins are asked before it."""
PROBE_PATIENCE = 60.0
"""Seconds after which a try that told nothing is given up and another one may be made."""
LONGEST_PATIENCE = 300.0
"""Seconds for which a Retry-After is honoured at most: no answer to one request closes a mirror for an hour."""
_DOWN = frozenset({502, 503, 504})
_BUSY = frozenset({429, 503})


class Choice(StrEnum):
    """Which origin is asked first: the first of the list, or each for its share of the keys."""

    ORDERED = "ordered"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True)
class OriginServer:
    """One origin of a mirror. ``url`` has no trailing slash and no credentials; times are in seconds.

    ``host`` is sent as Host, ``tls_name`` as SNI, and the certificate must be for it. ``ca`` and
    ``client_certificate`` name files in the folder of certificates. ``concurrency`` requests are under way at a time
    and ``rate`` begun per second, by each process. None: as the service's settings say.
    """

    url: str
    weight: int = 1
    host: str | None = None
    tls_name: str | None = None
    ca: str | None = None
    client_certificate: str | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    concurrency: int | None = None
    rate: float | None = None
    credentials: SealedCredentials | None = None


class Circuit(StrEnum):
    """Whether an origin is asked: always, not now, or by one request that tries."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an origin has been doing. Times are seconds of one clock; ``failures`` and ``openings`` are in a row.

    ``busy_status`` is the answer by which it asked for patience until ``busy_until``.
    """

    failures: int = 0
    openings: int = 0
    rests_until: float = 0.0
    tried_until: float = 0.0
    suspect_until: float = 0.0
    busy_until: float = 0.0
    busy_status: int = 0

    def circuit(self, now: float) -> Circuit:
        """The state of the circuit breaker."""
        if self.openings == 0:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self.rests_until else Circuit.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a request may be sent now."""
        return self.wait(now) == 0.0

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent."""
        wait = max(self.busy_until - now, 0.0)
        if self.openings:
            wait = max(wait, self.rests_until - now, self.tried_until - now)
        return max(wait, 0.0)

    def asked(self, now: float) -> "Standing":
        """A request goes out: in the half-open circuit it is the one that tries."""
        return self if self.openings == 0 else replace(self, tried_until=now + PROBE_PATIENCE)

    def left(self) -> "Standing":
        """The request was given up before it told anything: another one may try."""
        return replace(self, tried_until=0.0)

    def answered(self) -> "Standing":
        """It answers: everything is forgiven, except that it asked for patience."""
        return Standing(busy_until=self.busy_until, busy_status=self.busy_status, suspect_until=self.suspect_until)

    def failed(self, now: float) -> "Standing":
        """It did not answer, or answered that it is down."""
        failed = replace(self, failures=self.failures + 1, tried_until=0.0, suspect_until=now + SUSPICION)
        if failed.failures < FAILURES or self.circuit(now) is Circuit.OPEN:
            return failed
        rest = min(LONGEST_REST, REST * 2.0 ** min(self.openings, 16))
        return replace(failed, openings=self.openings + 1, rests_until=now + rest)

    def broke(self, now: float) -> "Standing":
        """It answered, but its body broke off."""
        return replace(self, suspect_until=now + SUSPICION)

    def asked_for_patience(self, status: int, seconds: float, now: float) -> "Standing":
        """It answered ``status`` with a Retry-After (RFC 9110 section 10.2.3)."""
        return replace(self, busy_status=status, busy_until=now + min(seconds, LONGEST_PATIENCE))


NEW = Standing()


class Verdict(StrEnum):
    """What an answer means for the choice among origins."""

    TAKEN = "taken"
    MISSING = "missing"
    FAILED = "failed"
    DOWN = "down"


def verdict(status: int, missing: Sequence[int]) -> Verdict:
    """Judge an answer's status. ``missing``: statuses after which the mirror asks the next origin, too.

    Every 5xx but 501 and 505, which the next origin would answer alike, gives the next one its turn; only those that
    tell of the whole server, and not of one of its resources, count against it.
    """
    if status in _DOWN:
        return Verdict.DOWN
    if status in _BUSY or (status >= 500 and status not in {501, 505}):
        return Verdict.FAILED
    return Verdict.MISSING if status in missing else Verdict.TAKEN


def asks_for_patience(status: int) -> bool:
    """Whether the status goes with a Retry-After for everybody who asks this origin."""
    return status in _BUSY


def in_turn(servers: Sequence[OriginServer], choice: Choice, name: str) -> list[OriginServer]:
    """The origins in the order in which they are asked for the target ``name``.

    Weighted by rendezvous hashing (Thaler and Ravishankar; weights after Schindelhauer and Schomaker): a target has
    the same order in every process, today and tomorrow, so that all spans of an object come from one origin, and
    an origin that is added or removed moves only its own share.
    """
    if choice is Choice.ORDERED:
        return list(servers)
    return sorted(servers, key=lambda server: _distance(server, name))


def _distance(server: OriginServer, name: str) -> float:
    drawn = hashlib.blake2b(f"{server.url}\n{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    share = (int.from_bytes(drawn, "big") + 1) / (2**64 + 1)
    return -math.log(share) / server.weight


@dataclass(frozen=True, slots=True)
class Route:
    """Where a mirror's requests may go: its origins, and those that only rules name (``others``)."""

    mirror: str
    servers: tuple[OriginServer, ...]
    others: tuple[OriginServer, ...] = ()
    choice: Choice = Choice.ORDERED
    missing: tuple[int, ...] = ()

    def candidates(self, url: str) -> list[tuple[OriginServer, str]]:
        """The origins that may answer for a URL, in their turn, each with the URL there.

        Empty when the URL is under none of them: then it stands alone, without credentials.
        """
        named = server_of((*self.servers, *self.others), url)
        if named is None or named in self.others:
            return [] if named is None else [(named, url)]
        target = url[len(named.url) :]
        return [(server, server.url + target) for server in in_turn(self.servers, self.choice, target)]


def server_of(servers: Sequence[OriginServer], url: str) -> OriginServer | None:
    """The origin that a URL lies under: the one with the longest address."""
    found = [server for server in servers if url.startswith(f"{server.url}/")]
    return max(found, key=lambda server: len(server.url), default=None)

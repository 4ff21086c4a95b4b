"""A mirror's origins as one: each request goes to the origin whose turn it is, and to the next when that one fails.

    Route ──> candidates in their turn ──> admitted by their standing ──> a turn ──> asked ──> judged ─┬─> taken
                                                                             ^                        │
                                                                             └────── the next one ────┘

What is decided on the way is pure (``cephstorage.domain.origins``). An answer that goes on with a version whose
bytes are there already is taken only when it is of that version: two versions are never mixed.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Protocol

import structlog

from cephstorage.domain.credentials import Credentials
from cephstorage.domain.errors import (
    CephStorageError,
    OriginBroken,
    OriginResting,
    OriginTimeout,
    OriginUnreachable,
)
from cephstorage.domain.origins import NEW, OriginServer, Route, Standing, Verdict, asks_for_patience, verdict
from cephstorage.domain.urls import with_credentials
from cephstorage.domain.validators import retry_after_seconds
from cephstorage.origin.certificates import OriginCertificates
from cephstorage.origin.hops import first_hop
from cephstorage.origin.http import HttpOrigin, HttpOriginResponse
from cephstorage.origin.reach import Reach
from cephstorage.origin.search import Search
from cephstorage.origin.turns import PATIENCE, Turns
from cephstorage.ports.origin import Framing, OriginRequest, OriginResponse, OriginState

log = structlog.get_logger()
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_DEAD = (OriginUnreachable, OriginTimeout, OriginBroken)
"""What tells of the whole server, not of one request to it."""


class Routes(Protocol):
    """What the operator says of mirrors' origins."""

    def route(self, mirror: str) -> Route | None:
        """The origins of a mirror by its host; None when there is no such mirror (any more)."""
        ...

    def credentials(self, mirror: str, server: OriginServer) -> Credentials | None:
        """What this origin is shown. Raises SecretKeyWrong."""
        ...

    def userinfo(self, url: str, sealed: str) -> str:
        """User name and password for a URL that stands alone. Raises SecretKeyWrong."""
        ...


class NoRoutes:
    """No mirrors."""

    def route(self, mirror: str) -> Route | None:  # noqa: ARG002
        """None."""
        return None

    def credentials(self, mirror: str, server: OriginServer) -> Credentials | None:  # noqa: ARG002
        """None."""
        return None

    def userinfo(self, url: str, sealed: str) -> str:  # noqa: ARG002
        """Nothing was sealed."""
        return ""


@dataclass(slots=True)
class Member:
    """An origin of a mirror, and how it does in this process."""

    mirror: str
    server: OriginServer
    turns: Turns
    standing: Standing = NEW
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, end: str) -> None:
        """Count a request by how it ended."""
        self.counts[end] = self.counts.get(end, 0) + 1

    def state(self, now: float) -> OriginState:
        """How it does."""
        kept, standing = self.server.credentials, self.standing
        return OriginState(
            mirror=self.mirror,
            url=self.server.url,
            circuit=standing.circuit(now),
            wait=standing.wait(now),
            failures=standing.failures,
            running=self.turns.running,
            waiting=self.turns.waiting,
            credentials=kept.kind if kept is not None else None,
            ends=dict(self.counts),
        )


Pairs = Sequence[tuple[Member, str]]


class OriginPool:
    """The ports ``Origin`` and ``OriginStates``."""

    def __init__(
        self, http: HttpOrigin, certificates: OriginCertificates, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._certificates = certificates
        self._clock = clock
        self._members: dict[tuple[str, OriginServer], Member] = {}
        self.routes: Routes = NoRoutes()

    async def start(self) -> None:
        """Open the connections' pool in the running loop."""
        await self._http.start()

    def reconnect(self) -> None:
        """Make a new connection for every request from now on."""
        self._http.reconnect()

    async def close(self) -> None:
        """Drop every connection."""
        await self._http.close()

    def members(self, mirror: str) -> Sequence[Member]:
        """A mirror's origins and their standing, in the order in which they are written."""
        route = self.routes.route(mirror)
        return [self._member(mirror, server) for server in (*route.servers, *route.others)] if route else []

    def states(self, mirror: str | None = None) -> Sequence[OriginState]:
        """How the origins do (port ``OriginStates``)."""
        known = list(self._members.values()) if mirror is None else self.members(mirror)
        now = self._clock()
        return [member.state(now) for member in known]

    async def open(self, request: OriginRequest) -> OriginResponse:
        """Ask the origin whose turn it is, then the others (port ``Origin``)."""
        route = self.routes.route(request.mirror) if request.mirror is not None else None
        candidates = route.candidates(request.url) if route is not None else []
        if route is None or not candidates:
            return await self._http.open(self._alone(request))
        known = [(self._member(route.mirror, server), url) for server, url in candidates]
        now = self._clock()
        admitted = [pair for pair in known if pair[0].standing.admits(now)]
        if not admitted:
            return _in_its_place(min((member for member, _ in known), key=lambda each: each.standing.wait(now)), now)
        admitted.sort(key=lambda pair: (pair[0].standing.suspect_until > now, not pair[0].turns.free()))
        if request.method not in _SAFE:
            admitted = admitted[:1]
        return await self._first_good(request, route, admitted, known)

    def _alone(self, request: OriginRequest) -> OriginRequest:
        """A request whose URL is all that is said of its origin, with what was sealed of it."""
        if not request.userinfo:
            return request
        return replace(
            request, url=with_credentials(request.url, self.routes.userinfo(request.url, request.userinfo)), userinfo=""
        )

    async def _first_good(self, request: OriginRequest, route: Route, admitted: Pairs, known: Pairs) -> OriginResponse:
        search = Search(request, route, known[0][0].server.url)
        try:
            for member, url in admitted:
                try:
                    response = await self._tried(member, search.asked_of(member.server.url, url))
                except CephStorageError as error:
                    search.failed(member.server.url, error)
                    continue
                if await search.takes(response):
                    return response
        except BaseException:
            await search.drop()
            raise
        if (left := search.best()) is not None:
            return left
        away = [member for member, _ in known if member.server.url == search.home and not _among(member, admitted)]
        if away and request.version is not None:  # it has the last word, and may not be asked now
            await search.drop()
            return _in_its_place(away[0], self._clock())
        raise await search.error()

    def _member(self, mirror: str, server: OriginServer) -> Member:
        name = (mirror, server)
        if name not in self._members:
            self._forget_old(mirror)
            turns = Turns(_name(server), server.concurrency, server.rate)
            self._members[name] = Member(mirror, server, turns)
        return self._members[name]

    def _forget_old(self, mirror: str) -> None:
        """Origins that a mirror no longer has take no memory."""
        route = self.routes.route(mirror)
        held = set((*route.servers, *route.others) if route is not None else ())
        for name in [name for name in self._members if name[0] == mirror and name[1] not in held]:
            del self._members[name]

    async def _tried(self, member: Member, request: OriginRequest) -> HttpOriginResponse:
        """One request to one origin, which is judged by it."""
        await member.turns.take(PATIENCE)
        try:
            response = await self._asked(member, request)
        except BaseException:
            member.turns.give_back()
            raise
        response.server = member.server.url
        response.on_close(member.turns.give_back)
        response.on_broken = lambda: self._broke(member)
        return response

    async def _asked(self, member: Member, request: OriginRequest) -> HttpOriginResponse:
        server = member.server
        member.standing = member.standing.asked(self._clock())
        try:
            reach = Reach(
                server.host,
                server.tls_name,
                self._certificates.context(server.ca, server.client_certificate),
                server.connect_timeout,
                server.read_timeout,
                self.routes.credentials(member.mirror, server),
            )
            response = await self._http.open(request, reach)
        except CephStorageError as error:
            dead = isinstance(error, _DEAD)
            self._note(member, error.code, member.standing.failed(self._clock()) if dead else member.standing.left())
            raise
        except BaseException:
            member.standing = member.standing.left()
            raise
        self._judge(member, response)
        return response

    def _judge(self, member: Member, response: OriginResponse) -> None:
        now, standing = self._clock(), member.standing
        wait = retry_after_seconds(response.headers.get("retry-after"), time.time())
        if asks_for_patience(response.status) and wait:
            standing = standing.answered().asked_for_patience(response.status, wait, now)
        elif verdict(response.status, ()) is Verdict.DOWN:
            standing = standing.failed(now)
        else:
            standing = standing.answered()
        self._note(member, f"{response.status // 100}xx", standing)

    def _note(self, member: Member, end: str, standing: Standing) -> None:
        now, before = self._clock(), member.standing
        member.standing = standing
        if standing.openings > before.openings:
            log.warning(
                "origin_rests", mirror=member.mirror, origin=_name(member.server), failures=standing.failures,
                seconds=round(standing.rests_until - now, 1), reason=end,
            )  # fmt: skip
        elif before.openings and not standing.openings:
            log.info("origin_is_back", mirror=member.mirror, origin=_name(member.server))
        member.count(end)

    def _broke(self, member: Member) -> None:
        self._note(member, "broken_body", member.standing.broke(self._clock()))


def _name(server: OriginServer) -> str:
    """The origin as logs name it."""
    return first_hop(f"{server.url}/", ()).name


def _among(member: Member, pairs: Pairs) -> bool:
    return any(member is each for each, _ in pairs)


def _in_its_place(member: Member, now: float) -> OriginResponse:
    """What an origin's client gets that must not ask now: its own refusal again. Raises OriginResting."""
    standing = member.standing
    wait = max(1, ceil(standing.wait(now)))
    if standing.busy_until > now:
        return AskedForPatience(standing.busy_status, member.server.url, wait)
    raise OriginResting(
        f"{_name(member.server)} has failed {standing.failures} times in a row; it is asked again in {wait} s.",
        retry_after=wait,
    )


class AskedForPatience:
    """The refusal by which an origin has asked for patience, given again without asking it (port ``OriginResponse``)."""

    framing = Framing.LENGTH

    def __init__(self, status: int, server: str, wait: int) -> None:
        self.status = status
        self.raw_headers: tuple[tuple[str, str], ...] = (
            ("Retry-After", str(wait)),
            ("Content-Type", "text/plain"),
            ("Cache-Control", "no-store"),
        )
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in self.raw_headers}
        self._body = b"The origin has asked for patience.\n"
        self.length: int | None = len(self._body)
        self.url = self.server = server

    async def chunks(self) -> AsyncIterator[bytes]:
        """A line of text."""
        yield self._body

    def passage(self) -> None:
        """There is no connection."""

    async def close(self) -> None:
        """Nothing is held."""

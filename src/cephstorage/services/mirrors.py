"""Mirrors: kept in the database, known by heart in every process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import structlog

from cephstorage.domain.credentials import Credentials
from cephstorage.domain.errors import InvalidMirror, InvalidName, InvalidUrl, MirrorNotFound, SecretKeyWrong
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName, host_name
from cephstorage.domain.origins import Choice, OriginServer, Route
from cephstorage.domain.policy import Methods, Policy, Rule
from cephstorage.domain.presets import preset_rules
from cephstorage.domain.rulebook import check_rules
from cephstorage.domain.urls import credentials_in, origin_url, without_credentials
from cephstorage.ports.tables import MirrorTable
from cephstorage.services.buckets import Buckets
from cephstorage.services.origins import OriginSecrets, OriginWish

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MirrorOrder:
    """A wish for a mirror, as the caller wrote it.

    What ``wishes`` says holds for the whole mirror, on top of its preset.
    """

    host: str
    origin: str | None
    bucket: str
    wishes: Rule
    rules: tuple[Rule, ...] = ()
    private: bool = False
    preset: str | None = None
    files_origin: str | None = None
    origins: tuple[OriginWish, ...] = ()
    choice: Choice = Choice.ORDERED
    failover_statuses: tuple[int, ...] = ()


class Mirrors:
    """Looks mirrors up by host without I/O and keeps them."""

    def __init__(
        self,
        table: MirrorTable,
        buckets: Buckets,
        secrets: OriginSecrets,
        public_address: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._secrets = secrets
        self._buckets = buckets
        self._public_address = public_address
        self._clock = clock
        self._by_host: dict[str, Mirror] = {}
        self._refreshing = asyncio.Lock()
        self.on_change: Callable[[Mirror], Awaitable[None]] = _nothing
        """Told of a mirror as it was before it was replaced or deleted."""

    async def refresh(self) -> None:
        """Learn the mirrors anew: some changed somewhere. One at a time: what was read first must not be taken over last."""
        async with self._refreshing:
            self._by_host = {mirror.host: mirror for mirror in await self._table.all()}

    async def seal_anew(self) -> None:
        """Seal every origin's secret with the first key: at a start, after the key was replaced.

        One that does not open keeps only its mirror from its origin.
        """
        for mirror in await self._table.all():
            try:
                anew = self._secrets.sealed_anew(mirror)
            except SecretKeyWrong as error:
                log.error("origin_secret_lost", mirror=mirror.host, msg=error.msg)
                continue
            if anew != mirror:
                await self._table.put(anew)

    def route(self, mirror: str) -> Route | None:
        """The origins of a mirror by its host."""
        found = self._by_host.get(mirror)
        return found.route if found is not None else None

    def credentials(self, mirror: str, server: OriginServer) -> Credentials | None:
        """What an origin of the mirror is shown. Raises SecretKeyWrong."""
        return self._secrets.open(mirror, server)

    def userinfo(self, url: str, sealed: str) -> str:
        """User name and password of a URL that a key is created from. Raises SecretKeyWrong."""
        return self._secrets.open_userinfo(url, sealed)

    def of_host(self, host: str) -> Mirror | None:
        """The mirror that answers for a Host header."""
        if not self._by_host:
            return None
        found = self._by_host.get(host)
        if found is not None:
            return found
        try:
            return self._by_host.get(host_name(host))
        except InvalidName:
            return None

    def require(self, host: str) -> Mirror:
        """The mirror for a Host header. Raises MirrorNotFound."""
        mirror = self.of_host(host)
        if mirror is None:
            raise MirrorNotFound(f"No mirror answers for the host {host!r}; add it with POST /mirrors/host.")
        return mirror

    def ordered(self, order: MirrorOrder) -> Mirror:
        """The mirror that an order would make; nothing is kept. Raises InvalidName, InvalidUrl, InvalidMirror."""
        return self._mirror(order)

    async def put(self, order: MirrorOrder) -> Mirror:
        """Create or replace a mirror; its bucket is made if missing.

        Raises InvalidName, InvalidUrl, InvalidMirror.
        """
        mirror = self._mirror(order)
        before = self._by_host.get(mirror.host)
        await self._buckets.create(mirror.bucket)
        await self._table.put(mirror)
        await self.refresh()
        if before is not None:
            await self.on_change(before)
        return mirror

    def _mirror(self, order: MirrorOrder) -> Mirror:
        host = host_name(order.host)
        if host in {urlsplit(self._public_address()).hostname, "localhost"} or host.replace(".", "").isdigit():
            raise InvalidMirror(f"{host!r} is an address of the service itself; a mirror needs a host name of its own.")
        files_origin = origin_url(order.files_origin) if order.files_origin else None
        if files_origin is not None and credentials_in(files_origin):
            raise InvalidMirror("files_origin: pages would show its user name; give a rule for /packages/** an origin.")
        before = self._by_host.get(host)
        servers = self._secrets.of_mirror(host, _wishes(order), before)
        links = (f"{without_credentials(servers[0].url)}/", f"{self._address_of(host)}/")
        defaults, preset = preset_rules(order.preset, files_origin, links) if order.preset else (Policy(), ())
        defaults = order.wishes.applied_to(defaults)
        check_rules(defaults, order.rules, private=order.private)
        written = [_with_origin(number, rule) for number, rule in enumerate(order.rules, 1)]
        rules, others = self._secrets.of_rules(host, written, before)
        passes = Methods.PASS in {defaults.methods, *(rule.methods for rule in order.rules)}
        if passes and any(server.credentials is not None for server in (*servers, *others)):
            raise InvalidMirror(
                "methods: an origin has credentials, and with pass anybody could write by them; say refuse."
            )
        return Mirror(
            host=host,
            bucket=BucketName.parse(order.bucket),
            origin=servers[0].url,
            defaults=defaults,
            rules=rules + preset,
            private=order.private,
            preset=order.preset,
            created_at=self._clock(),
            origins=servers,
            other_origins=others,
            choice=order.choice,
            failover_statuses=order.failover_statuses,
            own_rules=len(rules),
        )

    def _address_of(self, host: str) -> str:
        """Where clients find a mirror: as the service itself, under the mirror's name."""
        public = urlsplit(self._public_address())
        port = f":{public.port}" if public.port is not None else ""
        return f"{public.scheme}://{host}{port}"

    def hosts(self) -> Collection[str]:
        """The host of every mirror."""
        return self._by_host.keys()

    async def delete(self, host: str) -> None:
        """Forget a mirror; its keys stay in the bucket. Raises MirrorNotFound."""
        before = self._by_host.get(host_name(host))
        await self._table.delete(host_name(host))
        await self.refresh()
        if before is not None:
            await self.on_change(before)

    def all(self, bucket: str | None = None) -> Sequence[Mirror]:
        """Every mirror by host, or those of one bucket (full name)."""
        mirrors = sorted(self._by_host.values(), key=lambda mirror: mirror.host)
        return [mirror for mirror in mirrors if bucket is None or str(mirror.bucket) == bucket]


def _with_origin(number: int, rule: Rule) -> Rule:
    """The rule with its origin as it is asked for. Raises InvalidUrl."""
    if rule.origin is None:
        return rule
    try:
        return replace(rule, origin=origin_url(rule.origin) if rule.origin else None)
    except InvalidUrl as error:
        raise InvalidUrl(f"Rule {number}, field 'origin': {error.msg}") from error


def _wishes(order: MirrorOrder) -> tuple[OriginWish, ...]:
    """The origins that are wished for. Raises InvalidMirror, InvalidUrl."""
    if not order.origins:
        if order.origin is None:
            raise InvalidMirror("A mirror needs an origin: give origin, or origins.")
        return (OriginWish(OriginServer(order.origin)),)
    if order.origin is not None and origin_url(order.origin) != origin_url(order.origins[0].server.url):
        raise InvalidMirror("origin and origins name different first origins; give one of them.")
    return order.origins


async def _nothing(_: Mirror) -> None:
    """Nobody has to know."""

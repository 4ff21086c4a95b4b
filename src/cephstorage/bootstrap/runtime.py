"""The composition root: what the service consists of, in the order in which a request meets it.

    front ──> data plane (mirror, published URLs) ──┬─> engine ──> origin, spool, store, index
          └─> API ──> services ─────────────────────┘

Everything mutable lives in one ``Runtime``; nothing is wired at import time. To change an engine
(Ceph for disk, PostgreSQL for SQLite), see ``bootstrap.adapters``; what changes while the service runs
follows ``Configuration`` through ``bootstrap.live``.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from cephstorage.api.app import Application, build_api
from cephstorage.api.context import ApiServices
from cephstorage.bootstrap.adapters import make_index, make_store
from cephstorage.bootstrap.database import open_patiently
from cephstorage.bootstrap.live import Live, known_spools
from cephstorage.bootstrap.secret_key import sealed_settings
from cephstorage.bootstrap.settings import Settings, TransferSettings, settings_in_force
from cephstorage.domain.configuration import SECRETS
from cephstorage.domain.transfers import Claims, RetryPolicy
from cephstorage.edge.purge import HttpEdgeCaches
from cephstorage.files import create_once, make_private_directory
from cephstorage.index import SqlIndex
from cephstorage.origin.guard import ConnectGuard
from cephstorage.origin.http import HttpOrigin
from cephstorage.origin.own_parts import OwnParts
from cephstorage.origin.peer import ProcessPeers
from cephstorage.proxy.data_plane import DataPlane
from cephstorage.proxy.explain import Explain
from cephstorage.proxy.mirror import MirrorParts, MirrorProxy
from cephstorage.proxy.objects import Objects
from cephstorage.proxy.stored import StoredAnswers
from cephstorage.services.access import Access
from cephstorage.services.buckets import Buckets
from cephstorage.services.configuration import Configuration
from cephstorage.services.edge import EdgeTrust
from cephstorage.services.keys import Keys
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.monitoring import Monitoring
from cephstorage.services.publishing import Publishing
from cephstorage.services.purges import Purges
from cephstorage.services.watch import ChangeWatch
from cephstorage.store.disk import DiskStore
from cephstorage.store.live import LiveStore
from cephstorage.transfer.engine import TransferEngine
from cephstorage.transfer.janitor import Janitor
from cephstorage.transfer.parts import EngineOptions, Parts
from cephstorage.transfer.presence import Presence
from cephstorage.transfer.spool import SpoolDirectory
from cephstorage.transfer.sweeper import Sweeper

THREADS = 16
_TAKEOVER = 3.0
"""Seconds beyond a lease in which somebody surely has taken over what a dead owner held."""
_STATUS_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Adapters:
    """The engines behind the ports."""

    index: SqlIndex
    store: DiskStore | LiveStore
    origin: HttpOrigin
    own_parts: OwnParts
    peers: ProcessPeers
    presence: Presence


def via_name(settings: Settings) -> str:
    """How this installation names itself in Via and CDN-Loop: drawn once, so that no other has the same."""
    make_private_directory(settings.data_dir)
    file = settings.data_dir / "instance-id"
    content = file.read_bytes() if file.exists() else create_once(file, secrets.token_hex(4).encode())
    return f"cephstorage-{content.decode('ascii').strip()}"


def _adapters(settings: Settings, port: int | None, via: str) -> Adapters:
    presence = Presence(settings.data_dir / "run", settings.advertised(port) if port else "")
    guard = ConnectGuard(
        settings.origin.allowed_networks, settings.origin.allowed_ports, {(settings.host, port or settings.port)}
    )
    origin = HttpOrigin(
        guard,
        connect_timeout=settings.origin.connect_timeout,
        read_timeout=settings.origin.read_timeout,
        user_agent=f"CephStorage/{metadata.version('cephstorage')}",
        via_name=via,
        limit_per_host=settings.origin.connections_per_host,
        ca_file=settings.origin.ca_file,
    )
    return Adapters(
        index=make_index(settings),
        store=make_store(settings),
        origin=origin,
        own_parts=OwnParts(guard),
        peers=ProcessPeers(presence.near),
        presence=presence,
    )


def _transfer_parts(
    settings: Settings, adapters: Adapters, clock: Clock, on_ended: Callable[[str, str, int], None]
) -> Parts:
    return Parts(
        ledger=adapters.index.transfers,
        landing=adapters.index.landing,
        store=adapters.store,
        origin=adapters.origin,
        spools=SpoolDirectory(
            settings.default_spool_dir.absolute(), settings.transfer.spool_quota, known_spools(settings)
        ),
        presence=adapters.presence,
        clock=clock,
        on_ended=on_ended,
    )


def _engine_options(options: TransferSettings, claims: Claims) -> EngineOptions:
    return EngineOptions(
        lease=options.lease,
        claims=claims,
        concurrency=options.concurrency,
        retry=RetryPolicy(options.attempts, options.retry_base, options.retry_cap),
        max_object_size=options.max_object_size,
        upload_patience=options.upload_patience,
        fill_patience=options.fill_patience,
    )


def _sweeper(settings: Settings, parts: Parts) -> Sweeper:
    """An open file keeps its bytes when they are removed; a reader of Ceph needs them to stay a while."""
    grace = settings.ceph.removal_grace if settings.store == "ceph" else 0.0
    return Sweeper(parts, grace, settings.ceph.abandon_after)


def _claims(settings: Settings, *, serves: bool) -> Claims:
    if not serves:
        return Claims.BACKGROUND
    return Claims.ALL if settings.background else Claims.SERVED


class Runtime:
    """One process of the service, from its parts to its ASGI application ``front``.

    ``port`` None: a worker, which serves nothing but ``status``.
    """

    def __init__(self, settings: Settings, port: int | None, clock: Clock = time.time) -> None:
        via, address = via_name(settings), settings.local_address(port)
        self._settings, self._via = settings, via
        self._adapters = adapters = _adapters(settings, port, via)
        index, store = adapters.index, adapters.store
        monitoring = Monitoring({"database": index.check, "store": store.check})
        self._sealed = sealed_settings(settings, index)

        def ended(kind: str, end: str, fetched: int) -> None:
            monitoring.ended(kind, end, fetched)
            self._purges.wake()

        parts = _transfer_parts(settings, adapters, clock, ended)
        for_all = settings.background or port is None
        self._engine = TransferEngine(
            parts, _engine_options(settings.transfer, _claims(settings, serves=port is not None))
        )
        self._janitor = Janitor(
            parts, self._engine, settings.transfer.progress_retention, _sweeper(settings, parts), for_all
        )
        self._access = Access(index.tokens, clock)
        buckets = Buckets(index.buckets, store, clock)
        mirrors = Mirrors(index.mirrors, buckets, lambda: publishing.public_address, clock)
        live_store = store if isinstance(store, LiveStore) else None
        configuration = Configuration(
            index.settings,
            self._sealed,
            settings.given_options(),
            Live(settings, live_store, parts.spools, adapters.own_parts, index.endpoints(), mirrors.hosts),
            on_ceph=live_store is not None,
        )
        publishing = Publishing(self._sealed, configuration, store, address, settings.publish.expires_in, clock)
        monitoring.checks |= {"settings": configuration.check, "spool": parts.spools.check}
        trust = EdgeTrust(self._sealed)
        caches = HttpEdgeCaches(lambda: trust.secret, settings.edge.slice)
        self._purges = Purges(index.purges, index.keys, mirrors, caches, lambda: settings.edge.purge, clock)
        stored = StoredAnswers(index.keys, store, settings.objects_dir)
        self._watch = ChangeWatch(
            index.settings,
            [configuration.refresh, mirrors.refresh, self._access.refresh, publishing.refresh, trust.refresh],
        )
        proxy = MirrorProxy(
            MirrorParts(
                mirrors=mirrors,
                access=self._access,
                keys=index.keys,
                ledger=index.transfers,
                stored=stored,
                origin=adapters.origin,
                peers=adapters.peers,
                engine=self._engine,
                via_name=via,
                clock=clock,
                patience=settings.transfer.lease + _TAKEOVER,
                on_answer=monitoring.answered,
            )
        )
        api = build_api(
            ApiServices(
                keys=Keys(index.keys, index.buckets, index.transfers, self._engine, self._purges, clock),
                buckets=buckets,
                mirrors=mirrors,
                purges=self._purges,
                access=self._access,
                publishing=publishing,
                monitoring=monitoring,
                explain=Explain(mirrors, proxy),
                configuration=configuration,
                settings=lambda: settings_in_force(settings, configuration.values),
            )
        )
        self.status = _only(_STATUS_PATHS, api)
        self.front = _front(DataPlane(proxy, Objects(stored, publishing), trust), api)

    @property
    def peer_address(self) -> str:
        """The address of the unix socket on which other processes of this machine hand requests over."""
        return self._adapters.presence.socket_address(self._adapters.presence.owner)

    async def start(self) -> None:
        """Bring everything up; what dead processes left is cleaned before the first request is taken."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "cephstorage"))
        make_private_directory(self._settings.data_dir)
        await open_patiently(self._adapters.index)
        await self._sealed.renew(SECRETS)
        self._adapters.presence.announce()
        await self._adapters.origin.start()
        await self._access.ensure_admin(self._settings.token_file, self._via)
        await self._watch.start()
        self._adapters.own_parts.start()
        await self._janitor.start()
        self._engine.start()
        self._purges.start()

    async def hand_over(self) -> None:
        """The beginning of an orderly stop: what no request waits for is given back to other processes."""
        await self._engine.hand_over()

    async def stop(self) -> None:
        """Bring everything down; unfinished transfers keep their spools and are resumed at the next start."""
        await self._engine.stop()
        await self._purges.stop()
        await self._janitor.stop()
        await self._watch.stop()
        await self._adapters.own_parts.stop()
        await self._adapters.peers.close()
        await self._adapters.origin.close()
        self._adapters.presence.withdraw()
        await self._adapters.store.close()
        await self._adapters.index.close()


def _front(data_plane: DataPlane, api: Application) -> Application:
    """Mirror traffic (by Host) and published URLs go to the data plane, everything else to the API."""

    async def front(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and data_plane.takes(scope):
            await data_plane(scope, receive, send)
        else:
            await api(scope, receive, send)

    return front


def _only(paths: Collection[str], application: Application) -> Application:
    """The application without any other path."""

    async def some(scope: Any, receive: Any, send: Any) -> None:
        shown = (
            scope
            if scope.get("path") in paths
            else {**scope, "path": "/not-shown-here", "raw_path": b"/not-shown-here"}
        )
        await application(shown, receive, send)

    return some

"""The composition root: what the service consists of, in the order in which a request meets it.

    front ──> data plane (mirror, published URLs) ──┬─> engine ──> origin, spool, store, index
          └─> API ──> services ─────────────────────┘

Everything mutable lives in one ``Runtime``; nothing is wired at import time. To change an engine
(Ceph for disk, PostgreSQL for SQLite), see ``adapters``; what changes while the service runs follows
``Configuration`` through ``live``; the engine is put together in ``transfers``, the services in ``services``.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from cephstorage.api.app import Application, build_api
from cephstorage.api.context import ApiServices
from cephstorage.bootstrap.adapters import Adapters, instance_name, make_adapters, via_name
from cephstorage.bootstrap.background import make_background
from cephstorage.bootstrap.database import open_patiently
from cephstorage.bootstrap.services import Services, make_services
from cephstorage.bootstrap.settings import Settings, settings_in_force
from cephstorage.bootstrap.transfers import make_engine, make_janitor, make_parts
from cephstorage.domain.configuration import SECRETS
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.transfers import TransferRequest
from cephstorage.domain.usage import fetched_figures
from cephstorage.files import make_private_directory
from cephstorage.proxy.data_plane import DataPlane
from cephstorage.proxy.explain import Explain
from cephstorage.proxy.mirror import MirrorProxy
from cephstorage.proxy.mirror_request import MirrorParts
from cephstorage.proxy.objects import Objects
from cephstorage.proxy.s3_door import S3Door
from cephstorage.proxy.stored import StoredAnswers
from cephstorage.proxy.visit import MirrorVisitor
from cephstorage.services.expectations import Expectations
from cephstorage.services.monitoring import Monitoring
from cephstorage.services.origin_figures import OriginFigures
from cephstorage.services.usage import Usage
from cephstorage.transfer.engine import TransferEngine

log = structlog.get_logger()

THREADS = 16
_TAKEOVER = 3.0
"""Seconds beyond a lease in which somebody surely has taken over what a dead owner held."""
_STATUS_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
Clock = Callable[[], float]


class Runtime:
    """One process of the service, from its parts to its ASGI application ``front``.

    ``port`` None: a worker, which serves nothing but ``status``.
    """

    def __init__(self, settings: Settings, port: int | None, clock: Clock = time.time) -> None:
        via = via_name(settings)
        self._settings = settings
        self._adapters = adapters = make_adapters(settings, port, via)
        index, store, serves = adapters.index, adapters.store, port is not None
        self._monitoring = monitoring = Monitoring({"database": index.check, "store": store.check})
        self._usage = usage = Usage(index.series, clock)
        monitoring.registry.register(usage)
        monitoring.registry.register(OriginFigures(adapters.origin))
        parts = make_parts(settings, adapters, clock, self._ended)
        parts.refusals.on_refusal = lambda kind: monitoring.refused(kind.value)
        self._engine = engine = make_engine(settings, parts, serves=serves)
        self._janitor = make_janitor(settings, parts, engine, serves=serves)
        address = settings.local_address(port)
        self._services = services = make_services(settings, adapters, engine, parts.spools, address, clock)
        monitoring.checks |= {"settings": services.configuration.check, "spool": parts.spools.check}
        if services.abilities is not None:
            monitoring.checks["store abilities"] = services.abilities.check
        stored = StoredAnswers(index.keys, store, settings.objects_dir)
        mirror_parts = _mirror_parts(settings, adapters, services, engine, stored, monitoring, via, clock)
        proxy = MirrorProxy(mirror_parts)
        visitor = MirrorVisitor(proxy, mirror_parts, usage.count)
        parts.expected = Expectations(services.mirrors, visitor, index.keys)
        works = settings.background or not serves
        self._background = background = make_background(
            settings, adapters, services, visitor, monitoring, engine.landed.set, clock=clock, works=works
        )
        api = build_api(
            ApiServices(
                keys=services.keys,
                copies=services.copies,
                lifecycles=background.lifecycles,
                trash=background.trash,
                buckets=services.buckets,
                quotas=services.quotas,
                mirrors=services.mirrors,
                purges=services.purges,
                deletions=background.deletions,
                consistency=background.consistency,
                events=background.events,
                walks=index.walks,
                jobs=background.jobs,
                webhooks=background.webhooks,
                usage=usage,
                access=services.access,
                publishing=services.publishing,
                monitoring=monitoring,
                explain=Explain(
                    services.mirrors, proxy, services.purges, index.transfers, adapters.origin, adapters.origin
                ),
                configuration=services.configuration,
                settings=lambda: settings_in_force(settings, services.configuration.values),
                clock=clock,
            )
        )
        self.status = _only(_STATUS_PATHS, api)
        access_key = lambda: services.configuration["ceph_access_key"]  # noqa: E731 - asked for each request
        door = S3Door(services.mirrors, index.keys, proxy, visitor, store, access_key)
        published = Objects(stored, services.publishing)
        self.front = _front(DataPlane(proxy, published, door, services.trust, usage.count), api)

    def _ended(self, request: TransferRequest, end: str, fetched: int) -> None:
        self._monitoring.ended(request.kind.value, end, fetched)
        if request.mirror_host is not None:
            self._usage.count(request.mirror_host, fetched_figures(end, fetched))
        self._services.purges.wake()
        self._background.delivery.wake()

    @property
    def peer_address(self) -> str:
        """The address of the unix socket on which other processes of this machine hand requests over."""
        return self._adapters.presence.socket_address(self._adapters.presence.owner)

    async def start(self) -> None:
        """Bring everything up; what dead processes left is cleaned before the first request is taken."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "cephstorage"))
        make_private_directory(self._settings.data_dir)
        await open_patiently(self._adapters.index)
        await self._services.sealed.renew(SECRETS)
        await self._services.mirrors.seal_anew()
        await self._background.webhooks.seal_anew()
        self._adapters.presence.announce()
        await self._adapters.origin.start()
        await self._services.access.ensure_admin(self._settings.token_file, instance_name(self._settings))
        await self._services.watch.start()
        await self._look_at_store()
        self._adapters.own_parts.start()
        await self._background.inherit()  # the janitor removes the traces of the dead
        await self._janitor.start()
        self._engine.start()
        self._services.purges.start()
        if self._services.abilities is not None:
            self._services.abilities.start()
        self._background.start()
        self._usage.start()

    async def _look_at_store(self) -> None:
        """Say at once what is wrong with the store: the first upload may be hours away, and mirrors go on without it."""
        try:
            log.info("store_found", said=await self._adapters.store.check())
        except CephStorageError as error:
            log.warning("store_not_ready", code=error.code, msg=error.msg, advice="cephstorage doctor")

    async def hand_over(self) -> None:
        """The beginning of an orderly stop: what no request waits for is given back to other processes."""
        await self._engine.hand_over()

    async def stop(self) -> None:
        """Bring everything down; unfinished transfers keep their spools and are resumed at the next start."""
        if self._services.abilities is not None:
            await self._services.abilities.stop()
        await self._background.stop()
        await self._engine.stop()
        await self._background.delivery.stop()
        await self._usage.stop()
        await self._services.purges.stop()
        await self._janitor.stop()
        await self._services.watch.stop()
        await self._adapters.own_parts.stop()
        await self._adapters.peers.close()
        await self._adapters.origin.close()
        self._adapters.presence.withdraw()
        await self._adapters.store.close()
        await self._adapters.index.close()


def _mirror_parts(
    settings: Settings,
    adapters: Adapters,
    services: Services,
    engine: TransferEngine,
    stored: StoredAnswers,
    monitoring: Monitoring,
    via: str,
    clock: Clock,
) -> MirrorParts:
    """What the mirror stands on."""
    return MirrorParts(
        mirrors=services.mirrors,
        access=services.access,
        publishing=services.publishing,
        keys=adapters.index.keys,
        ledger=adapters.index.transfers,
        stored=stored,
        origin=adapters.origin,
        peers=adapters.peers,
        engine=engine,
        absences=services.absences,
        via_name=via,
        clock=clock,
        patience=settings.transfer.lease + _TAKEOVER,
        on_answer=monitoring.answered,
        invalidate=services.invalidations.of,
        max_body=settings.transfer.max_object_size,
    )


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

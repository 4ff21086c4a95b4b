"""The data plane's front: mirror traffic and published URLs, with errors rendered in one place."""

from collections.abc import Callable

import structlog

from cephstorage.domain.edge import S3_ASKS, S3_PREFIX
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.usage import Figures, figures_of
from cephstorage.proxy import mirror, objects
from cephstorage.proxy.exchange import ClientGone, Exchange, Receive, Scope, Send
from cephstorage.proxy.mirror import MirrorProxy
from cephstorage.proxy.objects import Objects
from cephstorage.proxy.s3_door import S3Door
from cephstorage.services.edge import EdgeTrust
from cephstorage.wire.problems import STATUS

log = structlog.get_logger()


class DataPlane:
    """An ASGI application; ``takes`` tells which requests are its own."""

    def __init__(
        self,
        mirrors: MirrorProxy,
        published: Objects,
        s3_door: S3Door,
        trust: EdgeTrust,
        count: Callable[[str, Figures], None] = lambda *_: None,
    ) -> None:
        self._count = count
        self._mirrors = mirrors
        self._published = published
        self._s3_door = s3_door
        self._trust = trust

    def takes(self, scope: Scope) -> bool:
        """Whether a request is mirror traffic (by Host, whatever its path) or asks for a published URL."""
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        raw_path = scope["raw_path"].decode("latin-1")
        return self._mirrors.answers(host) or raw_path.startswith((mirror.PREFIX, objects.PREFIX, f"{S3_PREFIX}/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Once its head is out, an error cuts the connection: never a clean end."""
        exchange = Exchange(scope, receive, send)
        exchange.edge = self._trust.ask(exchange.request.internal)
        try:
            await self._serve(exchange)
        finally:
            if exchange.mirror:
                self._count(exchange.mirror, figures_of(exchange.answered()))

    async def _serve(self, exchange: Exchange) -> None:
        try:
            if exchange.edge is not None and exchange.edge.s3 == S3_ASKS:
                await self._s3_door.serve(exchange)
            elif not self._mirrors.answers(exchange.request.host) and exchange.request.raw_path.startswith(
                objects.PREFIX
            ):
                await self._published.serve(exchange)
            else:
                await self._mirrors.serve(exchange)
        except ClientGone:
            return
        except CephStorageError as error:
            if exchange.started or STATUS.get(error.code, 500) >= 500:
                log.warning("request_failed", target=exchange.request.raw_path, code=error.code, msg=error.msg)
            await exchange.fail(error)
        except Exception:
            log.exception("request_crashed", target=exchange.request.raw_path)
            await exchange.fail(CephStorageError("The service failed on this request; its log says why."))

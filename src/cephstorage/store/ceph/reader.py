"""Reading a version from the gateway: one long GET from where reading begins, followed as far as it goes on."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

from cephstorage.domain.errors import StoredBytesMissing, StoreUnavailable
from cephstorage.store.ceph.failures import FOREIGN, of_exception
from cephstorage.store.ceph.gateway import Gateway


class CephReader:
    """The port ``ObjectReader``. ``missing`` makes the error of a version that is gone.

    Sequential reads share one GET, whose bytes RGW goes on sending though the version is deleted
    meanwhile (its tail is collected hours later). A read elsewhere begins another GET, which a deleted
    version no longer answers: the janitor's grace before it deletes is there for these.
    """

    def __init__(
        self, gateway: Gateway, path: str, version_id: str, size: int, missing: Callable[[], StoredBytesMissing]
    ) -> None:
        self.size = size
        self._gateway = gateway
        self._path = path
        self._version_id = version_id
        self._missing = missing
        self._response: aiohttp.ClientResponse | None = None
        self._position = 0
        self._turn = asyncio.Lock()

    def read_now(self, position: int, size: int) -> None:  # noqa: ARG002 - the port's shape
        """Nothing is at hand without waiting for the gateway."""
        return

    def file(self) -> None:
        """There is no file."""
        return

    async def read(self, position: int, size: int) -> bytes:
        """Exactly ``size`` bytes, or what there is before the end (port ``ObjectReader``). Raises StoredBytesMissing."""
        async with self._turn:
            size = min(size, self.size - position)
            if size <= 0:
                return b""
            if self._response is None or position != self._position:
                await self._begin(position)
            try:
                async with asyncio.timeout(self._gateway.config.timeout) as limit:
                    return await self._take(size, limit)
            except FOREIGN as error:
                self._drop()
                raise of_exception(error, self._gateway.config.gateway) from error
            except BaseException:
                self._drop()
                raise

    async def _begin(self, position: int) -> None:
        self._drop()
        response, status = await self._gateway.open(self._path, [("versionId", self._version_id)], position)
        if status == HTTPStatus.NOT_FOUND:
            response.close()
            raise self._missing()
        if status != (HTTPStatus.PARTIAL_CONTENT if position else HTTPStatus.OK):
            response.close()
            raise StoreUnavailable(f"The Ceph gateway answered {status} to a range that the version has.")
        self._response, self._position = response, position

    async def _take(self, size: int, limit: asyncio.Timeout) -> bytes:
        assert self._response is not None
        content, pieces, missing = self._response.content, [], size
        while missing:
            piece = await content.read(missing)
            if not piece:
                self._drop()
                raise StoreUnavailable("The Ceph gateway ended an object before its length.")
            pieces.append(piece)
            missing -= len(piece)
            limit.reschedule(asyncio.get_running_loop().time() + self._gateway.config.timeout)
        self._position += size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it. Idempotent."""
        if self._response is not None and self._response.content.at_eof():
            self._response.release()
            self._response = None
        self._drop()

"""Events are sent to receivers over the client of origins: the guard sees every connection, no redirect is followed."""

import asyncio
from collections.abc import AsyncIterator

from cephstorage.domain.errors import CephStorageError, OriginTimeout
from cephstorage.domain.policy import Redirects
from cephstorage.domain.validators import retry_after_seconds
from cephstorage.domain.webhook_delivery import Answer
from cephstorage.origin.http import HttpOrigin, HttpOriginResponse
from cephstorage.origin.reach import Reach
from cephstorage.ports.origin import OriginRequest, RequestBody
from cephstorage.ports.webhooks import Headers

_WORTH_READING = 16 * 1024
"""Bytes of an answer that are read for the connection's sake."""


class HttpWebhooks:
    """The port ``WebhookSender``. ``timeout``: seconds for the whole of a request."""

    def __init__(self, http: HttpOrigin, timeout: float) -> None:
        self._http = http
        self._timeout = timeout
        self._reach = Reach(connect_timeout=timeout, read_timeout=timeout)

    async def send(self, url: str, headers: Headers, body: bytes, now: float) -> Answer:
        """POST the body; what is wrong is part of the answer."""
        request = OriginRequest(
            url, "POST", headers=headers, redirects=Redirects.PASS, body=RequestBody(_once(body), len(body))
        )
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._http.open(request, self._reach)
                return await _read(response, now)
        except TimeoutError:
            return Answer(error=OriginTimeout.code)
        except CephStorageError as error:
            return Answer(error=error.code)


async def _read(response: HttpOriginResponse, now: float) -> Answer:
    """The answer. Its body says nothing; a short one is read so that the connection can be used again."""
    patience = retry_after_seconds(response.headers.get("retry-after"), now)
    try:
        if response.length is not None and response.length <= _WORTH_READING:
            async for _ in response.chunks():
                pass
    except CephStorageError:
        pass  # its head was what counts
    finally:
        await response.close()
    return Answer(response.status, retry_after=patience)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body

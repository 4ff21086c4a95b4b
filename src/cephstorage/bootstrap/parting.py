"""The end of requests that outlive the grace of a stop: no answer that somebody could take for a whole one.

An answer that has begun is cut. One that has not is a 503, except for GETs of our own edge and of other
processes: their connection ends without an answer, which makes them ask the next process at once
(nginx: ``proxy_next_upstream error``) instead of showing the client an error.
"""

import asyncio
from typing import Any

from cephstorage.api.app import Application
from cephstorage.domain.edge import EDGE
from cephstorage.proxy.exchange import CONNECTION, FORWARDED
from cephstorage.wire.problems import problem

_ASK_ELSEWHERE = frozenset({EDGE.encode(), FORWARDED.encode()})


def parting(application: Application) -> Application:
    """The application, with a last word for requests that the stop cancels."""

    async def front(scope: Any, receive: Any, send: Any) -> None:
        started = False

        async def noting(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await application(scope, receive, noting)
        except asyncio.CancelledError:
            if started:
                return  # the server cuts what has no end
            if scope["method"] in {"GET", "HEAD"} and not _ASK_ELSEWHERE.isdisjoint(
                name for name, _ in scope["headers"]
            ):
                scope["extensions"][CONNECTION].cut()
            else:
                await _stopping(send)

    return front


async def _stopping(send: Any) -> None:
    status, headers, body = problem("unavailable", "The service is stopping; ask again.", 1)
    fields = [*headers, ("content-length", str(len(body))), ("connection", "close")]
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": int(status), "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})

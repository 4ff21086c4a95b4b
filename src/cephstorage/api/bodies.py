"""Request bodies: read in pieces, and never more of them into memory than the endpoint is willing to hold."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from cephstorage.domain.errors import BodyTooLarge, UploadInterrupted

LARGEST_JSON = 16 << 20
"""Bytes of a body that names many things."""
LARGEST_FORM = 4 << 20
"""Bytes of a body that is read before anybody knows who is calling."""


async def chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises UploadInterrupted."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise UploadInterrupted("The client went away before the body was whole; nothing was stored.") from error


async def bounded_body(request: Request, most: int) -> bytes:
    """The whole body, of at most ``most`` bytes. Raises BodyTooLarge, UploadInterrupted."""
    body = bytearray()
    async for chunk in chunks(request):
        body += chunk
        if len(body) > most:
            raise BodyTooLarge(f"The body may have at most {most} bytes.")
    return bytes(body)


class BoundedRoute(APIRoute):
    """A route whose body the framework parses, which would read one of any size."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a body that was read within bounds."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            body = await bounded_body(request, LARGEST_FORM)

            async def replay() -> dict[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, replay))

        return bounded

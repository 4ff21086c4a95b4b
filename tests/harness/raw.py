"""HTTP as bytes on a socket: nothing is escaped, folded, checked or repaired on the way out."""

import contextlib
import socket
from collections.abc import Iterable
from http.client import HTTPResponse

from tests.harness.service import Reply, Service


def connect(service: Service) -> socket.socket:
    """A connection to the service."""
    return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def head(service: Service, method: str, target: bytes, headers: Iterable[str] = (), *, token: bool = True) -> bytes:
    """A request's head with the admin's token, Host and ``Connection: close``."""
    fields = [f"Host: 127.0.0.1:{service.port}", "Connection: close", *headers]
    if token:
        fields.append(f"Authorization: Bearer {service.admin_token}")
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join([*fields, "", ""]).encode("latin-1")


def send(sock: socket.socket, data: bytes) -> None:
    """Send as much as the service takes: it may answer, and close, before it has read everything."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(data)


def answer(sock: socket.socket, method: str = "GET") -> Reply:
    """Read the answer to the one request that was sent."""
    response = HTTPResponse(sock, method=method)
    try:
        response.begin()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, fields, response.read())
    finally:
        response.close()


def ask(
    service: Service,
    method: str,
    target: bytes,
    body: bytes = b"",
    headers: Iterable[str] = (),
    *,
    token: bool = True,
) -> Reply:
    """One request whose target travels byte by byte as given."""
    fields = [*headers, f"Content-Length: {len(body)}"] if body or method in {"PUT", "POST"} else list(headers)
    with connect(service) as sock:
        send(sock, head(service, method, target, fields, token=token) + body)
        return answer(sock, method)

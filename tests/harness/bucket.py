"""A tenant's bucket on a running service, and what tests do with it in one line each."""

import hashlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tests.harness.patience import until
from tests.harness.service import Reply, Service


def md5(body: bytes) -> str:
    """Hex md5, computed here and not by the service."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class Bucket:
    """``username``'s bucket ``name`` on ``service``; made at once."""

    def __init__(self, service: Service, username: str, name: str = "photos") -> None:
        self.service = service
        self.username = username
        self.name = name
        self.path = f"/ceph/{username}/{name}"
        self.service.json("PUT", self.path)

    def target(self, key: str, **query: Any) -> str:
        """The key's address, everything but letters, digits and ``_.-~`` escaped."""
        return f"{self.path}/keys/{quote(key, safe='')}" + (f"?{urlencode(query)}" if query else "")

    # -- bytes in

    def upload(self, key: str, body: bytes, headers: dict[str, str] | None = None, **query: Any) -> Reply:
        """Upload a body; the answer, whatever it is."""
        return self.service.call("PUT", self.target(key, **query), body, headers)

    def upload_chunked(self, key: str, chunks: Iterator[bytes]) -> int:
        """Upload chunks without saying how many bytes come (``Transfer-Encoding: chunked``); the status."""
        connection = HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.service.admin_token}"}
            connection.request("PUT", self.target(key), chunks, headers, encode_chunked=True)
            return connection.getresponse().status
        finally:
            connection.close()

    def put(self, key: str, body: bytes, headers: dict[str, str] | None = None, **query: Any) -> Any:
        """Upload a body that must be taken; its record."""
        reply = self.upload(key, body, headers, **query)
        assert reply.status == 201, reply.body
        return reply.json()

    def post(self, content: Any, headers: dict[str, str] | None = None) -> Reply:
        """Ask for keys from URLs; the answer, whatever it is."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.service.call("POST", f"{self.path}/keys", json.dumps(content).encode(), sent)

    def create(self, key: str, url: str, headers: dict[str, str] | None = None, **options: Any) -> str:
        """Begin the creation of a key from a URL; its token."""
        reply = self.post({"key_name": key, "key_url": url, **options}, headers)
        assert reply.status == 202, reply.body
        assert reply.json()["key"] == key
        return str(reply.json()["token"])

    # -- progress

    def progress(self, token: str) -> Any:
        """The progress record of a token."""
        return self.service.json("GET", f"/ceph/progress/{token}")

    def ended(self, token: str) -> Any:
        """The progress record of a token once it has ended."""
        return until(lambda: self.progress(token), lambda progress: progress["state"] != "inprogress")

    def failure(self, token: str) -> str:
        """The error code with which a transfer has to end."""
        progress = self.ended(token)
        assert progress["progress"] == progress["state"] == "fail", progress
        assert progress["error"]["msg"]
        return str(progress["error"]["code"])

    def success(self, token: str) -> Any:
        """The progress record of a transfer that has to succeed."""
        progress = self.ended(token)
        assert progress["progress"] == progress["state"] == "success", progress
        assert progress["error"] is None
        return progress

    # -- what is there

    def record(self, key: str, **query: Any) -> Any:
        """The record of a key that must exist."""
        return self.service.json("GET", self.target(key, **query))

    def exists(self, key: str) -> bool:
        """Whether the key has a record."""
        status = self.service.call("GET", self.target(key)).status
        assert status in {200, 404}
        return status == 200

    def published(self, key: str, headers: dict[str, str] | None = None, method: str = "GET") -> Reply:
        """A key asked for at its published address, without a token."""
        return self.service.call(method, address(self.record(key)["url"]), None, headers, token=None)

    def read(self, key: str) -> bytes:
        """The bytes of a key that must exist."""
        reply = self.published(key)
        assert reply.status == 200, reply.body
        return reply.body

    def listing(self, **query: Any) -> Any:
        """One page of a listing."""
        return self.service.json("GET", f"{self.path}/keys?{urlencode(query)}")

    def usage(self) -> tuple[int, int]:
        """Bytes and keys, as the bucket counts them."""
        shown = self.service.json("GET", self.path)
        return shown["size"], shown["keyamount"]

    def delete(self, key: str) -> None:
        """Delete a key that must exist."""
        assert self.service.json("DELETE", self.target(key)) == {"msg": "key_deleted"}


def address(url: str) -> str:
    """A published URL without scheme and host, exactly as it is written behind them."""
    parts = urlsplit(url)
    return url.removeprefix(f"{parts.scheme}://{parts.netloc}")


def spooled(data_dir: Path) -> list[str]:
    """The files in the spool."""
    folder = data_dir / "spool"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

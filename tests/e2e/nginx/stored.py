"""An edge whose proxy and whose store are fault origins, so that every answer and every death is chosen."""

import time
from itertools import count

from cephstorage.domain import edge
from tests.e2e.nginx.wire import MIRROR, Wire
from tests.harness.behaviour import LoggedRequest
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.service import Reply

BODY = Content(21, 4 * MIB + 300_000)
TARGET = "/alice___photos/a%2F..%2Fb?versionId=1&X-Amz-Signature=s"
_NUMBERS = count(1)
LAST = f"bytes={4 * MIB}-{5 * MIB - 1}"
"""The last slice of it."""
NOISE = [
    ("x-amz-meta-md5", "store"),
    ("x-amz-request-id", "store"),
    ("x-amz-version-id", "store"),
    ("x-rgw-object-type", "Normal"),
    ("Cache-Control", "store"),
    ("Expires", "store"),
    ("Content-Disposition", "store"),
    ("Content-Language", "store"),
    ("Set-Cookie", "store"),
    ("Vary", "store"),
    ("X-Accel-Redirect", "/_disk/x"),
    ("X-Accel-Expires", "600"),
]
SHOWN = [
    ("ETag", '"public"'),
    ("Last-Modified", "Tue, 02 Jan 2024 00:00:00 GMT"),
    ("Content-Type", "text/x-public"),
    ("Cache-Control", "public, max-age=60"),
    ("Content-Disposition", "attachment"),
    ("Link", "<a>; rel=next, <b>"),
    ("Age", "7"),
    ("Via", "1.1 cephstorage-x"),
]


class Stored(Wire):
    """A wire whose proxy points nginx to a store."""

    def __init__(self, edge_: Edge, proxy: FaultOrigin, store: FaultOrigin) -> None:
        super().__init__(edge_, proxy)
        self.store = store
        self.path = f"/{next(_NUMBERS)}"

    def point(
        self,
        *,
        host: str = MIRROR,
        key: str | None = None,
        keep: int = 0,
        further: bool = False,
        target: str = TARGET,
        own_etag: str = '"own"',
        own_status: int = 200,
    ) -> str:
        """Have the proxy point to the store; for requests of the store's failure it sends bytes itself.

        ``further``: it says that the other slices need not be asked for. ``own``: of the bytes that it sends itself.
        """
        path = self.path if host == MIRROR else f"/objects{self.path}"

        def headers(request: LoggedRequest) -> list[tuple[str, str]]:
            if edge.STORE_FAILED in request.headers:
                return [(edge.ACCEL_EXPIRES, "0"), ("X-By", "proxy")]
            where = [
                (edge.ACCEL_EXPIRES, str(keep)),
                (edge.ACCEL_REDIRECT, edge.STORE_LOCATION),
                (edge.STORE_TARGET, target),
                (edge.STORE_HOST, "rgw.test:7480"),
                *SHOWN,
            ]
            if "range" in request.headers:
                where.append((edge.STORE_RANGE, request.headers["range"]))
            if further:
                where += [(edge.FURTHER, f"store {LAST}"), (edge.KEEP_UNTIL, f"@{int(time.time()) + keep}")]
            return [*where, (edge.STORE_KEY, key)] if key is not None else where

        def mine(request: LoggedRequest) -> bool:
            return edge.STORE_FAILED in request.headers

        self.proxy.put(
            path,
            BODY,
            headers=headers,
            status=lambda request: own_status if mine(request) else 200,
            ranges=mine,
            etag=lambda request: own_etag if mine(request) else None,
            last_modified=None,
            content_type=lambda request: "text/x-own" if mine(request) else None,
        )
        return path


def check(answer: Reply, body: bytes, status: int) -> None:
    """The proxy's headers and nothing of the store's, with these bytes."""
    assert (answer.status, answer.body) == (status, body)
    for name, value in SHOWN:
        assert answer.headers[name.lower()] == value, name
    assert answer.headers["accept-ranges"] == "bytes"
    assert not [name for name in answer.headers if name.startswith(("x-amz", "x-rgw", "x-accel", "x-ceph"))]
    assert not [name for name, value in answer.headers.items() if value == "store"]

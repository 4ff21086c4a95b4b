"""The service on a real one-node Ceph beside the same gateway without it: ``python -m bench.ceph``.

The peer is the leanest client there is: one plain request to an address that was signed beforehand. Rounds
are interleaved, so that a drift of the machine meets both sides.
"""

import argparse
import http.client
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import Content
from tests.harness.s3 import Bystander
from tests.harness.service import Service

from bench.__main__ import MIB, MIRROR, cold, origin, paired, show

AT_ONCE = 32


def send(port: int, method: str, target: str, body: bytes, headers: dict[str, str] | None = None) -> float:
    """Seconds that one request takes, its answer read whole."""
    begin = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request(method, target, body or None, headers or {})
    answer = connection.getresponse()
    assert answer.status < 300, (answer.status, answer.read())
    while answer.read(MIB):
        pass
    connection.close()
    return time.monotonic() - begin


class Peer:
    """The gateway itself, through presigned addresses."""

    def __init__(self, node: Ceph) -> None:
        self._seen = Bystander(node, "bench___bare")
        self._seen.client.create_bucket(Bucket="bench___bare")
        self.port = urlsplit(node.gateway).port or 0

    def target(self, operation: str, key: str) -> str:
        """The path and query of a presigned request."""
        parameters = {"Bucket": "bench___bare", "Key": key}
        parts = urlsplit(self._seen.client.generate_presigned_url(operation, Params=parameters))
        return f"{parts.path}?{parts.query}"

    def put(self, key: str, body: bytes) -> float:
        """Seconds of a PUT."""
        return send(self.port, "PUT", self.target("put_object", key), body)


def rates(size: int, ours: float, peer: float) -> tuple[str, str, float]:
    """MiB/s of both, and ours as a ratio."""
    return f"{size / MIB / ours:.0f} MiB/s", f"{size / MIB / peer:.0f} MiB/s", peer / ours


def many(count: int, one: Callable[[int], object]) -> float:
    """Requests per second with many at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begin = time.monotonic()
        list(pool.map(one, range(count)))
        return count / (time.monotonic() - begin)


def measure(node: Ceph, folder: Path, size: int, rounds: int, small: int) -> None:
    """Print the table."""
    peer = Peer(node)
    settings = {"ceph_gateway": node.gateway, "ceph_access_key": node.access_key, "ceph_secret_key": node.secret_key}
    with origin(size) as port:
        service = Service(folder, store="ceph", origin_allowed_ports=str(port), log_level="error", **settings).start()
        try:
            bucket, body = Bucket(service, "bench"), Content(1, size).read()
            order = {"mirror": MIRROR, "origin": f"http://127.0.0.1:{port}", "bucket": "bench___mirror"}
            service.json("POST", "/mirrors/host", order)
            token = {"Authorization": f"Bearer {service.admin_token}"}

            def upload(key: str, data: bytes) -> float:
                return send(service.port, "PUT", bucket.target(key), data, token)

            show(f"{size // MIB} MiB, bluestore", "CephStorage", "RGW direct", None)
            ours, bare = paired(rounds, lambda n: upload(f"u{n}", body), lambda n: peer.put(f"u{n}", body))
            show("Upload, until it is published", *rates(size, ours, bare))

            def fill(number: int) -> float:
                begin = time.monotonic()
                cold(service, f"/file?cold={number}")
                return time.monotonic() - begin

            ours, bare = paired(rounds, fill, lambda n: peer.put(f"f{n}", body))
            show("Fill, until it is published", *rates(size, ours, bare))
            url = urlsplit(bucket.record("u0")["url"])
            ours, bare = paired(
                rounds,
                lambda _: send(service.port, "GET", f"{url.path}?{url.query}", b""),
                lambda _: send(peer.port, "GET", peer.target("get_object", "u0"), b""),
            )
            show("Download through the service", *rates(size, ours, bare))
            little = Content(2, 4096).read()
            fast, bare = paired(
                rounds,
                lambda n: many(small, lambda i: upload(f"s{n}/{i}", little)),
                lambda n: many(small, lambda i: peer.put(f"s{n}/{i}", little)),
            )
            show(f"Uploads of 4 KiB, {AT_ONCE} at a time", f"{fast:.0f}/s", f"{bare:.0f}/s", fast / bare)
        finally:
            service.stop()


def main() -> None:
    """Measure on a cluster in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=500)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Ceph(Path(folder) / "ceph", "bluestore").start() as node:
        measure(node, Path(folder) / "data", asked.mib * MIB, asked.rounds, asked.small)


if __name__ == "__main__":
    main()

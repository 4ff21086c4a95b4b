"""The order in which an edge is told: slice 0, which holds the decision for the others, is dropped before any of them."""

import asyncio

import pytest

from cephstorage.domain.edge import PURGE_PATH, PURGE_RANGE
from cephstorage.domain.errors import EdgeUnreachable
from cephstorage.edge.purge import HttpEdgeCaches
from tests.harness.behaviour import LoggedRequest
from tests.harness.origin import FaultOrigin


async def told(edge: FaultOrigin, size: int) -> list[str]:
    """The slices that an edge is asked to forget of an object, in slices of ten bytes."""
    caches = HttpEdgeCaches(lambda: "secret", 10)
    try:
        await caches.forget(edge.url, "mirror.test", "/a", size)
    except EdgeUnreachable:
        pass
    finally:
        await caches.close()
    return [request.headers[PURGE_RANGE] for request in edge.logged()]


def test_every_slice_is_dropped_once() -> None:
    with FaultOrigin() as edge:
        edge.put(PURGE_PATH, b"")
        slices = asyncio.run(told(edge, 95))
    assert slices[0] == "bytes=0-9"
    assert sorted(slices) == sorted(f"bytes={start}-{start + 9}" for start in range(0, 95, 10))


@pytest.mark.parametrize("size", [0, 5, 95])
def test_while_slice_0_is_there_no_other_is_dropped(size: int) -> None:
    def refuses(request: LoggedRequest) -> int:
        return 503 if request.headers[PURGE_RANGE] == "bytes=0-9" else 200

    with FaultOrigin() as edge:
        edge.put(PURGE_PATH, b"", status=refuses)
        assert asyncio.run(told(edge, size)) == ["bytes=0-9"]

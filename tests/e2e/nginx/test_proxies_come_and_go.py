"""Two proxies behind the edge, killed, stopped and started under load: no wrong byte, and no error that a retry does not end."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.stack import Stack

BODY = Content(31, 3 * MIB + 11)


class Reader(threading.Thread):
    """A client that reads again and again and tries once more after an error. ``cold``: a new target each time."""

    def __init__(self, site: Site, stop: threading.Event, name: str, *, cold: bool) -> None:
        super().__init__(name=name)
        self._site = site
        self._stop_reading = stop
        self._cold = cold
        self.wrong: list[str] = []
        self.right = 0

    def run(self) -> None:
        while not self._stop_reading.is_set():
            target = f"/file?{self.name}-{self.right}" if self._cold else "/file"
            if (first := self._read(target)) is None or (second := self._read(target)) is None:
                self.right += 1
            else:
                self.wrong.append(f"{target}: {first}; {second}")

    def _read(self, target: str) -> str | None:
        """Read it whole; None, or what broke."""
        try:
            with self._site.open(target) as answer:
                if answer.status != 200:
                    return f"{answer.status} {answer.rest()[:200]!r}"
                position = 0
                while position < BODY.size:
                    piece = answer.read(min(256 * 1024, BODY.size - position))
                    if piece != BODY.read(position, position + len(piece)):
                        self.wrong.append(f"{target}: wrong bytes at {position}")
                        return None
                    position += len(piece)
        except Exception as error:  # noqa: BLE001 - whatever breaks is tried once more
            return repr(error)
        return None


@pytest.mark.slow
def test_no_client_gets_a_wrong_byte_or_two_errors(tmp_path: Path, origin: FaultOrigin) -> None:
    origin.put("/file", BODY)
    stack = Stack(tmp_path / "data", proxies=2, origin_allowed_ports=str(origin.port)).start()
    try:
        site = Site(stack, origin, "busy")
        site.order(query="include")
        until(lambda: all(site.get(f"/file?{number}").status == 200 for number in range(8)))
        stop = threading.Event()
        readers = [Reader(site, stop, f"r{number}", cold=number % 2 == 0) for number in range(6)]
        for reader in readers:
            reader.start()
        ends: list[Callable[[], object]] = [stack.proxies[0].kill, stack.proxies[1].kill, stack.proxies[0].stop]
        for end in ends:
            done = [reader.right for reader in readers]
            end()
            stack.start()
            goals = [(reader, before + 2) for reader, before in zip(readers, done, strict=True)]
            until(lambda goals=goals: all(reader.right >= goal for reader, goal in goals), seconds=120)
        stop.set()
        for reader in readers:
            reader.join()
        assert [line for reader in readers for line in reader.wrong] == []
    finally:
        stack.stop()

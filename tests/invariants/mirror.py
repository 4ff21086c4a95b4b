"""A mirror over the same bucket: fills with faults of the origin, and what is stored, served when the origin is gone."""

import http.client
import select
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.harness.behaviour import Gate
from tests.harness.patience import until
from tests.invariants.dealing import deed
from tests.invariants.installation import md5
from tests.invariants.model import ABSENT, State
from tests.invariants.readers import Readers, meanwhile
from tests.invariants.world import keys, sizes

moods = ("none", "resumed", "held", "held", "broken", "torn", "missing", "busy")
SPOILT = frozenset({"broken", "torn", "missing", "busy"})


@dataclass
class Reading:
    """Somebody who reads a key through the mirror. ``expected``: what it may have been since it was asked for.

    ``lands``: what must be stored when it has been read whole; ABSENT where that depends on what else happens.
    """

    sock: socket.socket
    key: str
    expected: set[State]
    lands: State
    deaths: int
    put: int
    gate: Gate | None = None


class Mirrors(Readers):
    """Readers of a mirror whose bucket others write to, too."""

    def __init__(self) -> None:
        super().__init__()
        self.host = f"{self.username}.test"
        self.site = f"/{self.username}/site"
        self.readings: list[Reading] = []
        self.puts: dict[str, int] = {}
        self.failed = False
        """Whether the origin has failed: then it is left alone for a while, for other keys, too."""
        wish = {"mirror": self.host, "origin": self.origin.url + self.site, "bucket": self.bucket}
        self.home.json("POST", "/mirrors/host", wish)

    @deed(times=2, key=keys, size=sizes, mood=moods, between=meanwhile, cold=(True, True, False))
    def read_through_the_mirror(self, key: str, size: int, mood: str, between: str, cold: bool) -> None:
        """What is stored comes whole though the origin fails; what is not comes from there, and may be stored then."""
        self._finish_readings(key)
        if cold and ABSENT not in self.model.allowed(key):
            self.delete(key)
        before, rests = self.model.allowed(key), self.model.at_rest(key)
        gate = None
        if ABSENT not in before:
            self._put(key, b"", {"status": 500})
        elif key not in self.model.fills:
            gate = self._offer(key, size, mood)
        fresh = rests and before == {ABSENT} and mood in {"none", "resumed"}
        free = not self.model.room.bounded and key not in self.model.ending
        (lands,) = self.model.fills[key] if fresh and free else {ABSENT}
        expected = before | self.model.fills.get(key, set())
        reading = Reading(self._ask(key), key, expected, lands, self.home.deaths, self.puts[key], gate)
        self.readings.append(reading)
        if gate is not None:
            until(lambda: gate.reached.is_set() or bool(select.select([reading.sock], [], [], 0)[0]))
            self._happens(between, key, 70_000)
        if gate is None or between != "later":
            self._finish_readings(key)

    def _offer(self, key: str, size: int, mood: str) -> Gate | None:
        """Have the origin offer new bytes for a key."""
        body = self._body(size + 2)
        half, gate = len(body) // 2, Gate() if mood == "held" else None
        known: dict[str, dict[str, Any]] = {
            "resumed": {"die_after": half, "die_times": 1},
            "broken": {"die_after": half},
            "torn": {"die_after": half, "framing": "chunked", "ranges": False},
            "missing": {"status": 404},
            "busy": {"refuse_times": 1},
            "held": {"gate": gate, "gate_after": half},
        }
        if gate is not None:
            self.gates.append(gate)
        self._put(key, body, known.get(mood, {}))
        # What does not fit in a quota comes as it comes: nobody could go on with it.
        self.failed |= mood in SPOILT or (mood == "resumed" and self.model.room.bounded)
        self.model.filling(key, md5(body))
        return gate

    def _put(self, key: str, body: bytes, behaviour: dict[str, Any]) -> None:
        self.puts[key] = self.puts.get(key, 0) + 1
        self.origin.put(f"{self.site}/{quote(key)}", body, **behaviour)

    def _ask(self, key: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.home.service.port), timeout=60)
        sock.sendall(f"GET /{quote(key)} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())
        return sock

    def _finish_readings(self, key: str | None = None) -> None:
        """Read to the end what is asked of a key, or of all."""
        mine = [each for each in self.readings if key in {None, each.key}]
        self.readings = [each for each in self.readings if each not in mine]
        for reading in mine:
            if reading.gate is not None:
                reading.gate.set()
        for reading in mine:
            with reading.sock:
                self._finish_reading(reading)

    def _finish_reading(self, reading: Reading) -> None:
        key, answer = reading.key, http.client.HTTPResponse(reading.sock)
        try:
            answer.begin()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._alive()
            same = self.home.deaths == reading.deaths and self.puts[key] == reading.put
            assert not same or (self.failed and ABSENT in reading.expected), f"a reader of {key!r} was cut"
            return
        if answer.status != 200:
            assert ABSENT in reading.expected, f"{key!r} was stored, and not served: {answer.status} {body[:500]!r}"
            assert answer.status >= 400
            return
        expected = reading.expected | self.model.allowed(key)
        assert md5(body) in expected, f"I8: {key!r} came as {md5(body)}, may be {expected}"
        if reading.lands == md5(body):
            self._landed(reading)

    def _landed(self, reading: Reading) -> None:
        """What was read whole, and whom nobody was in the way of, is stored."""

        def filling() -> bool:
            self._alive()
            rows = self.home.snapshot(self.bucket).transfers.values()
            return any((row.kind, row.key, row.state) == ("fill", reading.key, "inprogress") for row in rows)

        until(lambda: not filling())
        record = self.home.snapshot(self.bucket).living.get(reading.key)
        if self.home.deaths == reading.deaths:
            assert record is not None, f"{reading.key!r} was not stored"
            assert record.md5 == reading.lands

"""One example: a bucket of its own on the installation, what is known of it, and what every deed needs."""

import contextlib
import itertools
import random
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from hypothesis.stateful import RuleBasedStateMachine

from tests.harness.behaviour import Gate
from tests.harness.content import MIB
from tests.harness.origin import FaultOrigin
from tests.invariants.dealing import remark
from tests.invariants.installation import Died, Installation, md5
from tests.invariants.model import ABSENT, Model, State

JSON = {"Content-Type": "application/json"}
CONSISTENCY = "/monitor/consistency"
QUOTA_EXCEEDED = "quota_exceeded"
SMALL, BIG = ("a", "b/c", "b/d e"), "big"
OURS = (*SMALL, BIG)
SIZES = (0, 700, 70_000, MIB + 5000)
"""From a mebibyte on, phases are noted in the transfer's row."""

keys, sizes, picks = SMALL, SIZES, range(1001)
_tenants = itertools.count()


class World(RuleBasedStateMachine):
    """Set ``home``, ``origin`` and ``failures``, where they are kept in their order, in a subclass."""

    home: ClassVar[Installation]
    origin: ClassVar[FaultOrigin]
    failures: ClassVar[list[Exception]]

    def __init__(self) -> None:
        super().__init__()
        self.username = f"tenant-{next(_tenants)}"
        self.bucket = f"{self.username}___photos"
        self.path = f"/ceph/{self.username}/photos"
        self.home.json("PUT", self.path)
        self.told = False
        """Whether somebody may look at keys of himself by now: one who walks, or is told by the store."""
        self.model = Model({key: {ABSENT} for key in OURS})
        self.bodies: dict[str, bytes] = {}
        self.urls: dict[str, str] = {}
        self.gates: list[Gate] = []
        self._random = random.Random(self.username)

    def rest(self) -> None:
        """Let whatever else goes on in a kind of examples come to its end."""

    def held(self) -> None:
        """What must be true after each deed (see ``machine``)."""

    def _alive(self) -> None:
        """If it has died at its point without anybody's noticing, it is started again."""
        with contextlib.suppress(Died):
            self.home.call("GET", "/healthz")

    def _write(self, key: str, state: State, deed: Callable[[], Any], *, may: bool = True) -> Any:
        """The answer to a write; None when it was lost."""
        try:
            return deed()
        except Died:
            remark(f"the answer to a write of {key!r} was lost")
            if may:
                self.model.lost(key, state)
            return None

    def _url(self, key: str) -> str | None:
        """The path of the key's published address, which is good for all versions; None when there has been none yet."""
        if key in self.urls:
            return self.urls[key]
        reply = self.home.ask(self._at(key))
        assert reply.status in {200, 404}, reply.body
        if reply.status == 404:
            return None
        parts = urlsplit(reply.json()["url"])
        self.urls[key] = f"{parts.path}?{parts.query}"
        return self.urls[key]

    def _at(self, key: str) -> str:
        return f"{self.path}/keys/{quote(key, safe='')}"

    def _body(self, size: int) -> bytes:
        body = self._random.randbytes(size)
        self.bodies[md5(body)] = body
        return body

    @staticmethod
    def _picked(choices: Any, pick: int) -> Any:
        return choices[pick % len(choices)]

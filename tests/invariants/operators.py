"""Whoever runs the service: checks and walks; and the deaths that come over it."""

import contextlib

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.invariants.installation import Died
from tests.invariants.world import CONSISTENCY, World, keys, picks


class Operators(World):
    """Checks, walks, deaths."""

    @rule(key=keys, hinted=st.booleans())
    def check(self, key: str, hinted: bool) -> None:
        """Hold a key against the store, as after a notification, true or not: nothing is found, nothing changes."""
        rests = self.model.at_rest(key)
        with contextlib.suppress(Died):
            told = self.home.json(
                "POST", f"{CONSISTENCY}/check", {"bucket": self.bucket, "key": key, "changed": hinted}
            )
            assert told["finding"] is None, told
            assert told["action"] is None or not rests, told

    @rule(kind=st.sampled_from(["reconcile", "scrub"]))
    def walk(self, kind: str) -> None:
        """Have the whole bucket held against the store."""
        with contextlib.suppress(Died):
            self.home.json("POST", CONSISTENCY, {"bucket": self.bucket, "kind": kind})

    @rule(pick=picks)
    def arm(self, pick: int) -> None:
        """The service dies at a named point, whenever it comes to it."""
        self.home.arm(self._picked(self.home.points, pick))

    @rule(way=st.sampled_from(["killed", "restarted", "spared"]))
    def end(self, way: str) -> None:
        """The service dies wherever it is now, or ends in order. Some are spared: a start costs as much as many deeds."""
        match way:
            case "killed":
                self.home.kill()
            case "restarted":
                self.home.restart()

    @rule()
    def release(self) -> None:
        """An origin that was silent goes on."""
        if not self.gates:
            return
        self.gates.pop(0).set()

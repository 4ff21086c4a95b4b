"""Whoever runs the service: checks and walks; and the deaths that come over it."""

import contextlib

from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import CEPH_POINTS, DISK_POINTS, POINTS, Died
from tests.invariants.world import CONSISTENCY, World, keys


class Operators(World):
    """Checks, walks, deaths."""

    @deed(key=keys, hinted=EITHER)
    def check(self, key: str, hinted: bool) -> None:
        """Hold a key against the store, as after a notification, true or not: nothing is found, nothing changes."""
        rests = self.model.at_rest(key)
        with contextlib.suppress(Died):
            told = self.home.json(
                "POST", f"{CONSISTENCY}/check", {"bucket": self.bucket, "key": key, "changed": hinted}
            )
            assert told["finding"] is None, told
            assert told["action"] is None or not rests, told

    @deed(kind=("reconcile", "scrub"))
    def walk(self, kind: str) -> None:
        """Have the whole bucket held against the store."""
        self.told |= kind == "reconcile"
        with contextlib.suppress(Died):
            self.home.json("POST", CONSISTENCY, {"bucket": self.bucket, "kind": kind})

    @deed(point=(*POINTS, *DISK_POINTS, *CEPH_POINTS))
    def arm(self, point: str) -> None:
        """The service dies at a named point, if it comes to it."""
        self.home.arm(point)

    @deed()
    def contend(self) -> None:
        """The next transactions that write lose a race, as PostgreSQL tells it: nobody hears of it."""
        self.home.contend()

    @deed(way=("killed", "restarted", "spared"))
    def end(self, way: str) -> None:
        """The service dies wherever it is now, or ends in order. Some are spared: a start costs as much as many deeds."""
        match way:
            case "killed":
                self.home.kill()
            case "restarted":
                self.home.restart()

    @deed()
    def release(self) -> None:
        """An origin that was silent goes on."""
        if not self.gates:
            return
        self.gates.pop(0).set()

"""Deaths in the midst of a deed: each at a named point, with a deed that comes to it."""

import contextlib

from tests.harness.content import MIB
from tests.harness.patience import until
from tests.invariants.clients import Clients
from tests.invariants.dealing import deed
from tests.invariants.installation import KEYS, LANDING, S3, Died, md5
from tests.invariants.model import Creation
from tests.invariants.world import SMALL, keys

PARTED = MIB + 5000
"""On Ceph it comes in parts (see ``installation.SIZES``)."""
DOOMS = (
    ("uploaded", 700, f"{LANDING}.plan/after"),
    ("uploaded", 700, f"{S3}.put/after"),
    ("uploaded", 700, f"{LANDING}.publish/before"),
    ("uploaded", PARTED, f"{S3}.begin_upload/after"),
    ("uploaded", PARTED, f"{S3}.put_part/after"),
    ("uploaded", PARTED, f"{S3}.complete/after"),
    ("created", 700, f"{LANDING}.publish/after"),
    ("created", PARTED, f"{S3}.put_part/after"),
    ("created", PARTED, f"{S3}.complete/before"),
    ("copied", 700, f"{S3}.copy/before"),
    ("copied", PARTED, f"{S3}.copy/after"),
    ("renamed", 700, f"{LANDING}.publish/before"),
    ("renamed", 700, f"{LANDING}.publish/after"),
    ("renamed", PARTED, f"{S3}.complete/after"),
    ("deleted", 700, f"{KEYS}.delete/before"),
    ("deleted", 700, f"{KEYS}.delete/after"),
)


class Deaths(Clients):
    """Clients whose service dies under their hands."""

    @deed(times=5, doom=DOOMS, key=keys)
    def die(self, doom: tuple[str, int, str], key: str) -> None:
        """Whatever there was of the key, or what it was to become, is whole."""
        done, size, point = doom
        if point not in self.home.points:
            return
        if done not in {"created", "uploaded"}:
            self._upload(key, self._body(size), right=True)
        self.home.arm(point)
        match done:
            case "uploaded":
                self._upload(key, self._body(size), right=True)
                self._upload(key, self._body(size), right=True)  # its client has heard nothing, and comes again
            case "created":
                self._create_and_see(key, size)
            case "copied" | "renamed":
                self.copy(key, SMALL[SMALL.index(key) - 1], done == "renamed")
            case "deleted":
                self.delete(key)

    @deed(key=keys)
    def replace_at_origin(self, key: str) -> None:
        """It dies while it stores, the spool is lost, the origin has other bytes, and it dies with these: one of both is whole."""
        body, other, path = self._body(PARTED), self._body(PARTED), f"/{self.username}/{len(self.model.creations)}"
        self.origin.put(path, body)
        self.home.arm(f"{S3}.put_part/after" if f"{S3}.put_part/after" in self.home.points else f"{LANDING}.plan/after")
        dies_again = [
            self.home.lose_spools,
            lambda: self.origin.put(path, other),
            lambda: self.home.arm(f"{LANDING}.plan/before"),
        ]
        self.home.between_lives += dies_again
        order = {"key_name": key, "key_url": self.origin.url + path}
        token = self._until_answered(order, path.replace("/", "-"))
        self.model.creations[token] = Creation(
            key, token, order, path.replace("/", "-"), md5(body), None, self.model.room.bounded
        )
        self.model.lost(key, md5(other))
        while not self._has_ended(token):
            pass
        self.home.between_lives.clear()
        self.home.disarm()

    def _has_ended(self, token: str) -> bool:
        """Wait until it has, or has killed the service."""
        with contextlib.suppress(Died):
            until(lambda: self.home.json("GET", f"/ceph/progress/{token}")["state"] != "inprogress")
            return True
        return False

    def _create_and_see(self, key: str, size: int) -> None:
        self.create(key, size, "none")
        self._has_ended(next(reversed(self.model.creations)))

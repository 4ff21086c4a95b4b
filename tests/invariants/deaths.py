"""Deaths in the midst of a deed: each at a named point, with a deed that comes to it."""

import contextlib

from tests.harness.content import MIB
from tests.harness.patience import until
from tests.invariants.clients import Clients
from tests.invariants.dealing import deed
from tests.invariants.installation import KEYS, LANDING, S3, Died
from tests.invariants.world import SMALL, keys

PARTED = MIB + 5000
"""On Ceph it comes in parts (see ``installation.SIZES``)."""
DOOMS = (
    ("uploaded", 700, f"{LANDING}.plan/after"),
    ("uploaded", 700, f"{S3}.put/after"),
    ("uploaded", 700, f"{LANDING}.publish/before"),
    ("uploaded", PARTED, f"{LANDING}.note_version/after"),
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

    @deed(times=4, doom=DOOMS, key=keys)
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
            case "created":
                self._create_and_see(key, size)
            case "copied" | "renamed":
                self.copy(key, SMALL[SMALL.index(key) - 1], done == "renamed")
            case "deleted":
                self.delete(key)

    def _create_and_see(self, key: str, size: int) -> None:
        """Wait until it has ended, or has killed the service."""
        self.create(key, size, "none")
        token = next(reversed(self.model.creations))
        with contextlib.suppress(Died):
            until(lambda: self.home.json("GET", f"/ceph/progress/{token}")["state"] != "inprogress")

"""Two at once: what one has begun is overtaken, at a named point, by what another one has done and was told of."""

import itertools
import json
from typing import Any

from tests.harness.patience import until
from tests.harness.service import Reply
from tests.invariants.clients import Clients
from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import CONSISTENCY, KEYS, LANDING, S3, md5
from tests.invariants.model import ABSENT
from tests.invariants.world import CONSISTENCY as CHECKS
from tests.invariants.world import JSON, SMALL, keys

OVERTAKEN = (
    ("PUT", f"{LANDING}.plan/before", "overwritten"),
    ("PUT", f"{LANDING}.publish/before", "deleted"),
    ("PUT if absent", f"{LANDING}.plan/before", "overwritten"),
    ("DELETE", f"{KEYS}.delete/before", "overwritten"),
    ("copies", f"{S3}.copy/before", "overwritten"),
    ("renames", f"{LANDING}.publish/before", "overwritten"),
    ("renames", f"{LANDING}.publish/before", "deleted"),
)
FOLLOWED = tuple(itertools.product(EITHER, EITHER))
"""Whether another S3 client writes, or deletes; whether that is overtaken."""


class Races(Clients):
    """Clients and checks that are overtaken."""

    @deed(times=2, race=OVERTAKEN, key=keys)
    def overtake(self, race: tuple[str, str, str], key: str) -> None:
        """Both have their say, one after the other; of a key that was renamed what came meanwhile stays."""
        verb, point, meanwhile = race
        other = SMALL[SMALL.index(key) - 1]
        if point not in self.home.points or not self._settles(key, other):
            return
        if verb == "PUT if absent":
            self.delete(key)
        elif self.model.allowed(key) == {ABSENT}:
            self._upload(key, self._body(700), right=True)
        before, late = self.model.allowed(key), self._body(700)
        with self.home.held_at(point, lambda: self._begun(verb, key, other, late)) as doing:
            if meanwhile == "overwritten":
                self._upload(key, self._body(700), right=True)
            else:
                self.delete(key)
        reply = doing.result()
        assert reply.status in {200, 201, 404, 412, *({507} if self.model.room.bounded else ())}, reply.body
        if verb in {"copies", "renames"}:
            assert verb == "copies" or reply.status != 201, "what was renamed is another version"
            for state in before if reply.status == 201 else ():
                self.model.written(other, state)
        elif reply.status in {200, 201}:
            self.model.possible(key, md5(late) if verb != "DELETE" else ABSENT)

    def _begun(self, verb: str, key: str, other: str, body: bytes) -> Reply:
        """In a thread of its own."""
        call = self.home.service.call
        match verb:
            case "PUT":
                return call("PUT", self._at(key), body)
            case "PUT if absent":
                return call("PUT", self._at(key), body, {"If-None-Match": "*"})
            case "DELETE":
                return call("DELETE", self._at(key))
        order = {"source_key": key, "key": other}
        return call("POST", f"{self.path}/{verb}", json.dumps(order).encode(), JSON)

    @deed(times=2, key=keys, race=FOLLOWED)
    def follow(self, key: str, race: tuple[bool, bool]) -> None:
        """What another S3 client writes or deletes is followed, unless a client of ours has written since."""
        written, overtaken, trash = *race, self.model.trash
        seen = self.home.bystander(self.bucket)
        if seen is None or self.model.room.bounded or not self._settles(key):
            return
        if self.told and (
            trash.deleted or trash.overwritten
        ):  # somebody else may look at it between: who knows what is kept
            return
        if not written and self.model.allowed(key) == {ABSENT}:
            self._upload(key, self._body(700), right=True)
        body, place = self._body(700), {"Bucket": self.bucket, "Key": key}
        if written:
            theirs = seen.client.put_object(Body=body, **place)["VersionId"]
        else:
            theirs = seen.client.delete_object(**place)["VersionId"]
        point = f"{CONSISTENCY}.adopt/before" if written else f"{CONSISTENCY}.drop/before"
        with self.home.held_at(point, lambda: self._checked(key)) as doing:
            if overtaken:
                self._upload(key, self._body(700), right=True)
        assert doing.result()["finding"] is None
        if overtaken:
            seen.client.delete_object(VersionId=theirs, **place)
        elif written:
            self.model.written(key, md5(body))
        else:
            self.model.deleted(key)

    def _checked(self, key: str) -> Any:
        order = {"bucket": self.bucket, "key": key, "changed": True}
        return self.home.service.json("POST", f"{CHECKS}/check", order)

    def _settles(self, *names: str) -> bool:
        """Wait until nothing is under way, else another one might be held; whether it is known what these keys are."""
        while self.gates:
            self.gates.pop().set()
        until(self._is_quiet)
        self.held()
        return all(self.model.at_rest(key) and len(self.model.allowed(key)) == 1 for key in names)

    def _is_quiet(self) -> bool:
        self._alive()
        return not self.home.snapshot(self.bucket).moving

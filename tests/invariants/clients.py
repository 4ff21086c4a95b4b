"""What clients do to keys: uploads, deletions, creations from a URL, copies and renames."""

import contextlib
import json
from typing import Any

from tests.harness.behaviour import Gate
from tests.harness.patience import until
from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import Died, md5
from tests.invariants.model import ABSENT, Creation
from tests.invariants.quotas import Quotas
from tests.invariants.world import BIG, JSON, SMALL, keys, picks, sizes

faults = ("none", "none", "resumed", "busy", "held", "missing", "torn", "wrong")


class Clients(Quotas):
    """Writers."""

    @deed(key=keys, size=sizes, right=EITHER)
    def upload(self, key: str, size: int, right: bool) -> None:
        """With the right md5, or with another one: then nothing changes."""
        self._upload(key, self._body(size), right)

    @deed(key=keys, size=sizes)
    def upload_if_absent(self, key: str, size: int) -> None:
        """It is refused exactly when something is there: what the first one has stored refuses the second one."""
        self._upload_if_absent(key, size)
        self._upload_if_absent(key, size)

    def _upload_if_absent(self, key: str, size: int) -> None:
        body, before, fits = self._body(size), self.model.allowed(key), self.fits(key, size)
        reply = self._write(key, md5(body), lambda: self.home.call("PUT", self._at(key), body, {"If-None-Match": "*"}))
        if reply is None or self.refused(reply, fits):
            return
        assert reply.status in {201, 412}, reply.body
        if reply.status == 201:
            assert ABSENT in before, "it has replaced what was there"
            self.model.written(key, md5(body))
        else:
            assert before != {ABSENT}

    def _upload(self, key: str, body: bytes, right: bool) -> None:
        headers, fits = {"md5": md5(body) if right else md5(b"something else")}, self.fits(key, len(body))
        state = md5(body) if right else None
        reply = self._write(key, state, lambda: self.home.call("PUT", self._at(key), body, headers), may=right)
        if reply is None or self.refused(reply, fits):
            return
        if right:
            assert (reply.status, reply.json()["md5"], reply.json()["size"]) == (201, md5(body), len(body)), reply.body
            self.model.written(key, md5(body))
        else:
            assert (reply.status, reply.json().get("code")) == (400, "md5_mismatch"), "it was not verified"

    @deed(key=(*SMALL, BIG))
    def delete(self, key: str) -> None:
        """One key."""
        before = self.model.allowed(key)
        reply = self._write(key, ABSENT, lambda: self.home.call("DELETE", self._at(key)))
        if reply is None:
            return
        if reply.status == 404:
            assert ABSENT in before, f"{key!r} is gone"
        else:
            assert reply.status == 200
            assert before != {ABSENT}
            self.model.deleted(key)

    @deed(written=EITHER)
    def delete_folder(self, written: bool) -> None:
        """A job in the background: what it may delete is what is there now, not what is ``written`` before its turn."""
        with contextlib.suppress(Died):
            for prefix in ("z/", "b/") if written else ("b/",):  # the one holds up the other
                self.home.json("POST", f"{self.path}/deletions", {"prefix": prefix})
        for key in SMALL[1:]:
            self.model.deleting(key)
        if written:
            self._upload(SMALL[1], self._body(700), right=True)

    @deed(times=3, key=keys, size=sizes, fault=faults)
    def create(self, key: str, size: int, fault: str) -> None:
        """From a URL, in the background, from an origin with a fault."""
        body, path = self._body(size + 2), f"/{self.username}/{len(self.model.creations)}"
        order = {"key_name": key, "key_url": self.origin.url + path, "md5": md5(body)}
        if fault == "wrong":
            order["md5"] = md5(b"something else")
        self.origin.put(path, body, **self._behaviour(fault, len(body)))
        idempotency_key, fits = path.replace("/", "-"), self.fits(key, len(body))
        token = self._until_answered(order, idempotency_key)
        assert token not in self.model.creations
        succeeds = fault not in {"missing", "torn", "wrong"}
        creation = Creation(key, token, order, idempotency_key, md5(body), succeeds, self.model.room.bounded)
        self.model.creations[token] = creation
        if self.model.room.bounded and fits is not None and fault == "none":
            self._is_as_it_fits(creation, fits)

    def _is_as_it_fits(self, creation: Creation, fits: bool) -> None:
        """Nothing else was under way: there was room for it, or there was none."""

        def progress() -> Any:
            with contextlib.suppress(Died):
                return self.home.json("GET", f"/ceph/progress/{creation.token}")

        ended = until(progress, lambda told: told is not None and told["state"] != "inprogress")
        assert (ended["state"] == "success") is fits, ended

    def _behaviour(self, fault: str, size: int) -> dict[str, Any]:
        if fault == "held":
            self.gates.append(Gate())
            return {"gate": self.gates[-1], "gate_after": size // 2}
        known: dict[str, dict[str, Any]] = {
            "resumed": {"die_after": size // 2, "die_times": 1},
            "busy": {"refuse_times": 1},
            "missing": {"status": 404},
            "torn": {"die_after": size // 2, "framing": "close", "ranges": False},
        }
        return known.get(fault, {})

    @deed(pick=picks, cancels=EITHER)
    def create_again(self, pick: int, cancels: bool) -> None:
        """The same request with the same idempotency key, and its end by force: one that has ended stays as it ended."""
        if not self.model.creations:
            return
        creation = self._picked(list(self.model.creations.values()), pick)
        assert self._until_answered(creation.order, creation.idempotency_key) == creation.token, "I6"
        if cancels:
            self._cancel(creation)

    def _cancel(self, creation: Creation) -> None:
        try:
            reply = self.home.call("DELETE", f"/ceph/progress/{creation.token}")
        except Died:
            creation.succeeds = None
            return
        assert reply.status in ({409} if creation.ended else {200, 409}), f"I5: {reply.body!r}"
        if reply.status == 200:
            creation.succeeds = False

    def _until_answered(self, order: dict[str, str], idempotency_key: str) -> str:
        """The token. Who gets no answer asks again."""
        while True:
            with contextlib.suppress(Died):
                headers = {"Idempotency-Key": idempotency_key}
                return str(self.home.json("POST", f"{self.path}/keys", order, headers)["token"])

    @deed(source=keys, key=keys, moves=EITHER)
    def copy(self, source: str, key: str, moves: bool) -> None:
        """Within the store; a rename takes the source away in the same commit."""
        if source == key:
            return
        before, rests = self.model.allowed(source), self.model.at_rest(source)
        (state,) = before if len(before) == 1 else (ABSENT,)
        fits = self.fits(key, len(self.bodies[state]), moves=moves) if state is not ABSENT else None
        verb, order = ("renames" if moves else "copies"), {"source_key": source, "key": key}
        try:
            reply = self.home.call("POST", f"{self.path}/{verb}", json.dumps(order).encode(), JSON)
        except Died:
            if moves:
                self.model.renaming(source, key)
            for state in before - {ABSENT}:
                self.model.lost(key, state)
            return
        if self.refused(reply, fits):
            return
        if reply.status == 404:
            assert ABSENT in before, f"{source!r} is gone"
        elif reply.status == 201:
            assert reply.json()["md5"] in before
            self.model.written(key, reply.json()["md5"])
            if moves:
                self.model.moved(source)
        else:  # what it was to copy has been replaced meanwhile
            assert not rests, (reply.status, reply.body)

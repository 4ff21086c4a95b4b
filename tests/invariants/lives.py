"""The lives of keys: their end, by their own wish or a rule of the bucket, and the trash from which they come back."""

import contextlib
import json
import time
from functools import partial
from typing import Any
from urllib.parse import quote

from tests.harness.patience import until
from tests.invariants.clients import Clients
from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import Died, md5
from tests.invariants.model import ABSENT, State
from tests.invariants.trash import Version
from tests.invariants.world import JSON, SMALL, keys, picks, sizes

SOON = 0.1
"""Seconds; whoever is slower is told that the moment has passed."""
SHORT_LIVED = SMALL[1]
AT_ONCE = 1e-9
"""Days."""
KEPT = ("none", "deleted", "overwritten", "overwritten")


class Lives(Clients):
    """Settings of lives, short lives, and the trash."""

    @deed(times=2, trash=KEPT, ends=(False, False, True))
    def live(self, trash: str, ends: bool) -> None:
        """Have the bucket keep what is deleted, and replaced, or not; and have one key end whenever it is stored."""
        settings = {
            "rules": [{"prefix": SHORT_LIVED, "days": AT_ONCE}] if ends else [],
            "trash_days": None if trash == "none" else 7,
            "trash_overwritten": trash == "overwritten",
        }
        found = {key: row.md5 for key, row in self.home.snapshot(self.bucket).records.items()}
        self.model.rule({SHORT_LIVED} if ends else set(), found)
        self.until_answered("PUT", f"{self.path}/lifecycle", settings)
        self.model.trash.deleted, self.model.trash.overwritten = trash != "none", trash == "overwritten"

    @deed(key=keys, size=sizes)
    def upload_for_a_moment(self, key: str, size: int) -> None:
        """What it replaces is gone as if it were for ever; and then the key is, too."""
        body, end, fits = self._body(size), time.time() + SOON, self.fits(key, size)
        target = f"{self._at(key)}?expires={end:.6f}"
        reply = self._write(key, ABSENT, lambda: self.home.call("PUT", target, body))
        until(lambda: time.time() > end)
        if reply is None or self.refused(reply, fits):
            return
        if reply.status == 400:
            assert reply.json()["code"] == "invalid_expiry"
            return
        assert (reply.status, reply.json()["md5"]) == (201, md5(body)), reply.body
        self.model.written(key, ABSENT)

    @deed(times=2, key=keys, pick=picks, newest=EITHER, over=EITHER)
    def restore(self, key: str, pick: int, newest: bool, over: bool) -> None:
        """A version comes back from the trash as it was, and no other; none does where a key is, unless it is to."""
        with contextlib.suppress(Died):
            if self.model.trash.deleted and not self._listed(key):
                self._upload(key, self._body(700), right=True)
                self._upload(key, self._body(900), right=True)
                self.delete(key)
                if pick % 2:
                    self._upload(key, self._body(800), right=True)
            listed = self._listed(key)
            wish: dict[str, Any] = {"key": key, "over": over}
            if not listed:
                self._restored(key, wish, None, set())
                return
            chosen = max(listed, key=lambda each: each["generation"])
            if not newest:
                chosen = self._picked(listed, pick)
                wish["generation"] = chosen["generation"]
            self._restored(key, wish, chosen["md5"], {(key, each["md5"]) for each in listed if each is not chosen})

    def _restored(self, key: str, wish: dict[str, Any], state: State, others: set[Version]) -> None:
        """``state``: what is to come back; ``others``: what else is in the trash."""
        before, target = self.model.allowed(key), f"{self.path}/trash/restore"
        if state is not ABSENT:
            self.model.trash.taken((key, state))
        deed = partial(self.home.call, "POST", target, json.dumps(wish).encode(), JSON)
        reply = self._write(key, state, deed, may=state is not ABSENT)
        if reply is None:
            return
        if reply.status == 201:
            assert state is not ABSENT
            assert reply.json()["md5"] == state, (reply.body, state)
            assert wish["over"] or ABSENT in before
            if self.model.at_rest(key):
                self.model.trash.seen(key, others)
            self.model.written(key, state)
            return
        self.model.trash.left(key, {state}, kept=True)
        if reply.status == 412:
            assert not wish["over"]
            assert before != {ABSENT}
        else:
            assert (reply.status, state) == (404, ABSENT), reply.body

    def _listed(self, key: str) -> list[Any]:
        versions = self.home.json("GET", f"{self.path}/trash?prefix={quote(key)}")["versions"]
        mine = [each for each in versions if each["key"] == key]
        if self.model.at_rest(key):
            shown, trash = {(key, each["md5"]) for each in mine}, self.model.trash.of(key)
            assert trash.agrees(shown), f"the trash lists {shown}, but {trash}"
        return mine

    @deed(key=(*SMALL, None))
    def empty(self, key: str | None) -> None:
        """What lies in the trash goes for good, of one key or all."""
        gone = {version for version in self.model.trash.possible if key in {None, version[0]}}
        target = f"{self.path}/trash" + ("" if key is None else f"?key={quote(key)}")
        for version in gone:
            self.model.trash.taken(version)
        with contextlib.suppress(Died):
            self.home.json("DELETE", target)
            for name in SMALL if key is None else (key,):
                if self.model.at_rest(name):
                    self.model.trash.seen(name, set())

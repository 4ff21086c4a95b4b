"""Other clients of Ceph: they write, overwrite and delete keys past the service, which is told of it, or is not.

The keys are their own, but that the service overwrites and deletes them, too.
"""

import contextlib
import json
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config

from tests.harness.patience import until
from tests.invariants.dealing import EITHER, deed
from tests.invariants.installation import Died, md5
from tests.invariants.machine import Interleavings
from tests.invariants.model import ABSENT, State
from tests.invariants.room import NO_LIMIT
from tests.invariants.world import CONSISTENCY, SMALL, sizes

FOREIGN = ("f/1", "f/2 é")
NAMES = ("ObjectCreated:Put", "ObjectCreated:Copy", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated")
WAYS = ("check", "walk")


class OverCeph(Interleavings):
    """What may happen besides where the store has other clients. ``lies``: what these get."""

    def __init__(self) -> None:
        super().__init__()
        self.lies: dict[str, State] = dict.fromkeys(FOREIGN, ABSENT)
        self.model.settled |= {key: {ABSENT} for key in FOREIGN}
        self.followed = False
        other = self.home.bystander(self.bucket)
        assert other is not None
        self.other: Any = other.client

    @deed(on=EITHER, removals=EITHER)
    def be_told(self, on: bool, removals: bool) -> None:
        """Have Ceph tell of what happens, or not any more."""
        self.told, target = True, f"{self.path}/following"
        if on:
            self.until_answered("PUT", target, {"endpoint": self.home.service.url, "removals": removals})
        else:
            self.until_answered("DELETE", target, None)
        self.followed = on

    @deed(times=2, key=FOREIGN, size=sizes, again=EITHER)
    def write_elsewhere(self, key: str, size: int, again: bool) -> None:
        """Another client stores a key, maybe twice in a row. Who is told has it at once."""
        self._alive()
        deaths = self.home.deaths
        for _ in range(1 + again):
            body = self._body(size + 2)
            self.lies[key] = md5(body)
            self.model.settled[key].add(md5(body))
            self.other.put_object(Bucket=self.bucket, Key=key, Body=body)
        self._alive()
        if self.followed and not self.model.room.bounded and self.home.deaths == deaths:
            until(lambda: self._is_as_it_lies(key) or self.home.deaths != deaths)

    @deed(key=FOREIGN)
    def delete_elsewhere(self, key: str) -> None:
        """Another client deletes a key."""
        self.lies[key] = ABSENT
        self.model.settled[key].add(ABSENT)
        self.other.delete_object(Bucket=self.bucket, Key=key)

    @deed(key=FOREIGN, size=sizes)
    def overwrite(self, key: str, size: int) -> None:
        """A key of theirs gets other bytes from us; it is said anew until there is an answer."""
        body = self._body(size + 2)
        while True:
            with contextlib.suppress(Died):
                self.model.settled[key].add(md5(body))
                reply = self.home.call("PUT", self._at(key), body)
                if reply.status == 507:
                    assert self.model.room.bounded
                    self.model.settled[key].discard(md5(body))
                    return
                assert reply.status == 201, reply.body
                self._are(key, md5(body))
                return

    @deed(key=FOREIGN, way=WAYS)
    def delete_what_they_wrote(self, key: str, way: str) -> None:
        """We delete a key of theirs, of which we know all that they did to it. It stays away."""
        self._settle(key, way)
        while True:
            with contextlib.suppress(Died):
                self.model.settled[key].add(ABSENT)
                assert self.home.call("DELETE", self._at(key)).status in {200, 404}
                self._are(key, ABSENT)
                return

    @deed(times=2, key=FOREIGN, way=WAYS)
    def settle(self, key: str, way: str) -> None:
        """Whatever of it was told: once the key, or all, has been looked at, the record is what lies there."""
        self._settle(key, way)

    @deed(key=(*SMALL, *FOREIGN), name=NAMES)
    def forge(self, key: str, name: str) -> None:
        """Events of what never was, or was long ago, and twice: nothing becomes another than it was or lies there."""
        if not self.followed:
            return
        told = {"bucket": {"name": self.bucket}, "object": {"key": key, "versionId": "x"}}
        body = json.dumps({"Records": [{"eventName": name, "s3": told}] * 2}).encode()
        with contextlib.suppress(Died):
            reply = self.home.call("POST", self._address(), body, {"Authorization": ""})
            assert reply.status in {200, 503}, reply.body

    def _address(self) -> str:
        """Where Ceph pushes events of the bucket."""
        sns: Any = botocore.session.get_session().create_client(
            "sns",
            region_name="default",
            endpoint_url=self.home.service.settings["ceph_gateway"],
            aws_access_key_id=self.home.service.settings["ceph_access_key"],
            aws_secret_access_key=self.home.service.settings["ceph_secret_key"],
            config=Config(proxies={}),
        )
        with contextlib.closing(sns):
            arns = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
            arn = next(arn for arn in arns if arn.endswith(self.bucket))
            said = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["EndPoint"])
        return str(urlsplit(said["EndpointAddress"]).path)

    def _settle(self, key: str, way: str) -> None:
        """Have a key looked at, when there is room for what lies there."""
        if self.model.room.bounded:
            for holder in list(self.model.room.limits):
                self.model.room.bound(holder, NO_LIMIT)
                self.until_answered("PUT", f"/quotas/{holder}", {})
        if way == "check":
            asked = {"bucket": self.bucket, "key": key, "changed": True}

            def checked() -> bool:
                self.until_answered("POST", f"{CONSISTENCY}/check", asked)
                return self._is_as_it_lies(key)

            until(checked)
        else:
            begun, self.told = False, True

            def walked() -> bool:
                nonlocal begun
                deaths = self.home.deaths
                with contextlib.suppress(Died):
                    wish = {"bucket": self.bucket, "kind": "reconcile"}
                    begun = begun or self.home.json("POST", CONSISTENCY, wish)["begun"] == 1
                begun = begun and self.home.deaths == deaths
                return self._is_as_it_lies(key)

            until(walked)
        self._are(key, self.lies[key])

    def _are(self, key: str, state: State) -> None:
        self.lies[key] = state
        self.model.settled[key] = {state}

    def _is_as_it_lies(self, key: str) -> bool:
        self._alive()
        record = self.home.snapshot(self.bucket).living.get(key)
        return (record.md5 if record is not None else ABSENT) == self.lies[key]

    def fits(self, key: str, size: int, *, moves: bool = False) -> bool | None:
        """Nobody knows while something of theirs may be adopted."""
        known = all(self.model.allowed(name) == {self.lies[name]} for name in FOREIGN)
        return super().fits(key, size, moves=moves) if known or not self.model.room.bounded else None

    def rest(self) -> None:
        """All that they did is known."""
        self.follow_no_more()
        for key in FOREIGN:
            self._settle(key, "check")
        super().rest()

    def follow_no_more(self) -> None:
        """No topic outlives its bucket's example."""
        if self.followed:
            self.until_answered("DELETE", f"{self.path}/following", None)

"""Random interleavings: each rule is a deed of a client, of an origin, or a death; after each one the invariants are held.

    I1  a visible record names complete, verified bytes
    I2  a write that failed has not altered what was there
    I3  usage is the sum over the records, at every commit
    I4  bytes in the store have a record, a transfer, or an entry in the queue of removals
    I5  a transfer ends once, and stays as it ended
    I6  equal idempotency keys make one transfer
    I7  a delete removes no newer version
    I8  nobody reads parts of two versions

What rules find depends on time, so that none has a precondition: it does nothing when there is nothing to do.
The service is a process of its own that is really killed. One serves all examples; each has a bucket to itself.
"""

import contextlib
import json
import sys

from hypothesis.stateful import invariant

from tests.harness.patience import until
from tests.invariants.deaths import Deaths
from tests.invariants.installation import Died, Snapshot, md5
from tests.invariants.limits import Limits
from tests.invariants.lives import Lives
from tests.invariants.mirror import Mirrors
from tests.invariants.model import ABSENT, Creation, State
from tests.invariants.operators import Operators
from tests.invariants.world import CONSISTENCY, OURS, QUOTA_EXCEEDED


class Interleavings(Operators, Limits, Lives, Mirrors, Deaths):
    """All that may happen on both pairs of engines, and what must be true after it."""

    @invariant()
    def held(self) -> None:
        """All of them, seen from outside."""
        self._alive()
        with contextlib.suppress(Died):
            self._check()
            return
        self._check()

    def _check(self) -> None:
        stored = self.home.stored(self.bucket)
        seen = self.home.snapshot(self.bucket)
        self._usage(seen)
        self._transfers(seen)
        self._records(seen)
        self._bytes(seen)
        if stored - seen.named:  # some of it may have been removed since
            unnamed = (stored & self.home.stored(self.bucket)) - self.home.snapshot(self.bucket).named
            assert not unnamed, f"I4: nobody names {unnamed}"

    def _usage(self, seen: Snapshot) -> None:
        own = seen.bucket
        for rows, said in (
            (seen.records.values(), (own.size, own.keyamount)),
            (seen.trash, (own.trash_size, own.trash_keys)),
        ):
            assert said == (sum(row.size for row in rows), len(rows)), "I3: usage is not the sum"
        assert self.model.room.looked(seen.taken), f"{seen.taken} is stored, {self.model.room.limit} is allowed"

    def _transfers(self, seen: Snapshot) -> None:
        fetches = {token for token, row in seen.transfers.items() if row.kind == "fetch"}
        assert fetches == self.model.creations.keys(), "I6: transfers that nobody asked for, or none for a token"
        for token, row in seen.transfers.items():
            assert (row.state == "inprogress") == (row.ended_at is None) == (row.phase != "ended"), f"I5: {row}"
            assert row.ended_at is None or row.owner is None, f"I5: {row}"
            if row.ended_at is not None and token in self.model.creations:
                self._ended(self.model.creations[token])

    def _ended(self, creation: Creation) -> None:
        progress = self.home.json("GET", f"/ceph/progress/{creation.token}")
        assert progress["state"] in {"success", "fail"}
        assert creation.ended in (None, progress), "I5: it has ended twice"
        if creation.bounded and progress["state"] == "fail" and progress["error"]["code"] == QUOTA_EXCEEDED:
            return
        if creation.succeeds is not None:
            assert (progress["state"] == "success") is creation.succeeds, (creation, progress)

    def _records(self, seen: Snapshot) -> None:
        """I1, I2, I7: what is visible is what was written last, or is being written."""
        living = seen.living
        for key in self.model.settled:
            record = living.get(key)
            state: State = record.md5 if record is not None else ABSENT
            allowed = self.model.allowed(key)
            assert state in allowed, f"{key!r} is {state}, may be {allowed}"
            assert record is None or record.size == len(self.bodies[record.md5]), "I1"
        assert seen.records.keys() <= self.model.settled.keys()
        assert not (torn := self.model.torn({key: record.md5 for key, record in seen.records.items()})), (
            f"half of {torn}"
        )
        self.model.moving()
        kept = {(row.key, json.loads(row.record)["md5"]) for row in seen.restorable if row.key in OURS}
        assert self.model.trash.agrees(kept), f"in the trash lie {kept}, of {self.model.trash}"
        for token, row in seen.transfers.items():
            if row.ended_at is not None and token in self.model.creations:
                self.model.ended(token, self.home.json("GET", f"/ceph/progress/{token}"))
        if all(row.ended_at is not None for row in seen.transfers.values()):
            self.model.quiet()
        if "inprogress" not in seen.deletions.values():
            self.model.deletions_ended()
        if seen.behind:
            return
        for key in filter(self.model.at_rest, OURS):
            record = living.get(key)
            self.model.seen(key, record.md5 if record is not None else ABSENT)
            self.model.trash.seen(key, kept)

    def _bytes(self, seen: Snapshot) -> None:
        """I1: the bytes of what is visible are there, and are one of those that may be."""
        for key in seen.records:
            allowed = self.model.allowed(key)
            url = self._url(key)
            if url is None:
                assert ABSENT in allowed
                continue
            reply = self.home.call("GET", url, headers={"Authorization": ""})
            found = md5(reply.body) if reply.status == 200 else ABSENT
            assert reply.status in {200, 404}, f"I1: {reply.status} for {key!r}: {reply.body[:500]!r}"
            assert found in allowed, f"I1: the bytes of {key!r} are {found}, may be {allowed}"

    def teardown(self) -> None:
        """Let everything end: then nothing is left but what is visible. After a failure, that is told first."""
        failure = sys.exception()
        self.home.disarm()
        for gate in self.gates:
            gate.set()
        if failure is not None:
            if isinstance(failure, Exception):  # and not hypothesis, which has drawn enough
                self.failures.append(failure)
            for sock in (*(sock for sock, _ in self.streams), *(each.sock for each in self.readings)):
                sock.close()
            return
        self._finish_ranges()
        self._finish_streams()
        self._finish_readings()
        self.rest()
        self._alive()
        until(lambda: self._at_rest(self.home.snapshot(self.bucket)))
        self.held()
        seen = self.home.snapshot(self.bucket)
        assert set(seen.deletions.values()) <= {"success"}
        assert self.home.json("GET", f"/quotas/{self.username}")["reserved"] == {"size": 0, "keyamount": 0}
        assert self.home.json("GET", f"{CONSISTENCY}/findings?bucket={self.bucket}")["findings"] == []
        if self.home.spools_are_ours:
            until(lambda: not self.home.spooled())
            names = {row.store_version for row in (*seen.records.values(), *seen.trash)}
            assert {name.partition(".")[2] for name in self.home.files(self.bucket)} == names | {
                f"{name}.json" for name in names
            }, "I4"

    def _at_rest(self, seen: Snapshot) -> bool:
        with contextlib.suppress(Died):
            self.home.call("GET", "/healthz")
        return not (seen.moving or seen.ageing or (seen.removals and self.home.spools_are_ours))

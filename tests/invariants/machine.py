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
import http.client
import itertools
import json
import random
import socket
import sys
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.harness.behaviour import Gate
from tests.harness.content import MIB
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.invariants.installation import Died, Installation, Snapshot, md5
from tests.invariants.model import ABSENT, Creation, Model, State

JSON = {"Content-Type": "application/json"}
CONSISTENCY = "/monitor/consistency"
SMALL, BIG = ("a", "b/c", "b/d e"), "big"
SIZES = (0, 700, 70_000, MIB + 5000)
"""From a mebibyte on, phases are noted in the transfer's row."""
BIG_SIZE = 8 * MIB
"""More than the buffers of a loopback connection hold."""
START = 100

keys, sizes, picks = st.sampled_from(SMALL), st.sampled_from(SIZES), st.integers(0, 1000)
faults = st.sampled_from(["none", "none", "resumed", "busy", "held", "missing", "torn", "wrong"])
meanwhile = st.sampled_from(["overwritten", "overwritten", "deleted", "killed", "later"])
_tenants = itertools.count()


class Interleavings(RuleBasedStateMachine):
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
        self.model = Model({key: {ABSENT} for key in (*SMALL, BIG)})
        self.bodies: dict[str, bytes] = {}
        self.urls: dict[str, str] = {}
        self.gates: list[Gate] = []
        self.ranges: list[tuple[str, str, bytes]] = []
        self.streams: list[tuple[socket.socket, int]] = []
        self._random = random.Random(self.username)

    # -- clients

    @rule(key=keys, size=sizes, right=st.booleans())
    def upload(self, key: str, size: int, right: bool) -> None:
        """With the right md5, or with another one: then nothing changes."""
        self._upload(key, self._body(size), right)

    @rule(key=keys, size=sizes)
    def upload_if_absent(self, key: str, size: int) -> None:
        """It is refused exactly when something is there."""
        body, before = self._body(size), self.model.allowed(key)
        reply = self._write(key, md5(body), lambda: self.home.call("PUT", self._at(key), body, {"If-None-Match": "*"}))
        if reply is None:
            return
        assert reply.status in {201, 412}, reply.body
        if reply.status == 201:
            assert ABSENT in before
            self.model.answered(key, md5(body))
        else:
            assert before != {ABSENT}

    def _upload(self, key: str, body: bytes, right: bool) -> None:
        headers = {"md5": md5(body) if right else md5(b"something else")}
        state = md5(body) if right else None
        reply = self._write(key, state, lambda: self.home.call("PUT", self._at(key), body, headers), may=right)
        if reply is None:
            return
        if right:
            assert (reply.status, reply.json()["md5"], reply.json()["size"]) == (201, md5(body), len(body)), reply.body
            self.model.answered(key, md5(body))
        else:
            assert (reply.status, reply.json()["code"]) == (400, "md5_mismatch")

    @rule(key=st.sampled_from((*SMALL, BIG)))
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
            self.model.answered(key, ABSENT)

    @rule(written=st.booleans())
    def delete_folder(self, written: bool) -> None:
        """A job in the background: what it may delete is what is there now, not what is ``written`` before its turn."""
        with contextlib.suppress(Died):
            for prefix in ("z/", "b/") if written else ("b/",):  # the one holds up the other
                self.home.json("POST", f"{self.path}/deletions", {"prefix": prefix})
        for key in SMALL[1:]:
            self.model.possible(key, ABSENT)
        if written:
            self._upload(SMALL[1], self._body(700), right=True)

    @rule(key=keys, size=sizes, fault=faults)
    def create(self, key: str, size: int, fault: str) -> None:
        """From a URL, in the background, from an origin with a fault."""
        body, path = self._body(size + 2), f"/{self.username}/{len(self.model.creations)}"
        order = {"key_name": key, "key_url": self.origin.url + path, "md5": md5(body)}
        if fault == "wrong":
            order["md5"] = md5(b"something else")
        self.origin.put(path, body, **self._behaviour(fault, len(body)))
        idempotency_key = path.replace("/", "-")
        token = self._until_answered(order, idempotency_key)
        assert token not in self.model.creations
        succeeds = fault not in {"missing", "torn", "wrong"}
        self.model.creations[token] = Creation(key, token, order, idempotency_key, md5(body), succeeds)

    def _behaviour(self, fault: str, size: int) -> dict[str, Any]:
        if fault == "held":
            self.gates.append(Gate())
            return {"gate": self.gates[-1], "gate_after": size // 2}
        return {
            "resumed": {"die_after": size // 2, "die_times": 1},
            "busy": {"refuse_times": 1},
            "missing": {"status": 404},
            "torn": {"die_after": size // 2, "framing": "close", "ranges": False},
        }.get(fault, {})

    @rule(pick=picks, cancels=st.booleans())
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

    @rule(source=keys, key=keys, moves=st.booleans())
    def copy(self, source: str, key: str, moves: bool) -> None:
        """Within the store; a rename takes the source away in the same commit."""
        if source == key:
            return
        before, rests = self.model.allowed(source), self.model.at_rest(source)
        verb, order = ("renames" if moves else "copies"), {"source_key": source, "key": key}
        try:
            reply = self.home.call("POST", f"{self.path}/{verb}", json.dumps(order).encode(), JSON)
        except Died:
            for state in before - {ABSENT}:
                self.model.lost(key, state)
            if moves:
                self.model.lost(source, ABSENT)
            return
        if reply.status == 404:
            assert ABSENT in before, f"{source!r} is gone"
        elif reply.status == 201:
            assert reply.json()["md5"] in before
            self.model.answered(key, reply.json()["md5"])
            if moves:
                self.model.answered(source, ABSENT)
        else:  # what it was to copy has been replaced meanwhile
            assert not rests, (reply.status, reply.body)

    # -- whoever runs the service

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

    # -- readers

    @rule(key=keys, between=meanwhile)
    def read_ranges(self, key: str, between: str) -> None:
        """I8: two ranges of one version, whatever happens between them; or else another one whole."""
        self._finish_ranges()
        if ABSENT in self.model.allowed(key):
            self._upload(key, self._body(70_000), right=True)
        url = self._url(key)
        if url is None:
            return
        with contextlib.suppress(Died):
            reply = self.home.call("GET", url, headers={"Range": f"bytes=0-{START - 1}", "Authorization": ""})
            if reply.status == 206 and len(reply.body) == START:
                self.ranges.append((url, reply.headers["etag"], reply.body))
        self._happens(between, key, 70_000)
        if between != "later":
            self._finish_ranges()

    def _finish_ranges(self) -> None:
        while self.ranges:
            url, etag, start = self.ranges.pop()
            with contextlib.suppress(Died):
                asked = {"Range": f"bytes={START}-", "If-Range": etag, "Authorization": ""}
                reply = self.home.call("GET", url, headers=asked)
                assert reply.status in {200, 206, 404}
                whole = start + reply.body if reply.status == 206 else reply.body
                assert reply.status == 404 or md5(whole) in self.bodies, "I8: a mix of two versions"

    @rule(between=meanwhile)
    def read_slowly(self, between: str) -> None:
        """I8: one version whole, by a reader that is too slow for what happens meanwhile."""
        self._finish_streams()
        if ABSENT in self.model.allowed(BIG):
            self._upload(BIG, self._body(BIG_SIZE), right=True)
        url = self._url(BIG)
        if url is None:
            return
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.settimeout(60)
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", self.home.service.port))
            sock.sendall(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            sock.recv(1, socket.MSG_PEEK)
        self.streams.append((sock, self.home.deaths))
        self._happens(between, BIG, BIG_SIZE)
        if between != "later":
            self._finish_streams()

    def _finish_streams(self) -> None:
        """Only a death may cut a reader."""
        while self.streams:
            sock, deaths = self.streams.pop()
            with sock:
                answer = http.client.HTTPResponse(sock)
                try:
                    answer.begin()
                    body = answer.read()
                except (OSError, http.client.HTTPException):
                    self._alive()
                    assert self.home.deaths > deaths, "a reader was cut"
                    continue
            assert answer.status in {200, 404}
            assert answer.status == 404 or md5(body) in self.bodies, "I8: a mix of two versions"

    def _happens(self, deed: str, key: str, size: int) -> None:
        match deed:
            case "overwritten":
                self._upload(key, self._body(size), right=True)
            case "deleted":
                self.delete(key)
            case "killed":
                self.home.kill()

    # -- deaths

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

    # -- what must be true

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
        summed = (sum(record.size for record in seen.records.values()), len(seen.records))
        assert seen.usage == summed, "I3: usage is not the sum"

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
        if creation.succeeds is not None:
            assert (progress["state"] == "success") is creation.succeeds, (creation, progress)

    def _records(self, seen: Snapshot) -> None:
        """I1, I2, I7: what is visible is what was written last, or is being written."""
        for key in (*SMALL, BIG):
            record = seen.records.get(key)
            state: State = record.md5 if record is not None else ABSENT
            allowed = self.model.allowed(key)
            assert state in allowed, f"{key!r} is {state}, may be {allowed}"
            assert record is None or record.size == len(self.bodies[record.md5]), "I1"
        assert seen.records.keys() <= {*SMALL, BIG}
        for token, row in seen.transfers.items():
            if row.ended_at is not None and token in self.model.creations:
                self.model.ended(token, self.home.json("GET", f"/ceph/progress/{token}"))
        if all(row.ended_at is not None for row in seen.transfers.values()):
            self.model.quiet()
        if "inprogress" not in seen.deletions.values():
            for key in filter(self.model.at_rest, (*SMALL, BIG)):
                record = seen.records.get(key)
                self.model.seen(key, record.md5 if record is not None else ABSENT)

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
            for sock, _ in self.streams:
                sock.close()
            return
        self._finish_ranges()
        self._finish_streams()
        self._alive()
        until(lambda: self._at_rest(self.home.snapshot(self.bucket)))
        self.held()
        seen = self.home.snapshot(self.bucket)
        assert set(seen.deletions.values()) <= {"success"}
        assert self.home.json("GET", f"{CONSISTENCY}/findings?bucket={self.bucket}")["findings"] == []
        if self.home.spools_are_ours:
            until(lambda: not self.home.spooled())
            names = {row.store_version for row in seen.records.values()}
            assert {name.partition(".")[2] for name in self.home.files(self.bucket)} == names | {
                f"{name}.json" for name in names
            }, "I4"

    def _at_rest(self, seen: Snapshot) -> bool:
        with contextlib.suppress(Died):
            self.home.call("GET", "/healthz")
        states = {row.state for row in seen.transfers.values()} | set(seen.deletions.values())
        return "inprogress" not in states and not (seen.removals and self.home.spools_are_ours)

    # -- details

    def _alive(self) -> None:
        """If it has died at its point without anybody's noticing, it is started again."""
        with contextlib.suppress(Died):
            self.home.call("GET", "/healthz")

    def _write(self, key: str, state: State, deed: Callable[[], Any], *, may: bool = True) -> Any:
        """The answer to a write; None when it was lost."""
        try:
            return deed()
        except Died:
            note(f"the answer to a write of {key!r} was lost")
            if may:
                self.model.lost(key, state)
            return None

    def _url(self, key: str) -> str | None:
        """The path of the key's published address, which is good for all versions; None when there has been none yet."""
        if key in self.urls:
            return self.urls[key]
        reply = self.home.call("GET", self._at(key))
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

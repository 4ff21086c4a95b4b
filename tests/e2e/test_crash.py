"""kill -9 at every step of a transfer: it ends once, nothing is lost, nothing is left over, nobody sees wrong bytes."""

import contextlib
import hashlib
import http.client
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.aftermath import examine, object_files, spool_files, spooled_bytes, visible_md5
from tests.harness.behaviour import Behaviour, Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

BUCKET, KEYS, SCRATCH = "alice___photos", "/ceph/alice/photos/keys", "/ceph/alice/scratch/keys"
HOST = "mirror.test"
BIG = 12 * MIB + 17
"""A tenth of it is more than the spool writes before it begins its journal."""
MEDIUM = 3 * MIB // 2
SMALL = 5000
DYING = (OSError, http.client.HTTPException)
"""What a client meets when the service is killed under it."""


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def create(service: Service, origin: FaultOrigin, key: str, name: str) -> str:
    """Ask for a key from a URL; repeating the very same wish is harmless. The token."""
    headers = {"Idempotency-Key": name}
    order = {"key_url": f"{origin.url}/{name}", "key_name": key}
    return str(service.json("POST", KEYS, order, headers=headers)["token"])


def progress(service: Service, token: str) -> dict[str, Any]:
    return dict(service.json("GET", f"/ceph/progress/{token}"))


def succeeded(service: Service, token: str) -> None:
    ended = until(lambda: progress(service, token), lambda seen: seen["state"] != "inprogress")
    assert ended["state"] == "success", ended


def record(service: Service, key: str, keys: str = KEYS) -> dict[str, Any]:
    return dict(service.json("GET", f"{keys}/{key}"))


def published(service: Service, key: str, keys: str = KEYS) -> str:
    """The md5 of what readers get at the key's published address."""
    parts = urlsplit(record(service, key, keys)["url"])
    answer = service.call("GET", f"{parts.path}?{parts.query}", token=None)
    assert answer.status == 200, answer.body
    return md5(answer.body)


def add_mirror(service: Service, origin: FaultOrigin) -> None:
    service.json("POST", "/mirrors/host", {"mirror": HOST, "origin": origin.url, "bucket": BUCKET})


def mirrored(service: Service, name: str) -> bytes:
    answer = service.call("GET", f"/{name}", headers={"Host": HOST}, token=None)
    assert answer.status == 200, answer.body
    return answer.body


def at_rest(service: Service) -> bool:
    """Whether the spool is empty and the store holds two files (bytes and description) for each key, and no other."""
    amount = sum(bucket["keyamount"] for bucket in service.json("GET", "/ceph/alice")["buckets"])
    return not spool_files(service.data_dir) and len(object_files(service.data_dir)) == 2 * amount


def clean(service: Service) -> None:
    """Nothing is left over: the spool is empty, the store holds what the index names, the usage is the sum."""
    until(lambda: at_rest(service))
    usage = service.json("GET", "/ceph/alice")["buckets"]
    assert service.stop() == 0
    for bucket in usage:
        after = examine(service.data_dir, bucket["bucket"])
        assert after.drift == []
        assert after.stored == after.named
        assert bucket["keyamount"] == len(after.records)
        assert bucket["size"] == sum(record.size for record in after.records.values())


@pytest.fixture
def mortal(tmp_path: Path, origin: FaultOrigin) -> Iterator[Service]:
    """A service that is not started yet."""
    service = Service(tmp_path / "data", origin_allowed_ports=str(origin.port))
    yield service
    service.stop()


@pytest.fixture
def service(mortal: Service) -> Service:
    """A running service with a bucket whose key ``k`` holds the previous version."""
    mortal.start().call("PUT", "/ceph/alice/photos")
    mortal.call("PUT", f"{KEYS}/k", b"the previous version")
    return mortal


PREVIOUS = md5(b"the previous version")


# -- killed while bytes come in


@pytest.mark.parametrize("share", [10, 50, 90])
def test_a_fetch_killed_in_the_body_goes_on_from_the_spool(service: Service, origin: FaultOrigin, share: int) -> None:
    body, held = Content(share, BIG), BIG * share // 100
    behaviour = origin.put("/k", body, gate=Gate(), gate_after=held)
    token = create(service, origin, "k", "k")
    until(lambda: spooled_bytes(service.data_dir), lambda count: count == held)
    until(lambda: progress(service, token), lambda seen: seen["phase"] == "fetching")
    assert published(service, "k") == PREVIOUS
    service.kill()
    assert visible_md5(service.data_dir, BUCKET, "k") == PREVIOUS
    resumed = hold_next_answer(behaviour)
    service.start()
    assert resumed.reached.wait(60)
    assert published(service, "k") == PREVIOUS
    resumed.set()
    succeeded(service, token)
    assert published(service, "k") == body.md5
    assert record(service, "k")["generation"] == 2
    assert [r.headers.get("range") for r in origin.logged("/k")] == [None, f"bytes={held}-{BIG - 1}"]
    assert origin.body_bytes("/k") == BIG
    clean(service)


def hold_next_answer(behaviour: Behaviour) -> Gate:
    """Let bodies flow, but hold the head of the next answer."""
    behaviour.gate = None
    behaviour.header_gate = Gate()
    return behaviour.header_gate


def test_a_fetch_killed_before_the_origin_answers_begins_again(service: Service, origin: FaultOrigin) -> None:
    body, silent = Content(2, BIG), Gate()
    behaviour = origin.put("/k", body, header_gate=silent)
    token = create(service, origin, "k", "k")
    assert silent.reached.wait(60)
    service.kill()
    assert visible_md5(service.data_dir, BUCKET, "k") == PREVIOUS
    behaviour.header_gate = None
    service.start()
    succeeded(service, token)
    assert (published(service, "k"), record(service, "k")["generation"]) == (body.md5, 2)
    assert origin.body_bytes("/k") == BIG
    clean(service)


def test_a_fill_killed_in_the_body_is_stored_after_the_restart_without_its_client(
    service: Service, origin: FaultOrigin
) -> None:
    body, held = Content(3, BIG), BIG // 2
    behaviour = origin.put("/cold", body, gate=Gate(), gate_after=held)
    add_mirror(service, origin)
    with ThreadPoolExecutor(1) as clients:
        client = clients.submit(mirrored, service, "cold")
        until(lambda: spooled_bytes(service.data_dir), lambda count: count == held)
        Site(service, origin, HOST.removesuffix(".test")).resumable("/cold")
        service.kill()
        assert isinstance(client.exception(60), DYING), "a cut body looked complete"
    behaviour.gate = None
    service.start()
    stored = until(lambda: service.call("GET", f"{KEYS}/cold"), lambda answer: answer.status == 200).json()
    assert (stored["md5"], stored["generation"]) == (body.md5, 1)
    assert origin.body_bytes("/cold") == BIG
    assert md5(mirrored(service, "cold")) == body.md5
    assert origin.count("/cold") == 2
    clean(service)


def test_sigterm_in_the_body_ends_well_and_the_fetch_goes_on_at_the_next_start(
    service: Service, origin: FaultOrigin
) -> None:
    body, held = Content(4, BIG), BIG // 2
    behaviour = origin.put("/k", body, gate=Gate(), gate_after=held)
    token = create(service, origin, "k", "k")
    until(lambda: spooled_bytes(service.data_dir), lambda count: count == held)
    assert service.stop() == 0
    behaviour.gate = None
    service.start()
    succeeded(service, token)
    assert (published(service, "k"), record(service, "k")["generation"]) == (body.md5, 2)
    assert origin.body_bytes("/k") == BIG
    clean(service)


def test_another_worker_takes_over_from_a_killed_one(mortal: Service, origin: FaultOrigin) -> None:
    mortal.settings["workers"] = "2"
    mortal.start().call("PUT", "/ceph/alice/photos")
    workers = until(lambda: children(mortal.pid), lambda found: len(found) == 2)
    body, held = Content(5, BIG), BIG // 2
    behaviour = origin.put("/k", body, gate=Gate(), gate_after=held)
    token = create(mortal, origin, "k", "k")
    until(lambda: spooled_bytes(mortal.data_dir), lambda count: count == held)
    until(lambda: progress(mortal, token), lambda seen: seen["phase"] == "fetching")
    behaviour.gate = None
    [owner] = [pid for pid in workers if holds_spool(pid)]
    os.kill(owner, signal.SIGKILL)
    with contextlib.suppress(*DYING):
        succeeded(mortal, token)
    succeeded(mortal, token)
    assert (published(mortal, "k"), record(mortal, "k")["generation"]) == (body.md5, 1)
    assert origin.body_bytes("/k") == BIG
    until(lambda: children(mortal.pid), lambda found: len(found) == 2 and owner not in found)
    clean(mortal)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def holds_spool(pid: int) -> bool:
    return any(link.is_symlink() and link.readlink().suffix == ".part" for link in Path(f"/proc/{pid}/fd").iterdir())


# -- killed at a named step of landing

LEDGER, LANDING = "cephstorage.index.ledger:SqlTransferLedger", "cephstorage.index.landing:SqlLandingIndex"
DIGEST, DISK = "cephstorage.transfer.digest:SpoolDigest", "cephstorage.store.disk:DiskStore"
LANDING_STEPS = [
    f"{LANDING}.plan/before",
    f"{LANDING}.plan/after",
    f"{DISK}._commit/before",
    "cephstorage.store.disk:move_durably/before",
    f"{DISK}._commit/after",
    f"{LANDING}.publish/before",
    f"{LANDING}.publish/after",
    "cephstorage.transfer.spools:SpoolDirectory.remove/before",
    f"{DISK}.delete/before",
    f"{LANDING}.removed/before",
]
CREATE_STEPS = [
    f"{LEDGER}.create/after",
    "cephstorage.transfer.engine:TransferEngine._run/before",
    f"{LEDGER}.set_phase/after",
    f"{DIGEST}.verify/before",
    f"{DIGEST}.verify/after",
    *LANDING_STEPS,
]


class Condemned:
    """A service that is killed at one named step after another, on one data folder."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._armed = service.data_dir.parent / "armed"
        service.settings["crash_armed"] = str(self._armed)

    def start(self, point: str) -> None:
        """Start, to be killed at this point once armed."""
        self.service.module, self.service.settings["crash_at"] = "tests.harness.crashing", point
        self.service.start()

    def die(self, deed: Callable[[], object]) -> None:
        """Arm, do what leads to the point, and see the service killed by it."""
        self._armed.touch()
        with contextlib.suppress(*DYING):
            deed()
        assert self.service.wait() == -signal.SIGKILL
        self._armed.unlink()


@pytest.fixture
def condemned(mortal: Service) -> Condemned:
    return Condemned(mortal)


@pytest.mark.slow
def test_a_create_killed_at_any_step_ends_exactly_once(condemned: Condemned, origin: FaultOrigin) -> None:
    service, previous, body, name = condemned.service, Content(0, SMALL), Content(0, SMALL), ""
    for number, point in enumerate(CREATE_STEPS):
        condemned.start(point)
        if number == 0:
            service.call("PUT", "/ceph/alice/photos")
            service.call("PUT", f"{KEYS}/k", body.read())
        else:
            see_through(service, origin, name, previous.md5, body.md5)
        previous, body, name = body, Content(number + 1, MEDIUM), f"v{number}"
        origin.put(f"/{name}", body)
        assert published(service, "k") == previous.md5
        condemned.die(lambda name=name: create(service, origin, "k", name))
        assert visible_md5(service.data_dir, BUCKET, "k") in {previous.md5, body.md5}, point
    service.module = "cephstorage"
    service.start()
    see_through(service, origin, name, previous.md5, body.md5)
    assert record(service, "k")["generation"] == 1 + len(CREATE_STEPS)
    whole_at_death = [f"/v{CREATE_STEPS.index(point)}" for point in CREATE_STEPS[3:]]
    assert {path: origin.body_bytes(path) for path in whole_at_death} == dict.fromkeys(whole_at_death, MEDIUM)
    clean(service)


def see_through(service: Service, origin: FaultOrigin, name: str, previous: str, wanted: str) -> None:
    """After a restart: the create goes on to success, readers see the old bytes and then the new ones."""
    token, seen = create(service, origin, "k", name), [published(service, "k")]
    while progress(service, token)["state"] == "inprogress":
        seen.append(published(service, "k"))
    succeeded(service, token)
    seen.append(published(service, "k"))
    assert [value for number, value in enumerate(seen) if value not in seen[:number]] in ([previous, wanted], [wanted])
    assert seen == sorted(seen, key=[previous, wanted].index)
    until(lambda: at_rest(service))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "steps"),
    [
        (SMALL, [f"{LEDGER}.begin_upload/before", f"{LEDGER}.begin_upload/after", *LANDING_STEPS[:8]]),
        (MEDIUM, [f"{LEDGER}.begin_upload/after", *LANDING_STEPS[1:5]]),
    ],
    ids=["without a journal", "with a journal"],
)
def test_an_upload_killed_at_any_step_is_whole_or_not_there(condemned: Condemned, size: int, steps: list[str]) -> None:
    service, acknowledged = condemned.service, {}
    old = new = Content(0, size)
    for number, point in enumerate(steps):
        condemned.start(point)
        if number == 0:
            service.call("PUT", "/ceph/alice/photos")
        else:
            settled(service, {old.md5, new.md5})
        old, new = Content(2 * number, size), Content(2 * number + 1, size)
        assert service.call("PUT", f"{KEYS}/k", old.read()).status == 201
        assert service.call("PUT", f"{KEYS}/kept{number}", old.read()).status == 201
        acknowledged[f"kept{number}"] = old.md5
        condemned.die(lambda body=new: service.call("PUT", f"{KEYS}/k", body.read()))
        assert visible_md5(service.data_dir, BUCKET, "k") in {old.md5, new.md5}, point
    service.module = "cephstorage"
    service.start()
    settled(service, {old.md5, new.md5})
    assert {key: published(service, key) for key in acknowledged} == acknowledged
    clean(service)


def settled(service: Service, possible: set[str]) -> None:
    """After a restart: the key has right bytes all the while, also once what was under way is over."""
    while not at_rest(service):
        assert published(service, "k") in possible
    shown = published(service, "k")
    assert shown in possible
    assert record(service, "k")["md5"] == shown


@pytest.mark.slow
def test_a_fill_killed_at_any_step_is_stored_once(condemned: Condemned, origin: FaultOrigin) -> None:
    service, bodies, name = condemned.service, {}, ""
    for number, point in enumerate([f"{DIGEST}.verify/before", *LANDING_STEPS[1:7:2], f"{LANDING}.publish/after"]):
        condemned.start(point)
        if number == 0:
            service.call("PUT", "/ceph/alice/photos")
            add_mirror(service, origin)
        else:
            until(lambda name=name: service.call("GET", f"{KEYS}/{name}"), lambda answer: answer.status == 200)
            until(lambda: at_rest(service))
        name = f"cold{number}"
        bodies[name] = Content(number, MEDIUM)
        origin.put(f"/{name}", bodies[name])
        condemned.die(lambda name=name: mirrored(service, name))
    service.module = "cephstorage"
    service.start()
    for name, body in bodies.items():
        until(lambda name=name: service.call("GET", f"{KEYS}/{name}"), lambda answer: answer.status == 200)
        assert (record(service, name)["md5"], record(service, name)["generation"]) == (body.md5, 1)
        assert md5(mirrored(service, name)) == body.md5
        assert origin.body_bytes(f"/{name}") == MEDIUM
    clean(service)


# -- killed at any moment, while much goes on


class Traffic:
    """Clients that do all kinds of things at once, each with keys of its own, and remember what they were promised.

    What is deleted lies in a bucket of its own, because a delete lets the generations of new keys begin higher.

    A deed that the killed service left unanswered is done again after the next start. ``owed`` says what
    each key must hold at the end: the md5 of its bytes, or None when it was deleted.
    """

    def __init__(self, service: Service, origin: FaultOrigin) -> None:
        self.service = service
        self.origin = origin
        self.owed: dict[tuple[str, str], str | None] = {}
        self.tokens: dict[str, str] = {}
        self._unanswered: dict[int, Callable[[], None]] = {}
        self._answered = threading.Condition()
        self._left = 0
        self._numbers = 0

    def until_killed(self, seed: int, deeds: int) -> None:
        """Let four clients work until so many deeds have been answered; then kill the service under them."""
        self._left = deeds
        with ThreadPoolExecutor(4) as clients:
            for client in [clients.submit(self._work, number, random.Random(seed * 4 + number)) for number in range(4)]:
                client.result()

    def finish(self) -> None:
        """Do what is still unanswered."""
        for deed in self._unanswered.values():
            deed()

    def _work(self, client: int, chance: random.Random) -> None:
        with contextlib.suppress(*DYING):
            while True:
                deed = self._unanswered.get(client) or self._next_deed(client, chance)
                self._unanswered[client] = deed
                deed()
                del self._unanswered[client]
                self._count()

    def _count(self) -> None:
        with self._answered:
            self._left -= 1
            if self._left == 0:
                self.service.kill()

    def _next_deed(self, client: int, chance: random.Random) -> Callable[[], None]:
        with self._answered:
            self._numbers += 1
            number = self._numbers
        size = chance.choice([0, SMALL, 70_000, MEDIUM])
        body, key = Content(number, size), f"{client}/{chance.randrange(4)}"
        kind = chance.choice(["upload", "upload", "delete", "create", "overwrite", "fill"])
        return {
            "upload": lambda: self._upload(key, body),
            "delete": lambda: self._delete(key),
            "create": lambda: self._create(f"created{number}", body, f"source{number}"),
            "overwrite": lambda: self._overwrite(f"replaced{number}", body, f"source{number}"),
            "fill": lambda: self._fill(f"cold{number}", body),
        }[kind]

    def _upload(self, key: str, body: Content) -> None:
        assert self.service.call("PUT", f"{SCRATCH}/{key}", body.read()).status == 201
        self.owed[SCRATCH, key] = body.md5

    def _delete(self, key: str) -> None:
        assert self.service.call("DELETE", f"{SCRATCH}/{key}").status in {200, 404}
        self.owed[SCRATCH, key] = None

    def _create(self, key: str, body: Content, name: str) -> None:
        self.origin.put(f"/{name}", body)
        self.tokens[key] = create(self.service, self.origin, key, name)
        self.owed[KEYS, key] = body.md5

    def _overwrite(self, key: str, body: Content, name: str) -> None:
        """Upload a key, once only, and replace it from a URL."""
        first = Content(body.seed + 100_000, SMALL).read()
        assert self.service.call("PUT", f"{KEYS}/{key}?if_absent=true", first).status in {201, 412}
        self._create(key, body, name)

    def _fill(self, name: str, body: Content) -> None:
        self.origin.put(f"/{name}", body)
        assert md5(mirrored(self.service, name)) == body.md5
        self.owed[KEYS, name] = body.md5


@pytest.mark.slow
def test_killed_at_any_moment_of_busy_traffic_nothing_is_lost(service: Service, origin: FaultOrigin) -> None:
    add_mirror(service, origin)
    service.call("PUT", "/ceph/alice/scratch")
    traffic = Traffic(service, origin)
    for seed, deeds in enumerate([1, 2, 3, 5, 8, 13, 4, 7, 11, 6, 17, 9, 21, 10, 30]):
        traffic.until_killed(seed, deeds)
        service.start()
    traffic.finish()
    for key, token in traffic.tokens.items():
        succeeded(service, token)
        assert record(service, key)["generation"] == (2 if key.startswith("replaced") else 1), key
    for (keys, key), owed in traffic.owed.items():
        if owed is None:
            assert service.call("GET", f"{keys}/{key}").status == 404
        else:
            until(lambda target=f"{keys}/{key}": service.call("GET", target), lambda answer: answer.status == 200)
            assert (record(service, key, keys)["md5"], published(service, key, keys)) == (owed, owed), key
    assert published(service, "k") == PREVIOUS
    clean(service)

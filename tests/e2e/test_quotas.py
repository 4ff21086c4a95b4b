"""Quotas over whole installations: as many transfers as fit, a clear refusal for the others, and nothing that leaks."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.harness import raw
from tests.harness.bucket import Bucket, spooled
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Reply, Service

AT_ONCE = 100


def bound(service: Service, place: str, **limits: int | None) -> Any:
    """Set a quota; the account."""
    return service.json("PUT", f"/quotas/{place}", limits)


def account(service: Service, place: str) -> Any:
    return service.json("GET", f"/quotas/{place}")


def reserved(service: Service, place: str) -> tuple[int, int]:
    held = account(service, place)["reserved"]
    return held["size"], held["keyamount"]


def refusals(service: Service, kind: str) -> float:
    """How many transfers of a kind did not fit, as the process counts them."""
    name = f'cephstorage_quota_refusals_total{{kind="{kind}"}} '
    lines = service.call("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["code"]


@pytest.mark.stacks("direct", "real")  # both databases; the edge changes nothing about it
def test_a_hundred_uploads_at_once_end_exactly_at_the_limit(bucket: Bucket) -> None:
    size, room = 4096, 37
    bucket.put("before", bytes(100))
    bound(bucket.service, f"{bucket.username}/photos", size=100 + room * size + size // 2)
    bound(bucket.service, bucket.username, keyamount=1 + room + 5)

    def upload(number: int) -> Reply:
        return bucket.upload(f"at-once/{number}", number.to_bytes(2, "big") * (size // 2))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(upload, range(AT_ONCE)))
    assert [reply.status for reply in replies].count(201) == room
    refused = [reply for reply in replies if reply.status != 201]
    assert {code(reply) for reply in refused} == {(507, "quota_exceeded")}
    assert all("quota of the bucket" in reply.json()["msg"] for reply in refused)
    assert bucket.usage() == (100 + room * size, 1 + room)
    assert len(bucket.listing(recursive="true")["keys"]) == 1 + room
    assert reserved(bucket.service, bucket.username) == (0, 0)
    bucket.put("the-rest", bytes(size // 2))
    assert code(bucket.upload("one-more", b"x")) == (507, "quota_exceeded")


@pytest.mark.stacks("direct")  # an edge takes the body in before it asks
@pytest.mark.parametrize("expecting", [True, False])
def test_a_refusal_comes_before_the_body(expecting: bool, bucket: Bucket) -> None:
    bound(bucket.service, f"{bucket.username}/photos", size=MIB)
    before = refusals(bucket.service, "upload")
    fields = [f"Content-Length: {MIB + 1}", *(["Expect: 100-continue"] if expecting else [])]
    with raw.connect(bucket.service) as sock:
        sock.sendall(raw.head(bucket.service, "PUT", bucket.target("k").encode(), fields))
        reply = raw.answer(sock)  # the first answer on the wire: no 100 came before it
    assert code(reply) == (507, "quota_exceeded")
    assert refusals(bucket.service, "upload") == before + 1
    assert (bucket.usage(), reserved(bucket.service, bucket.username)) == ((0, 0), (0, 0))


@pytest.mark.stacks("direct")  # an edge takes the body in before it asks
def test_a_body_of_unknown_length_is_stopped_when_it_can_not_fit(bucket: Bucket) -> None:
    bound(bucket.service, f"{bucket.username}/photos", size=6 * MIB)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 500 * MIB:
            sent += MIB
            yield bytes(MIB)

    assert bucket.upload_chunked("fits", iter([bytes(MIB)] * 3 + [b"x"])) == 201
    with raw.connect(bucket.service) as sock:
        sock.sendall(raw.head(bucket.service, "PUT", bucket.target("k").encode(), ["Transfer-Encoding: chunked"]))
        for chunk in endless():
            try:
                sock.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            except OSError:
                break
    assert 3 * MIB < sent < 500 * MIB
    until(lambda: reserved(bucket.service, bucket.username), lambda held: held == (0, 0))
    assert bucket.usage() == (3 * MIB + 1, 1)
    assert spooled(bucket.service.data_dir) == []


@pytest.mark.stacks("direct")  # the index does it, whatever stands around
def test_above_a_new_limit_nothing_is_deleted_and_only_less_is_taken(bucket: Bucket) -> None:
    bucket.put("a", bytes(1000))
    shown = bound(bucket.service, f"{bucket.username}/photos", size=500)
    assert (shown["size"], shown["quota"]) == (1000, {"size": 500, "keyamount": None})
    assert code(bucket.upload("b", b"x")) == (507, "quota_exceeded")
    assert code(bucket.upload("a", bytes(1001))) == (507, "quota_exceeded")
    assert bucket.read("a") == bytes(1000)
    bucket.put("a", bytes(400))
    bucket.put("b", bytes(100))
    bucket.delete("a")
    bucket.put("c", bytes(400))
    bound(bucket.service, f"{bucket.username}/photos")
    bucket.put("d", bytes(4000))
    tenant = bucket.service.json("GET", f"/ceph/{bucket.username}")
    assert (tenant["size"], tenant["keyamount"], tenant["quota"]) == (4500, 3, {"size": None, "keyamount": None})


@pytest.mark.stacks("direct")  # the engine does it, whatever stands around
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_creation_that_does_not_fit_ends_with_the_reason(
    framing: str, bucket: Bucket, shared_origin: FaultOrigin
) -> None:
    body = Content(7, 3 * MIB)
    path = f"/quota-{bucket.username}"
    shared_origin.put(path, body, framing=framing)
    bound(bucket.service, f"{bucket.username}/photos", size=body.size - 1)
    assert bucket.failure(bucket.create("k", shared_origin.url + path)) == "quota_exceeded"
    assert reserved(bucket.service, bucket.username) == (0, 0)
    bound(bucket.service, f"{bucket.username}/photos", size=body.size)
    bucket.success(bucket.create("k", shared_origin.url + path))
    assert bucket.usage() == (body.size, 1)


@pytest.mark.stacks("direct")  # the engine does it, whatever stands around
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_mirror_serves_what_it_can_not_keep(framing: str, shared: Service, shared_origin: FaultOrigin) -> None:
    site = Site.of_test(shared, shared_origin, f"quota-{framing}")
    body = Content(3, 300_000)
    for path in ("/a", "/b", "/c"):
        site.put(path, body, framing=framing)
    place = site.bucket.replace("___", "/")
    bound(shared, place, size=body.size + 10)
    before = refusals(shared, "fill")
    assert site.get("/a").body == body.read()
    until(lambda: account(shared, place)["keyamount"], lambda keys: keys == 1)
    for path in ("/b", "/b", "/c"):
        reply = site.get(path)
        assert (reply.status, reply.body) == (200, body.read())
    until(lambda: refusals(shared, "fill"), lambda count: count >= before + 2)  # the second may follow the first
    assert account(shared, place)["keyamount"] == 1
    told = [line for line in shared.log().splitlines() if "mirror_copies_not_kept" in line and site.bucket in line]
    assert len(told) == 1
    bound(shared, place)
    assert site.get("/b").body == body.read()
    until(lambda: account(shared, place)["keyamount"], lambda keys: keys == 2)


@pytest.mark.stacks("direct")  # kills the one process
def test_what_a_killed_process_had_reserved_is_free_again(service: Service) -> None:
    bucket = Bucket(service, "alice")
    bound(service, "alice", size=MIB)
    with raw.connect(service) as sock:
        sock.sendall(raw.head(service, "PUT", bucket.target("half").encode(), [f"Content-Length: {MIB}"]) + bytes(1000))
        until(lambda: reserved(service, "alice"), lambda held: held == (MIB, 1))
        assert code(bucket.upload("k", b"x")) == (507, "quota_exceeded")
        service.kill()
    service.start()
    until(lambda: reserved(service, "alice"), lambda held: held == (0, 0))
    bucket.put("k", bytes(MIB))
    assert not bucket.exists("half")


@pytest.mark.stacks("direct")  # nothing but the API
def test_who_may_see_and_set_quotas(bucket: Bucket) -> None:
    service, place = bucket.service, f"{bucket.username}/photos"
    made = service.json("POST", "/tokens", {"role": "tenant", "username": bucket.username})["token"]
    other = service.json("POST", "/tokens", {"role": "tenant", "username": "somebody-else"})["token"]
    bound(service, place, keyamount=3)
    for where in (place, bucket.username):
        assert service.call("GET", f"/quotas/{where}", token=made).status == 200
        assert service.call("GET", f"/quotas/{where}", token=other).status == 403
        body, headers = json.dumps({"size": 1}).encode(), {"Content-Type": "application/json"}
        assert service.call("PUT", f"/quotas/{where}", body, headers, token=made).status == 403
    assert service.call("GET", "/quotas", token=made).status == 403
    assert place in [f"{each['username']}/{each['bucketname']}" for each in service.json("GET", "/quotas")["quotas"]]
    assert service.json("GET", bucket.path)["quota"] == {"size": None, "keyamount": 3}
    assert code(service.call("GET", "/quotas/nobody")) == (404, "tenant_not_found")
    assert code(service.call("GET", f"/quotas/{bucket.username}/none")) == (404, "bucket_not_found")
    for wrong in ({"size": -1}, {"size": 2**62 + 1}, {"keyamount": "3"}, {"keys": 3}, []):
        reply = service.call("PUT", f"/quotas/{place}", json.dumps(wrong).encode(), headers)
        assert code(reply) == (400, "invalid_request")


@pytest.mark.stacks("direct")  # nothing but the command line
def test_quotas_by_the_command_line(service: Service) -> None:
    Bucket(service, "alice").put("k", bytes(2048))

    def cli(*arguments: str) -> Any:
        done = service.command("quota", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert cli("ls") == []
    [shown] = cli("set", "alice", "--size", "10G", "--keys", "5")
    assert (shown["quota"], shown["size"]) == ({"size": 10 * 2**30, "keyamount": 5}, 2048)
    [shown] = cli("set", "alice", "--size", "none")
    assert shown["quota"] == {"size": None, "keyamount": 5}
    cli("set", "alice/photos", "--size", "4k")
    assert [row["quota"] for row in cli("ls")] == [{"size": None, "keyamount": 5}, {"size": 4096, "keyamount": None}]
    cli("rm", "alice")
    text = service.command("quota", "show", "alice/photos").stdout
    assert "2.0 KiB" in text
    assert "4.0 KiB" in text
    for wrong in (["set", "alice"], ["set", "alice", "--size", "much"], ["set", "alice/photos/k", "--keys", "1"]):
        assert service.command("quota", *wrong).returncode == 2
    assert service.command("quota", "show", "nobody").returncode == 3

"""Mirrors with several origins, and with origins that want to know who asks."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.pair import Pair, pair, shared_service, spare
from tests.e2e.mirror.site import Site, problem_code
from tests.harness.behaviour import Gate
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.s3 import Bystander
from tests.harness.service import Service

__all__ = ["pair", "shared_service", "spare"]

BODY = Content(81, 4 * MIB + 11)
OTHER = Content(82, 4 * MIB + 11)
SECRET = "hush-9f2c-not-for-any-eye"


def test_an_old_order_and_a_new_one_are_shown_alike(pair: Pair) -> None:
    shown = pair.site.order()
    assert [server["url"] for server in shown["origins"]] == [shown["real_host"]]
    shown = pair.order(choice="weighted", failover_statuses=[404], origins=pair.origins({"weight": 3}, {"rate": 5}))
    assert shown["real_host"] == shown["origins"][0]["url"] == pair.site.origin.url + pair.site.prefix
    assert [server.get("weight") for server in shown["origins"]] == [3, 1]
    again = pair.order(choice="weighted", failover_statuses=[404], origins=shown["origins"], origin=shown["real_host"])
    assert {**again, "created": 0} == {**shown, "created": 0}


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "origin"),
        ({"origins": []}, "origin"),
        ({"origins": [{"url": "http://a.example"}, {"url": "http://a.example/"}]}, "twice"),
        ({"origin": "http://b.example", "origins": [{"url": "http://a.example"}]}, "first"),
        ({"origins": [{"url": "http://a.example", "weight": 0}]}, "weight"),
        ({"origins": [{"url": "http://a.example", "ca": "../etc"}]}, "ca"),
        ({"origins": [{"url": "http://a.example", "host": "a b"}]}, "host"),
        ({"origins": [{"url": "http://a.example", "credentials": "basic"}]}, "keep"),
        ({"origins": [{"url": f"http://u:{SECRET}@a.example", "credentials": {"kind": "bearer", "token": "x"}}]}, "user name"),
        ({"origins": [{"url": "http://a.example", "credentials": {"kind": "bearer", "token": f"{SECRET}\n"}}]}, "token"),
        ({"origins": [{"url": "http://a.example", "credentials": {"kind": "header", "name": "Host", "value": SECRET}}]}, "name"),
        ({"origins": [{"url": "http://a.example", "credentials": {"kind": "s4", "value": SECRET}}]}, "credentials"),
        ({"origin": "http://a.example", "failover_statuses": [500]}, "failover_statuses"),
        ({"origin": "http://a.example", "rules": [{"path": "/a", "failover_statuses": [301]}]}, "failover_statuses"),
        (
            {"origin": "http://a.example", "rules": [{"status": [404], "failover_statuses": [404]}]},
            "failover_statuses",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(site: Site, wish: dict[str, Any], field: str) -> None:
    body = json.dumps({"mirror": "refused.test", "bucket": site.bucket, **wish}).encode()
    reply = site.service.call("POST", "/mirrors/host", body, {"Content-Type": "application/json"})
    assert reply.status == 400
    assert field in reply.json()["msg"]
    assert SECRET.encode() not in reply.body


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_another_origin_goes_on_in_mid_body(pair: Pair, framing: str) -> None:
    """The first one dies and stays down: readers get the whole body, each byte was sent once."""
    gate = Gate()
    pair.site.put("/a", BODY, etag='"v1"', gate=gate, gate_after=MIB, framing=framing)
    pair.put_spare("/a", BODY, etag='"v1"', framing=framing)
    with pair.site.open("/a") as answer:
        first = answer.read(MIB)
        with pair.site.origin_down(cut=True):
            gate.set()
            assert first + answer.rest() == BODY.read()
            assert pair.site.stored("a")["md5"] == BODY.md5
    assert pair.sent("/a") == BODY.size
    asked = [request.headers["range"] for request in pair.spare.logged(pair.site.prefix + "/a")]
    assert asked[0].startswith(f"bytes={MIB}-")


def test_another_version_is_never_joined_and_the_first_origin_may_come_back(pair: Pair) -> None:
    gate = Gate()
    pair.site.put("/a", BODY, etag='"v1"', gate=gate, gate_after=MIB)
    pair.put_spare("/a", OTHER, etag='"v2"')
    with pair.site.open("/a") as answer:
        first = answer.read(MIB)
        with pair.site.origin_down(cut=True):
            gate.set()
            until(lambda: pair.spare.logged(pair.site.prefix + "/a"))
        assert first + answer.rest() == BODY.read()
    assert pair.site.stored("a")["md5"] == BODY.md5


@pytest.mark.parametrize("right", [True, False])
def test_a_digest_lets_another_origin_go_on_though_its_validators_differ(pair: Pair, right: bool) -> None:
    """A wrong byte is found before the end: the answer breaks, and nothing is stored."""
    gate = Gate()
    digest = ("Repr-Digest", f"sha-256=:{base64.b64encode(bytes.fromhex(BODY.sha256)).decode()}:")
    pair.site.put("/a", BODY, etag='"inode-1"', gate=gate, gate_after=MIB, headers=[digest])
    pair.put_spare("/a", BODY if right else OTHER, etag='"inode-2"')
    with pair.site.open("/a") as answer:
        first = answer.read(MIB)
        with pair.site.origin_down(cut=True):
            gate.set()
            if right:
                assert first + answer.rest() == BODY.read()
                assert pair.site.stored("a")["md5"] == BODY.md5
                return
            assert len(first + answer.until_cut()) <= BODY.size - 64 * 1024
    assert pair.site.settled("/a")["record"] is None


def test_the_next_origin_answers_when_the_first_is_down_from_the_start(pair: Pair) -> None:
    pair.put_spare("/a", BODY)
    pair.put_spare("/passed", BODY, headers=[("Cache-Control", "no-store")])
    with pair.site.origin_down():
        assert pair.site.get("/a").body == BODY.read()
        assert pair.site.get("/passed").body == BODY.read()
        assert pair.site.head("/other").status == 404
    stored = pair.site.stored("a")
    assert (stored["md5"], stored["source"]) == (BODY.md5, f"{pair.spare.url}{pair.site.prefix}/a")
    assert pair.spare.count(pair.site.prefix + "/a") == 1


def test_what_is_missing_is_looked_for_elsewhere(pair: Pair) -> None:
    pair.put_spare("/a", BODY)
    assert pair.site.get("/a").status == 404
    pair.order(failover_statuses=[404])
    assert pair.site.get("/a").body == BODY.read()


def test_what_counts_as_missing_is_said_by_rules(pair: Pair) -> None:
    """For fills, for what is passed through and for HEAD; a rule may also take back what the mirror says."""
    paths = ("/by/a", "/by/passed", "/never/a", "/else")
    for path in paths:
        pair.put_spare(path, BODY)
    pair.site.put("/by/refused", status=403)
    pair.put_spare("/by/refused", BODY)
    rules = [{"path": "/by/passed", "mode": "bypass", "failover_statuses": [404]}]
    rules += [{"prefix": "/by/", "failover_statuses": [403, 404]}, {"prefix": "/never/", "failover_statuses": []}]
    shown = pair.order(rules=rules)
    assert [rule.get("failover_statuses") for rule in shown["rules"]] == [[404], [403, 404], []]
    assert [pair.site.head(path).status for path in paths] == [200, 200, 404, 404]
    for path in ("/by/a", "/by/passed", "/by/refused"):
        assert pair.site.get(path).body == BODY.read()
    assert [pair.site.get(path).status for path in paths[2:]] == [404, 404]
    pair.order(rules=rules, failover_statuses=[404])
    assert [pair.site.get(path).status for path in paths[2:]] == [404, 200]


def test_a_full_origin_gives_the_stored_copy_or_asks_for_patience(pair: Pair) -> None:
    """One request at a time, and one is under way: the queue's patience ends."""
    site = pair.site
    wish = {"mirror": site.host, "bucket": site.bucket, "mode": "revalidate", "ttl": 0}
    origins = [{**pair.origins()[0], "concurrency": 1}]
    site.service.json("POST", "/mirrors/host", {**wish, "origins": origins})
    site.fill("/kept", BODY)
    gate = Gate()
    site.put("/slow", BODY, gate=gate, gate_after=MIB)
    with site.open("/slow") as slow:
        slow.read(MIB)
        kept = site.get("/kept")
        cold = site.get("/cold")
        gate.set()
        slow.rest()
    assert kept.body == BODY.read()
    assert "stale-origin_busy" in kept.headers["cache-status"]
    assert (cold.status, problem_code(cold)) == (503, "origin_busy")
    assert int(cold.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({"kind": "basic", "username": "u", "password": SECRET}, "authorization"),
        ({"kind": "bearer", "token": SECRET}, "authorization"),
        ({"kind": "header", "name": "X-Api-Key", "value": SECRET}, "x-api-key"),
        ({"kind": "s3", "access_key": "AKID", "secret_key": SECRET}, "authorization"),
    ],
    ids=["basic", "bearer", "header", "s3"],
)
def test_credentials_reach_their_origin_and_are_kept_when_only_their_kind_is_given(
    pair: Pair, credentials: dict[str, str], header: str
) -> None:
    pair.put_spare("/a", BODY)
    pair.site.put("/a", BODY, status=500)
    shown = pair.order(origins=pair.origins({"credentials": credentials}, {}))
    assert [server.get("credentials") for server in shown["origins"]] == [credentials["kind"], None]
    for _ in range(2):
        assert pair.site.get("/a").body == BODY.read()
        pair.order(origins=shown["origins"], mode="bypass")
    first, *_, last = pair.site.logged("/a")
    assert header in first.headers
    assert header in last.headers
    assert header not in pair.spare.logged(pair.site.prefix + "/a")[-1].headers


def test_another_mirror_of_the_same_origin_shows_it_nothing(pair: Pair, shared_service: Service) -> None:
    pair.order(origins=pair.origins({"credentials": {"kind": "bearer", "token": SECRET}}, {}))
    stranger = Site(
        shared_service, pair.site.origin, f"stranger-{pair.site.host.removesuffix('.test')}", pair.site.prefix
    )
    stranger.order(bucket="strangers___files")
    pair.site.put("/a", BODY)
    assert stranger.get("/a").status == 200
    assert pair.site.get("/a").status == 200
    shown = [asked.headers.get("authorization") for asked in pair.site.logged("/a")]
    assert shown == [None, f"Bearer {SECRET}"]


@pytest.mark.stacks("direct")  # looks into the data folder
def test_a_secret_stands_nowhere(launch: Callable[..., Service], origin: FaultOrigin, tmp_path: Path) -> None:
    """Not in answers, logs, or any file of the data folder: nor one that stood in an address."""
    service = launch(log_level="debug")
    origin.put("/a", b"x")
    origin.put("/broken", raw=b"nonsense\r\n\r\n")
    origin.put("/gone", status=502)
    said = b""
    for number, address in enumerate((origin.url, f"http://user:{SECRET}@127.0.0.1:{origin.port}")):
        site = Site(service, origin, f"mirror-{number}")
        body: dict[str, Any] = {"mirror": site.host, "bucket": site.bucket}
        body["origins"] = [{"url": address}]
        if number == 0:
            body["origins"][0]["credentials"] = {"kind": "header", "name": "X-Key", "value": SECRET}
        else:
            body["rules"] = [{"path": "/ruled/**", "origin": f"http://user:{SECRET}@127.0.0.1:{origin.port}/sub"}]
        said += json.dumps(service.json("POST", "/mirrors/host", body)).encode()
        for path in ("/a", "/broken", "/gone", "/nowhere", "/ruled/x"):
            answer = site.get(path)
            said += answer.body + json.dumps(answer.headers).encode() + json.dumps(site.explain(path)).encode()
    assert origin.logged("/a")[0].headers["x-key"] == SECRET
    assert origin.logged("/a")[1].headers["authorization"].startswith("Basic ")
    assert origin.logged("/sub/ruled/x")[0].headers["authorization"].startswith("Basic ")
    for target in ("/mirrors/host", "/metrics", "/config", "/openapi.json"):
        said += service.call("GET", target).body
    service.stop()
    files = [file.read_bytes() for file in service.data_dir.rglob("*") if file.is_file()]
    assert any(b"sealed:1:" in content for content in files)
    for place in (said, service.log().encode(), *files):
        assert SECRET.encode() not in place
        assert b"dXNlcjpodXNo" not in place  # user:hush in Base64


@pytest.mark.stacks("direct")  # restarts with other keys
def test_secrets_are_sealed_anew_and_a_lost_one_keeps_only_its_mirror(
    launch: Callable[..., Service], origin: FaultOrigin
) -> None:
    first, second = "first-key-" + "a" * 32, "second-key-" + "b" * 32
    service = launch(secret_key=first)
    site, open_site = (Site(service, origin, name) for name in ("closed", "open"))
    origin.put("/a", b"x", headers=[("Cache-Control", "no-store")])
    credentials = {"kind": "bearer", "token": SECRET}
    site.service.json(
        "POST",
        "/mirrors/host",
        {"mirror": site.host, "bucket": site.bucket, "origins": [{"url": origin.url, "credentials": credentials}]},
    )
    open_site.order()
    for keys in (f"{second},{first}", second):
        service.stop()
        service.settings["secret_key"] = keys
        service.start()
        assert site.get("/a").status == 200
        assert origin.logged("/a")[-1].headers["authorization"] == f"Bearer {SECRET}"
    service.stop()
    service.settings["secret_key"] = "third-key-" + "c" * 32
    command = [sys.executable, "-m", "cephstorage", "config", "forget-sealed", "--yes"]
    subprocess.run(command, env=service.env, check=True, capture_output=True, timeout=60)
    service.start()
    lost = site.get("/a")
    assert (lost.status, problem_code(lost)) == (503, "secret_key_wrong")
    assert open_site.get("/a").status == 200


def test_the_breaker_is_seen_in_explain_and_metrics(site: Site) -> None:
    assert [origin["circuit"] for origin in site.explain("/a")["origins"]] == ["closed"]
    with site.origin_down():
        until(lambda: problem_code(site.get("/a")), lambda code: code == "origin_resting")
        (origin,) = site.explain("/a")["origins"]
        resting = site.get("/b")
    assert (origin["circuit"], 0 < origin["wait"] <= 5) == ("open", True)
    assert (resting.status, 1 <= int(resting.headers["retry-after"]) <= 5) == (503, True)
    whose = f'{{mirror="{site.host}",origin="{site.origin.url}{site.prefix}"}}'
    (process,) = getattr(site.service, "proxies", [site.service])
    series = dict(line.rsplit(" ", 1) for line in process.call("GET", "/metrics").body.decode().splitlines())
    assert float(series[f"cephstorage_origin_circuit{whose}"]) >= 1
    ended = whose.replace("{", '{end="origin_unreachable",')
    assert float(series[f"cephstorage_origin_requests_total{ended}"]) == 5


@pytest.mark.stacks("direct")  # the command line speaks to one service
def test_the_command_line_makes_a_mirror_of_several_origins(site: Site, spare: FaultOrigin, tmp_path: Path) -> None:
    there = site.origin.url + site.prefix
    listed = [{"url": there, "concurrency": 4, "credentials": {"kind": "bearer", "token": SECRET}}]
    (tmp_path / "origins.json").write_text(json.dumps(listed))
    command = [sys.executable, "-m", "cephstorage", "mirror", "add", site.host, there, site.bucket.replace("___", "/")]
    command += ["--origins-file", str(tmp_path / "origins.json"), "--next-origin", spare.url, "--choice", "weighted"]
    command += ["--failover-status", "404", "--json"]
    done = subprocess.run(command, env=site.service.env, check=True, capture_output=True, text=True, timeout=60)
    shown = json.loads(done.stdout)
    assert [(server["url"], server.get("credentials")) for server in shown["origins"]] == [
        (there, "bearer"),
        (spare.url, None),
    ]
    assert (shown["choice"], shown["failover_statuses"]) == ("weighted", [404])
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.stacks("direct")  # the gateway of the installation itself can't be an origin
def test_a_private_bucket_of_an_s3_store(launch: Callable[..., Service], origin: FaultOrigin, ceph: Ceph) -> None:
    """Ranges, odd keys and HEAD, signed; what is signed wrongly is the store's refusal."""
    keys = ["plain.bin", "a b/c+d (1).txt", "~/é%20.txt"]
    looking = Bystander(ceph, "origin-of-a-mirror")
    looking.client.create_bucket(Bucket=looking.bucket)
    for key in keys:
        looking.client.put_object(Bucket=looking.bucket, Key=key, Body=BODY.read())
    looking.close()
    port = ceph.gateway.rpartition(":")[2]
    site = Site(launch(origin_allowed_ports=f"{origin.port},{port}"), origin, "s3")
    credentials = {"kind": "s3", "access_key": ceph.access_key, "secret_key": ceph.secret_key, "region": "default"}
    for wrong in (True, False):
        shown = {**credentials, "secret_key": "not it"} if wrong else credentials
        server = {"url": f"{ceph.gateway}/{looking.bucket}", "credentials": shown}
        site.service.json("POST", "/mirrors/host", {"mirror": site.host, "bucket": site.bucket, "origins": [server]})
        if wrong:
            assert site.get("/plain.bin").status == 403
    assert site.head("/plain.bin").headers["content-length"] == str(BODY.size)
    assert site.range("/plain.bin", "-5").body == BODY.read(BODY.size - 5)
    for key, target in zip(keys, ("/plain.bin", "/a%20b/c+d%20(1).txt", "/~/%C3%A9%2520.txt"), strict=True):
        assert site.get(target).body == BODY.read()
        assert site.stored(key)["md5"] == BODY.md5

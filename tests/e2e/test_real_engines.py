"""The service on a real Ceph and a real PostgreSQL, from the environment and from the database, changed while it runs."""

import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.names import NASTY_KEYS
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres
from tests.harness.service import Reply, Service

pytestmark = pytest.mark.stacks("direct")  # they bring their own engines

Launch = Callable[..., Service]
JSON = {"Content-Type": "application/json"}
KEY = "k" * 32
WEEK = 7 * 86400


def access(node: Ceph) -> dict[str, str]:
    """The options that lead to a Ceph."""
    return {"ceph_gateway": node.gateway, "ceph_access_key": node.access_key, "ceph_secret_key": node.secret_key}


def change(service: Service, query: str = "", **wishes: Any) -> Reply:
    return service.call("PUT", f"/config{query}", json.dumps(wishes).encode(), JSON)


def checks(service: Service) -> dict[str, str]:
    return dict(service.call("GET", "/readyz").json()["checks"])


@pytest.fixture
def real(ceph: Ceph, postgres: Postgres, launch: Launch) -> Service:
    """Everything from the environment."""
    return launch(store="ceph", database_url=postgres.fresh(), **access(ceph))


@pytest.fixture
def bare(postgres: Postgres, launch: Launch) -> Service:
    """On Ceph, which is still to be named."""
    return launch(store="ceph", database_url=postgres.fresh(), secret_key=KEY)


@pytest.fixture
def second_ceph(ceph_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """Another cluster, with other users."""
    with Ceph(tmp_path_factory.mktemp("second-ceph") / "node").start() as node:
        yield node


def fetch(url: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes, dict[str, str]]:
    """What anybody gets at an address, sent exactly as it is written."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    with contextlib.closing(
        http.client.HTTPSConnection(host, port, timeout=60, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=60)
    ) as connection:
        connection.request("GET", url.removeprefix(f"{parts.scheme}://{parts.netloc}"))
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


def test_everything_from_the_environment(real: Service, origin: FaultOrigin) -> None:
    assert real.call("GET", "/readyz").status == 200
    said = checks(real)
    assert "PostgreSQL" in said["database"]
    assert "Ceph" in said["store"]
    bucket, body = Bucket(real, "alice"), Content(1, 20 * MIB)
    bucket.put("small", b"x", {"Content-Type": "text/plain"})
    bucket.put("large", body.read())
    origin.put("/a", body)
    bucket.success(bucket.create("from/url", f"{origin.url}/a"))
    assert (bucket.read("small"), bucket.read("large"), bucket.read("from/url")) == (b"x", body.read(), body.read())
    assert bucket.usage() == (1 + 2 * len(body.read()), 3)
    assert not (real.data_dir / "cephstorage.db").exists()
    assert not (real.data_dir / "objects").exists()


def test_a_mirror_on_the_real_engines(real: Service, origin: FaultOrigin) -> None:
    body = Content(2, 3 * MIB)
    origin.put("/a", body)
    real.json("POST", "/mirrors/host", {"mirror": "f.example", "origin": origin.url, "bucket": "alice___files"})
    for _ in range(2):
        assert real.call("GET", "/a", None, {"Host": "f.example"}, token=None).body == body.read()
    until(lambda: real.call("GET", "/ceph/alice/files/keys/a").status == 200)
    origin.remove("/a")
    assert real.call("GET", "/a", None, {"Host": "f.example"}, token=None).body == body.read()
    assert origin.count("/a") == 1


def test_a_restart_and_a_kill_lose_nothing(real: Service) -> None:
    bucket = Bucket(real, "alice")
    bucket.put("k", b"x")
    url = bucket.record("k")["url"].removeprefix(real.url)
    for end in (real.stop, real.kill):
        end()
        real.start()
        assert real.call("GET", url, token=None).body == b"x"


def test_ceph_is_configured_while_the_service_runs(bare: Service, ceph: Ceph) -> None:
    ready = bare.call("GET", "/readyz")
    assert ready.status == 503
    assert "ceph_gateway" in ready.json()["checks"]["store"]
    answer = change(bare, **access(ceph))
    assert answer.status == 200
    assert ceph.gateway in answer.json()["checked"]
    assert ceph.secret_key.encode() not in answer.body
    assert bare.call("GET", "/readyz").status == 200
    bucket = Bucket(bare, "alice")
    bucket.put("k", b"x")
    bare.kill()
    bare.start()
    assert bucket.read("k") == b"x"


def test_what_does_not_work_is_refused_and_nothing_changes(bare: Service, ceph: Ceph) -> None:
    for wrong, said in (
        ({"ceph_access_key": "NOBODY"}, "ceph_access_key"),
        ({"ceph_secret_key": "wrong"}, "ceph_secret_key"),
        ({"ceph_gateway": "http://127.0.0.1:1"}, "ceph_gateway"),
        ({"ceph_gateway": ceph.gateway.replace("http:", "https:")}, "ceph_gateway"),
    ):
        reply = change(bare, **{**access(ceph), **wrong})
        assert (reply.status, reply.json()["code"]) == (409, "setting_untenable"), wrong
        assert said in reply.json()["msg"]
        assert ceph.secret_key not in reply.json()["msg"]
        assert bare.json("GET", "/config")["settings"]["ceph_gateway"]["source"] == "default"
    assert change(bare, **access(ceph)).status == 200
    bucket = Bucket(bare, "alice")
    bucket.put("k", b"x")
    assert change(bare, ceph_secret_key="wrong").status == 409
    assert bucket.read("k") == b"x"


def test_a_gateway_that_refuses_our_bucket_names_is_refused(
    bare: Service, ceph_programs: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    strict = {"rgw_relaxed_s3_bucket_names": "false"}
    with Ceph(tmp_path_factory.mktemp("strict") / "node", rgw_options=strict).start() as node:
        reply = change(bare, **access(node))
    assert reply.status == 409
    assert "rgw_relaxed_s3_bucket_names" in reply.json()["msg"]


def test_without_a_probe_a_gateway_that_is_down_can_be_set(bare: Service, ceph: Ceph) -> None:
    answer = change(bare, "?probe=false", **{**access(ceph), "ceph_gateway": "http://127.0.0.1:1"})
    assert (answer.status, answer.json()["checked"]) == (200, None)
    ready = bare.call("GET", "/readyz")
    assert (ready.status, "127.0.0.1:1" in ready.json()["checks"]["store"]) == (503, True)
    assert change(bare, ceph_gateway=ceph.gateway).status == 200
    assert bare.call("GET", "/readyz").status == 200


def test_credentials_are_replaced_under_reads_and_uploads_in_every_process(
    bare: Service, ceph: Ceph, launch: Launch
) -> None:
    other = launch("other", **bare.settings)
    assert change(bare, **access(ceph)).status == 200
    bucket, body = Bucket(bare, "alice"), Content(3, 40 * MIB)
    bucket.put("k", body.read())
    until(lambda: other.call("GET", "/readyz").status == 200)
    elsewhere = Bucket(other, "alice")
    fresh = {"ceph_access_key": "FRESHKEY", "ceph_secret_key": "fresh-secret"}
    keys = [f"--access-key={fresh['ceph_access_key']}", f"--secret-key={fresh['ceph_secret_key']}"]
    ceph.admin("key", "create", "--uid=cephstorage", "--key-type=s3", *keys)
    url = urlsplit(bucket.record("k")["url"])
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", bare.port, timeout=60)) as connection:
        connection.request("GET", f"{url.path}?{url.query}")
        answer = connection.getresponse()
        first = answer.read(MIB)
        assert change(bare, **fresh).status == 200
        assert first + answer.read() == body.read()
    assert (bucket.read("k"), elsewhere.read("k")) == (body.read(), body.read())
    elsewhere.put("theirs", b"y")
    assert bucket.read("theirs") == b"y"
    ceph.admin("key", "rm", "--uid=cephstorage", f"--access-key={fresh['ceph_access_key']}")


def test_a_second_cluster_takes_over_what_comes_next(bare: Service, ceph: Ceph, second_ceph: Ceph) -> None:
    assert change(bare, **access(ceph)).status == 200
    bucket = Bucket(bare, "alice")
    bucket.put("here", b"x")
    assert change(bare, **access(second_ceph)).status == 200
    bare.json("PUT", "/ceph/bob/photos")
    moved = Bucket(bare, "bob")
    moved.put("there", b"y")
    assert moved.read("there") == b"y"
    # The gateway's abilities are tried beside the work, in a bucket that is gone afterwards.
    until(
        lambda: [made["bucket"] for made in second_ceph.admin("bucket", "stats")],
        lambda names: names == ["bob___photos"],
    )


# -- published by RGW


def test_rgw_answers_published_urls_exactly(bare: Service, ceph: Ceph) -> None:
    assert change(bare, **access(ceph), ceph_public_address=ceph.gateway, publish_by="rgw").status == 200
    bucket = Bucket(bare, "alice")
    for number, name in enumerate(NASTY_KEYS.values()):
        body = f"body {number}".encode()
        url = bucket.put(name, body, {"Content-Type": "text/x-test"})["url"]
        assert url.startswith(f"{ceph.gateway}/alice___photos/"), name
        assert {"X-Amz-Signature", "versionId"} <= parse_qs(urlsplit(url).query).keys()
        status, read, headers = fetch(url)
        assert (status, read) == (200, body), name
        assert headers["content-type"] == "text/x-test"
    bucket.put("k", b"old")
    bucket.put("k", b"new")
    assert fetch(bucket.record("k")["url"])[1] == b"new"


def test_the_life_of_presigned_urls_is_bounded(bare: Service, ceph: Ceph) -> None:
    assert change(bare, **access(ceph), ceph_public_address=ceph.gateway, publish_by="rgw").status == 200
    bucket = Bucket(bare, "alice")
    bucket.put("k", b"x")
    life = parse_qs(urlsplit(bucket.record("k")["url"]).query)["X-Amz-Expires"]
    assert life == [str(WEEK)]
    assert fetch(bucket.record("k", expires_in=WEEK)["url"])[0] == 200
    reply = bare.call("GET", bucket.target("k", expires_in=WEEK + 1))
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")
    assert str(WEEK) in reply.json()["msg"]
    altered = bucket.record("k")["url"].replace("alice___photos/k", "alice___photos/l")
    assert fetch(altered)[0] == 403


def test_publishing_is_switched_in_every_process_and_back(bare: Service, ceph: Ceph, launch: Launch) -> None:
    other = launch("other", **bare.settings)
    assert change(bare, **access(ceph), ceph_public_address="https://s3.example.org").status == 200
    bucket = Bucket(bare, "alice")
    bucket.put("k", b"x")
    until(lambda: other.call("GET", "/readyz").status == 200)
    elsewhere = Bucket(other, "alice")
    assert bucket.record("k")["url"].startswith(f"{bare.url}/objects/")
    assert change(bare, publish_by="rgw").status == 200
    assert bucket.record("k")["url"].startswith("https://s3.example.org/alice___photos/k?")
    until(lambda: elsewhere.record("k")["url"].startswith("https://s3.example.org/"))
    assert change(bare, publish_by=None).status == 200
    assert bucket.read("k") == b"x"


def test_a_gateway_with_a_private_ca(bare: Service, ceph: Ceph) -> None:
    secure = {**access(ceph), "ceph_gateway": ceph.secure_gateway}
    refused = change(bare, **secure)
    assert refused.status == 409
    assert "ceph_ca_file" in refused.json()["msg"]
    assert ceph.certificate is not None
    public = {"ceph_public_address": ceph.secure_gateway, "publish_by": "rgw"}
    assert change(bare, **secure, **public, ceph_ca_file=str(ceph.certificate.cert)).status == 200
    bucket = Bucket(bare, "alice")
    bucket.put("k", b"x")
    context = ssl.create_default_context(cafile=str(ceph.certificate.cert))
    assert fetch(bucket.record("k")["url"], context)[1] == b"x"


# -- our own parts are no origins


def test_our_own_gateway_and_database_are_no_origins_also_when_they_change(
    ceph: Ceph, second_ceph: Ceph, postgres: Postgres, launch: Launch
) -> None:
    first, second = urlsplit(ceph.gateway).port, urlsplit(second_ceph.gateway).port
    ports = f"{first},{second},{postgres.port}"
    service = launch(store="ceph", database_url=postgres.fresh(), origin_allowed_ports=ports)
    assert change(service, **access(ceph)).status == 200
    bucket = Bucket(service, "alice")

    def outcome(url: str) -> str:
        return bucket.failure(bucket.create(f"k{quote(url, safe='')}", url))

    for url in (
        ceph.gateway,
        f"http://localhost:{first}",
        f"http://127.1:{first}",
        f"http://127.0.0.1:{postgres.port}",
    ):
        assert outcome(f"{url}/alice___photos/k") == "forbidden_address", url
    assert outcome(f"{second_ceph.gateway}/nothing") == "origin_refused"
    assert change(service, **access(second_ceph)).status == 200
    service.json("PUT", "/ceph/bob/photos")
    bucket = Bucket(service, "bob")
    assert outcome(f"{second_ceph.gateway}/b") == "forbidden_address"
    assert outcome(f"{ceph.gateway}/b") == "origin_refused"


def test_nothing_secret_is_logged_or_kept_in_the_clear(bare: Service, ceph: Ceph, tmp_path: Path) -> None:
    assert change(bare, **access(ceph)).status == 200
    password = urlsplit(bare.settings["database_url"]).password or ""
    shown = [bare.call("GET", path).body for path in ("/config", "/readyz", "/metrics")]
    bare.stop()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (ceph.secret_key, password, KEY):
        assert not any(secret.encode() in text for text in (*shown, bare.log().encode(), *files))

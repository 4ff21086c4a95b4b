"""Signed addresses of private mirrors: what they open, for how long, and that nobody else gets what they gave."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.mirror.site import Download, Site, problem_code
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

BODY = Content(91, 3 * MIB + 11)
SHARED = [("Cache-Control", "public, max-age=600, s-maxage=600"), ("Expires", "Thu, 01 Jan 2037 00:00:00 GMT")]


@pytest.fixture
def private(site: Site) -> Site:
    site.order(private=True)
    return site


def sign(site: Site, target: str, **more: Any) -> str:
    """The signed form of a target."""
    url = f"https://{site.host}:8443{target}"
    signed = site.service.json("POST", "/mirrors/sign", {"url": url, **more})["url"]
    assert signed.startswith(f"https://{site.host}:8443/")
    parts = urlsplit(signed)
    return f"{parts.path}?{parts.query}"


def refusal(answer: Download) -> tuple[int, str]:
    return answer.status, problem_code(answer)


def test_a_signed_address_opens_its_target_and_the_origin_never_sees_it(private: Site) -> None:
    private.put("/a%2Fb/~c", BODY, headers=SHARED)
    target = sign(private, "/a%2Fb/~c")
    assert refusal(private.get("/a%2Fb/~c")) == (401, "unauthenticated")
    for _ in range(2):
        assert private.get(target).body == BODY.read()
        assert private.stored("a/b/~c")["md5"] == BODY.md5
    assert private.range(target, "5-9").body == BODY.read(5, 10)
    assert private.head(target).headers["content-length"] == str(BODY.size)
    assert {asked.target for asked in private.origin.requests if asked.target.startswith(f"{private.prefix}/")} == {
        f"{private.prefix}/a%2Fb/~c"
    }


def test_however_it_is_escaped_the_same_signature_fits(private: Site) -> None:
    private.put("/%7Ec", BODY)
    target = sign(private, "/~c")
    assert private.get(target.replace("~", "%7E")).body == BODY.read()
    assert private.get(f"/mirrors/proxy{target}".replace("~", "%7E")).status == 200


def test_a_query_stays_the_origins_own(private: Site) -> None:
    private.put("/q?expires=1&signature=x", BODY)
    target = sign(private, "/q?expires=1&signature=x")
    assert private.get(target).body == BODY.read()
    assert refusal(private.get(target.replace("signature=x", "signature=y", 1))) == (403, "signature_invalid")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda target: target.replace("/a?", "/b?"),
        lambda target: target.replace("/a?", "//a?"),
        lambda target: target.replace("/a?", "/a?x=1&"),
        lambda target: target[:-1] + ("A" if target[-1] != "A" else "B"),
        lambda target: target.replace("cs-expires=", "cs-expires=9"),
        lambda target: target.replace("cs-expires=", "cs-expires=%30"),
        lambda target: target.partition("&cs-signature")[0] + "&cs-signature=",
        lambda target: target + "%C3%A9",
    ],
    ids=["other path", "other spelling", "a query", "signature", "later", "escaped", "none", "not ASCII"],
)
def test_nothing_else_is_opened(private: Site, spoil: Callable[[str], str]) -> None:
    for path in ("/a", "/b", "//a"):
        private.put(path, BODY)
    assert refusal(private.get(spoil(sign(private, "/a")))) == (403, "signature_invalid")
    assert private.origin.count(private.prefix + "/a") == 0


def test_half_a_signature_is_a_query_like_any_other(private: Site) -> None:
    private.put("/a", BODY)
    target = sign(private, "/a")
    assert refusal(private.get(target.partition("&cs-signature")[0])) == (401, "unauthenticated")


def test_another_mirror_and_other_methods_are_not_opened(
    private: Site, shared_service: Service, shared_origin: FaultOrigin
) -> None:
    private.put("/a", BODY)
    other = Site(shared_service, shared_origin, f"other-{private.host.removesuffix('.test')}", private.prefix)
    other.order(private=True)
    target = sign(private, "/a")
    assert refusal(other.get(target)) == (403, "signature_invalid")
    assert private.get(target, method="DELETE").status in {403, 405}


def test_it_expires_and_the_rotation_of_the_key_ends_it(own_site: Callable[..., Site]) -> None:
    site = own_site()
    site.order(private=True)
    site.put("/a", BODY)
    target = sign(site, "/a", expires_in=1)
    until = int(target.partition("cs-expires=")[2].partition("&")[0])
    while time.time() < until + 1:
        site.get(target)
    answer = site.get(target)
    assert refusal(answer) == (403, "signature_invalid")
    assert b"expired" in answer.body
    target = sign(site, "/a")
    assert site.get(target).status == 200
    site.service.json("POST", "/config/signing-key/rotate")
    assert refusal(site.get(target)) == (403, "signature_invalid")


def test_a_download_that_has_begun_ends_though_the_address_expires(private: Site) -> None:
    """Behind an edge each slice is a request of its own."""
    gate = Gate()
    body = Content(92, 12 * MIB)
    private.put("/a", body, gate=gate, gate_after=2 * MIB)
    target = sign(private, "/a", expires_in=2)
    until = int(target.partition("cs-expires=")[2].partition("&")[0])
    with private.open(target) as answer:
        first = answer.read(MIB)
        while time.time() < until + 1:
            private.head(target)
        assert private.head(target).status == 403
        gate.set()
        assert first + answer.rest() == body.read()


def test_no_shared_cache_on_the_way_may_keep_it(private: Site) -> None:
    """Stored, passed through, or an error: whatever the origin says of caches. The edge keeps nothing, too."""
    private.put("/kept", BODY, headers=SHARED)
    private.put("/secret", BODY, headers=[("Cache-Control", "no-store, max-age=600")])
    private.put("/passed", BODY, framing="close", headers=SHARED)
    private.put("/gone", b"gone", status=410, headers=SHARED)
    wanted = {"/kept": "private", "/secret": "no-store", "/passed": "private", "/gone": "private"}
    for path, said in wanted.items():
        target = sign(private, path)
        for _ in range(2):
            answer = private.get(target)
            assert (path, answer.headers["cache-control"]) == (path, said)
            assert "expires" not in answer.headers
        assert refusal(private.get(path)) == (401, "unauthenticated")
        assert refusal(private.get(target.replace("cs-expires=", "cs-expires=9"))) == (403, "signature_invalid")


def test_who_may_sign_and_what(private: Site, shared_service: Service) -> None:
    public = Site(shared_service, private.origin, f"public-{private.host.removesuffix('.test')}", private.prefix)
    public.order()
    tenant = shared_service.json("POST", "/tokens", {"role": "read-only", "username": "mirrors"})["token"]
    stranger = shared_service.json("POST", "/tokens", {"role": "tenant", "username": "somebody"})["token"]

    def ask(url: str, token: str | None, **more: Any) -> tuple[int, str | None]:
        body = json.dumps({"url": url, **more}).encode()
        reply = shared_service.call("POST", "/mirrors/sign", body, {"Content-Type": "application/json"}, token=token)
        return reply.status, reply.json().get("code")

    url = f"http://{private.host}/a"
    assert ask(url, tenant) == (200, None)
    assert ask(url, stranger) == (403, "forbidden")
    assert ask(url, None) == (401, "unauthenticated")
    assert ask(f"http://{public.host}/a", tenant) == (400, "invalid_mirror")
    assert ask("http://nobody.test/a", tenant) == (404, "mirror_not_found")
    assert ask("nothing", tenant) == (400, "invalid_url")
    assert ask(url, tenant, expires_in=0) == (400, "invalid_request")


@pytest.mark.stacks("direct")  # the command line speaks to one service
def test_the_command_line_signs(private: Site) -> None:
    private.put("/a", BODY)
    command = [sys.executable, "-m", "cephstorage", "mirror", "sign", f"http://{private.host}/a", "--expires-in", "60"]
    done = subprocess.run(command, env=private.service.env, check=True, capture_output=True, text=True, timeout=60)
    parts = urlsplit(done.stdout.strip())
    assert private.get(f"{parts.path}?{parts.query}").body == BODY.read()

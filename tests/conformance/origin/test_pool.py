"""Several origins as one: the port ``Origin`` over real origins that fail, refuse, are slow, and want to know who asks."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.credentials import CredentialKind, Credentials, SealedCredentials
from cephstorage.domain.errors import OriginBroken, OriginBusy, OriginChanged, OriginResting, OriginUnreachable
from cephstorage.domain.origins import FAILURES, REST, Choice, Circuit, OriginServer, Route
from cephstorage.domain.ranges import RangeRequest
from cephstorage.origin.certificates import OriginCertificates
from cephstorage.origin.guard import ConnectGuard
from cephstorage.origin.http import HttpOrigin
from cephstorage.origin.pool import OriginPool
from cephstorage.ports.origin import OriginRequest, OriginResponse, Version
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.tls import Authority, TlsFront

MIRROR = "mirror.test"
BODY = Content(71, 2 * MIB + 5)


@dataclass
class Written:
    """The routes as a test writes them; a sealed secret stands for itself."""

    servers: list[OriginServer] = field(default_factory=list)
    others: tuple[OriginServer, ...] = ()
    choice: Choice = Choice.ORDERED
    missing: tuple[int, ...] = ()

    def route(self, mirror: str) -> Route | None:
        if mirror != MIRROR:
            return None
        return Route(mirror, tuple(self.servers), self.others, self.choice, self.missing)

    def credentials(self, mirror: str, server: OriginServer) -> Credentials | None:
        kept = server.credentials
        return Credentials(kept.kind, kept.sealed, kept.name, kept.region) if kept is not None else None

    def userinfo(self, url: str, sealed: str) -> str:
        return sealed


class Clock:
    """Seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def spare() -> Iterator[FaultOrigin]:
    with FaultOrigin() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def routes(origin: FaultOrigin, spare: FaultOrigin) -> Written:
    return Written([OriginServer(origin.url), OriginServer(spare.url)])


@pytest.fixture
async def pool_of(tmp_path: Path, routes: Written, clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    made: list[OriginPool] = []

    async def make(*ports: int) -> OriginPool:
        guard = ConnectGuard(parse_networks(["127.0.0.0/8"]), ports)
        http = HttpOrigin(guard, connect_timeout=30, read_timeout=30, user_agent="t", via_name="t", limit_per_host=32)
        pool = OriginPool(http, OriginCertificates(tmp_path), clock)
        pool.routes = routes
        await pool.start()
        made.append(pool)
        return pool

    yield make
    for pool in made:
        await pool.close()


@pytest.fixture
async def pool(pool_of: Callable[..., Any], origin: FaultOrigin, spare: FaultOrigin) -> OriginPool:
    made: OriginPool = await pool_of(origin.port, spare.port)
    return made


async def read(response: OriginResponse) -> bytes:
    try:
        return b"".join([piece async for piece in response.chunks()])
    finally:
        await response.close()


async def get(pool: OriginPool, url: str, **request: Any) -> tuple[int, bytes, str]:
    response = await pool.open(OriginRequest(url, mirror=MIRROR, **request))
    return response.status, await read(response), response.server


def circuit(pool: OriginPool, clock: Clock, number: int = 0) -> Circuit:
    return pool.members(MIRROR)[number].standing.circuit(clock())


# -- which origin answers


async def test_the_first_one_answers_while_it_can(origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool) -> None:
    origin.put("/a", b"first")
    spare.put("/a", b"second")
    assert await get(pool, f"{origin.url}/a") == (200, b"first", origin.url)
    assert spare.count() == 0


@pytest.mark.parametrize("fault", ["refused", "hang up", "500", "502", "503", "nonsense"])
async def test_the_next_one_answers_when_it_fails(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, fault: str
) -> None:
    spare.put("/a", b"second")
    origin.put("/a", b"first", **{"hang up": {"hang_up_times": 9}, "nonsense": {"raw": b"x\r\n\r\n"}}.get(fault, {}))
    if fault.isdecimal():
        origin.put("/a", b"first", status=int(fault))
    if fault == "refused":
        origin.stop_listening()
    assert await get(pool, f"{origin.url}/a?q=%2F") == (200, b"second", spare.url)
    assert spare.requests[0].target == "/a?q=%2F"


async def test_one_that_is_silent_is_left_after_its_own_patience(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, routes: Written
) -> None:
    gate = Gate()
    routes.servers[0] = replace(routes.servers[0], read_timeout=0.2)
    origin.put("/a", b"first", header_gate=gate)
    spare.put("/a", b"second")
    assert (await get(pool, f"{origin.url}/a"))[1] == b"second"
    assert gate.reached.is_set()
    gate.set()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_what_the_client_got_wrong_is_no_failure(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, status: int
) -> None:
    origin.put("/a", b"no", status=status)
    spare.put("/a", b"second")
    assert await get(pool, f"{origin.url}/a") == (status, b"no", origin.url)


async def test_what_is_missing_is_looked_for_elsewhere_where_the_mirror_says_so(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, routes: Written
) -> None:
    routes.missing = (404,)
    spare.put("/a", b"second")
    assert await get(pool, f"{origin.url}/a") == (200, b"second", spare.url)
    assert (await get(pool, f"{origin.url}/nowhere"))[0] == 404
    spare.stop_listening()
    with pytest.raises(OriginUnreachable):  # who does not answer may have it: no 404 may be remembered
        await get(pool, f"{origin.url}/nowhere")


async def test_when_all_fail_the_answer_of_one_is_handed_on(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool
) -> None:
    origin.put("/a", b"broken", status=500)
    spare.stop_listening()
    assert await get(pool, f"{origin.url}/a") == (500, b"broken", origin.url)
    origin.stop_listening()
    with pytest.raises(OriginUnreachable):
        await get(pool, f"{origin.url}/a")


async def test_other_methods_are_sent_once(origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool) -> None:
    origin.put("/a", b"x", status=502)
    assert (await get(pool, f"{origin.url}/a", method="POST"))[0] == 502
    assert spare.count() == 0


async def test_a_url_elsewhere_stands_alone(origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool) -> None:
    origin.stop_listening()
    spare.put("/a", b"second")
    with pytest.raises(OriginUnreachable):
        await pool.open(OriginRequest(f"{origin.url}/a"))
    with pytest.raises(OriginUnreachable):
        await pool.open(OriginRequest(f"{origin.url}/a", mirror="another.test"))


# -- going on with a version


async def part(pool: OriginPool, url: str, version: Version) -> tuple[int, bytes, str]:
    wanted = RangeRequest(MIB, MIB + 9)
    return await get(pool, url, range=wanted, if_range=version.validator, version=version)


async def test_another_origin_goes_on_under_the_same_validator(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool
) -> None:
    spare.put("/a", BODY, etag='"v1"')
    origin.stop_listening()
    version = Version('"v1"', BODY.size, origin.url)
    assert await part(pool, f"{origin.url}/a", version) == (206, BODY.read(MIB, MIB + 10), spare.url)


@pytest.mark.parametrize(
    "other",
    [
        {"etag": '"v2"'},
        {"etag": '"v2"', "honours_if_range": False},
        {"etag": None, "last_modified": None, "honours_if_range": False},
        {"etag": 'W/"v1"', "honours_if_range": False},
        {"etag": '"v1"', "wrong_content_range": f"bytes 0-9/{BODY.size}"},
        {"etag": '"v1"', "wrong_content_range": f"bytes {MIB}-{MIB + 9}/{BODY.size + 1}"},
        {"etag": '"v1"', "status": 404},
    ],
    ids=["other", "other, ignoring If-Range", "none shown", "weak", "wrong part", "other length", "missing"],
)
async def test_another_version_is_never_joined(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, other: dict[str, Any]
) -> None:
    """While the origin that showed the version is away, its absence is the error: it may come back with it."""
    spare.put("/a", BODY, **other)
    origin.stop_listening()
    with pytest.raises(OriginUnreachable):
        await part(pool, f"{origin.url}/a", Version('"v1"', BODY.size, origin.url))


async def test_the_origin_that_showed_it_says_whether_it_has_changed(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, routes: Written
) -> None:
    origin.put("/a", BODY, etag='"v2"')
    spare.put("/a", BODY, etag='"v3"')
    version = Version('"v1"', BODY.size, origin.url)
    assert (await part(pool, f"{origin.url}/a", version))[::2] == (200, origin.url)
    spare.put("/a", BODY, etag='"v1"')
    assert (await part(pool, f"{origin.url}/a", version))[::2] == (206, spare.url)
    spare.put("/a", BODY, etag='"v3"')
    routes.servers = routes.servers[1:]
    with pytest.raises(OriginChanged):
        await part(pool, f"{spare.url}/a", version)


async def test_a_digest_vouches_for_other_validators_of_another_origin_only(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool
) -> None:
    version = Version('"v1"', BODY.size, origin.url, verified=True)
    origin.put("/a", BODY, etag='"v2"')
    spare.stop_listening()
    assert (await part(pool, f"{origin.url}/a", version))[::2] == (200, origin.url)
    spare.listen_again()
    spare.put("/a", BODY, etag='"v1"')
    assert (await part(pool, f"{origin.url}/a", version))[::2] == (206, spare.url)
    spare.put("/a", BODY, etag='"other"')
    origin.stop_listening()
    assert await part(pool, f"{origin.url}/a", version) == (206, BODY.read(MIB, MIB + 10), spare.url)
    spare.put("/a", Content(72, BODY.size + 1), etag='"other"')
    with pytest.raises(OriginUnreachable):
        await part(pool, f"{origin.url}/a", version)


async def test_who_broke_off_is_asked_last_for_a_while(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, clock: Clock
) -> None:
    origin.put("/a", BODY, die_after=MIB, die_times=1)
    spare.put("/a", BODY)
    with pytest.raises(OriginBroken):
        await get(pool, f"{origin.url}/a")
    assert (await get(pool, f"{origin.url}/a"))[2] == spare.url
    clock.now += 60
    assert (await get(pool, f"{origin.url}/a"))[2] == origin.url


# -- leaving alone


async def test_the_breaker_opens_tries_once_and_closes(
    origin: FaultOrigin, pool: OriginPool, routes: Written, clock: Clock
) -> None:
    routes.servers = routes.servers[:1]
    origin.put("/a", b"x")
    origin.stop_listening()
    for _ in range(FAILURES):
        with pytest.raises(OriginUnreachable):
            await get(pool, f"{origin.url}/a")
    origin.listen_again()
    with pytest.raises(OriginResting) as told:
        await get(pool, f"{origin.url}/a")
    assert (origin.count(), circuit(pool, clock), told.value.retry_after) == (0, Circuit.OPEN, REST)
    clock.now += REST
    gate = Gate()
    origin.put("/a", b"x", header_gate=gate)
    trying = asyncio.create_task(get(pool, f"{origin.url}/a"))
    await asyncio.to_thread(gate.reached.wait, 30)
    for _ in range(3):
        with pytest.raises(OriginResting):
            await get(pool, f"{origin.url}/a")
    gate.set()
    assert (await trying)[0] == 200
    assert (origin.count(), circuit(pool, clock)) == (1, Circuit.CLOSED)


async def test_a_try_that_is_given_up_leaves_room_for_another(
    origin: FaultOrigin, pool: OriginPool, routes: Written, clock: Clock
) -> None:
    routes.servers = routes.servers[:1]
    origin.stop_listening()
    for _ in range(FAILURES):
        with pytest.raises(OriginUnreachable):
            await get(pool, f"{origin.url}/a")
    origin.listen_again()
    clock.now += REST
    gate = Gate()
    origin.put("/a", b"x", header_gate=gate)
    trying = asyncio.create_task(get(pool, f"{origin.url}/a"))
    await asyncio.to_thread(gate.reached.wait, 30)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    gate.set()
    assert (await get(pool, f"{origin.url}/a"))[0] == 200


@pytest.mark.parametrize("status", [429, 503])
async def test_patience_is_had_and_the_refusal_given_again_meanwhile(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, clock: Clock, status: int
) -> None:
    origin.put("/a", b"here", refuse_times=1, refuse_status=status, retry_after=7)
    spare.put("/a", b"there", refuse_times=1, refuse_status=status, retry_after=30)
    assert (await get(pool, f"{origin.url}/a"))[0] == status
    response = await pool.open(OriginRequest(f"{origin.url}/b", mirror=MIRROR))
    assert (response.status, response.headers["retry-after"]) == (status, "7")
    await read(response)
    assert (origin.count(), spare.count()) == (1, 1)
    clock.now += 7
    assert (await get(pool, f"{origin.url}/a"))[1] == b"here"


# -- turns


async def test_no_more_than_so_many_at_a_time_and_the_others_wait(
    origin: FaultOrigin, pool: OriginPool, routes: Written
) -> None:
    routes.servers = [replace(routes.servers[0], concurrency=2)]
    gate = Gate()
    origin.put("/a", b"x", header_gate=gate)
    asking = [asyncio.create_task(get(pool, f"{origin.url}/a")) for _ in range(6)]
    await asyncio.to_thread(gate.reached.wait, 30)
    member = pool.members(MIRROR)[0]
    while member.turns.waiting < 4 or origin.count() < 2:  # noqa: ASYNC110 - a look at every turn of the loop
        await asyncio.sleep(0)
    assert (member.turns.running, origin.count()) == (2, 2)
    asking[5].cancel()
    gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [answer[0] for answer in answers[:5]] == [200] * 5  # type: ignore[index]
    assert (member.turns.running, member.turns.waiting, origin.count()) == (0, 0, 5)


async def test_a_full_origin_is_passed_over_while_another_has_room(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, routes: Written
) -> None:
    routes.servers[0] = replace(routes.servers[0], concurrency=1)
    gate = Gate()
    origin.put("/a", BODY, gate=gate, gate_after=10)
    spare.put("/a", BODY)
    begun = await pool.open(OriginRequest(f"{origin.url}/a", mirror=MIRROR))
    assert (await get(pool, f"{origin.url}/a"))[2] == spare.url
    gate.set()
    assert await read(begun) == BODY.read()
    assert (await get(pool, f"{origin.url}/a"))[2] == origin.url


async def test_who_waits_too_long_is_told_when_to_come_again(
    origin: FaultOrigin, pool: OriginPool, routes: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cephstorage.origin.pool.PATIENCE", 0.05)
    routes.servers = [replace(routes.servers[0], concurrency=1)]
    gate = Gate()
    origin.put("/a", BODY, gate=gate, gate_after=10)
    begun = await pool.open(OriginRequest(f"{origin.url}/a", mirror=MIRROR))
    with pytest.raises(OriginBusy) as told:
        await get(pool, f"{origin.url}/a")
    assert told.value.retry_after
    assert circuit(pool, Clock()) is Circuit.CLOSED
    gate.set()
    await read(begun)


# -- how each is reached


async def test_host_and_options_are_each_origins_own(
    origin: FaultOrigin, spare: FaultOrigin, pool: OriginPool, routes: Written
) -> None:
    routes.servers[0] = replace(routes.servers[0], host="files.example:8080")
    origin.put("/a", b"", status=500)
    spare.put("/a", b"second")
    await get(pool, f"{origin.url}/a")
    assert origin.requests[0].headers["host"] == "files.example:8080"
    assert spare.requests[0].headers["host"] == f"127.0.0.1:{spare.port}"


def kept(kind: str, secret: str, name: str = "", region: str = "") -> SealedCredentials:
    return SealedCredentials(CredentialKind(kind), secret, name, region)


@pytest.mark.parametrize(
    ("credentials", "header", "value"),
    [
        (kept("basic", "p", "u"), "authorization", "Basic " + base64.b64encode(b"u:p").decode()),
        (kept("bearer", "tok"), "authorization", "Bearer tok"),
        (kept("header", "tok", "X-Api-Key"), "x-api-key", "tok"),
        (kept("s3", "key", "AKID", "eu"), "authorization", "AWS4-HMAC-SHA256 Credential=AKID/"),
    ],
    ids=["basic", "bearer", "header", "s3"],
)
async def test_credentials_go_to_their_origin_and_no_further(
    origin: FaultOrigin,
    spare: FaultOrigin,
    pool: OriginPool,
    routes: Written,
    credentials: SealedCredentials,
    header: str,
    value: str,
) -> None:
    """Along a redirect on the same host; not to another port, nor back from there; nor to the mirror's next origin."""
    routes.servers[0] = replace(routes.servers[0], credentials=credentials)
    origin.put("/same", redirect="/a")
    origin.put("/away", redirect=f"{spare.url}/back")
    spare.put("/back", redirect=f"{origin.url}/secret")
    origin.put("/a", b"x", status=500)
    origin.put("/secret", b"x")
    spare.put("/same", b"second")
    assert (await get(pool, f"{origin.url}/same", headers=(("Authorization", "the client's"),)))[1] == b"second"
    assert (await get(pool, f"{origin.url}/away"))[1] == b"x"
    for path in ("/same", "/a", "/away"):
        assert origin.logged(path)[0].headers[header].startswith(value)
    assert header not in origin.logged("/secret")[0].headers
    assert header not in spare.logged("/back")[0].headers
    assert spare.logged("/same")[0].headers.get("authorization") == "the client's"


# -- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.mark.parametrize(
    ("certificate", "options", "wanted"),
    [
        ({}, {"ca": "private"}, None),
        ({}, {}, "not trusted"),
        ({}, {"ca": "stranger"}, "not trusted"),
        ({"names": "DNS:other.example"}, {"ca": "private"}, "not trusted"),
        ({"names": "DNS:other.example"}, {"ca": "private", "tls_name": "other.example"}, None),
        ({"days": -1}, {"ca": "private"}, "certificate has expired"),
        ({"asks": True}, {"ca": "private"}, "TLS"),
        ({"asks": True}, {"ca": "private", "client_certificate": "us"}, None),
        ({"asks": True}, {"ca": "private", "client_certificate": "foreign"}, "TLS"),
        ({}, {"ca": "missing"}, "missing.ca.crt"),
        ({}, {"ca": "private", "client_certificate": "missing"}, "missing.key"),
    ],
    ids=[
        "right", "no CA", "wrong CA", "wrong name", "wrong name, asked for", "expired", "certificate wanted",
        "certificate shown", "certificate of others", "no such CA", "no such certificate",
    ],
)  # fmt: skip
async def test_tls_is_verified(
    tmp_path: Path,
    origin: FaultOrigin,
    pool_of: Callable[..., Any],
    routes: Written,
    authority: Authority,
    stranger: Authority,
    certificate: dict[str, Any],
    options: dict[str, Any],
    wanted: str | None,
) -> None:
    origin.put("/a", b"private")
    (tmp_path / "private.ca.crt").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "stranger.ca.crt").write_bytes(stranger.certificate.read_bytes())
    for name, issuer in (("us", authority), ("foreign", stranger)):
        shown = issuer.issue(name, "DNS:client.example")
        (tmp_path / f"{name}.crt").write_bytes(shown.cert.read_bytes())
        (tmp_path / f"{name}.key").write_bytes(shown.key.read_bytes())
    asks = authority.certificate if certificate.get("asks") else None
    about = {name: value for name, value in certificate.items() if name != "asks"}
    server = authority.issue("-".join(["server", *map(str, about.values())]), **{"names": "IP:127.0.0.1", **about})
    with TlsFront(origin.port, server, clients_of=asks) as front:
        routes.servers = [OriginServer(f"https://127.0.0.1:{front.port}", **options)]
        pool = await pool_of(front.port)
        if wanted is None:
            assert (await get(pool, f"https://127.0.0.1:{front.port}/a"))[1] == b"private"
            assert front.server_names[-1] == options.get("tls_name")
        else:
            with pytest.raises((OriginUnreachable, OriginBroken)) as told:
                await get(pool, f"https://127.0.0.1:{front.port}/a")
            assert wanted in told.value.msg or wanted == "TLS"
            assert origin.count() == 0

"""The port ``Origin``, proved by its HTTP adapter against a real origin with faults."""

import asyncio
import base64
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.errors import (
    ForbiddenAddress,
    InvalidUrl,
    OriginBroken,
    OriginProtocol,
    OriginTimeout,
    OriginUnreachable,
    TooManyRedirects,
    TransferError,
)
from cephstorage.domain.ranges import RangeRequest
from cephstorage.origin.guard import ConnectGuard
from cephstorage.origin.http import HttpOrigin, HttpOriginResponse
from cephstorage.ports.origin import Framing, Origin, OriginRequest, OriginResponse
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.guarding import WatchedGuard
from tests.harness.origin import FaultOrigin
from tests.harness.tls import TlsFront, make_certificate

LOOPBACK = parse_networks(["127.0.0.0/8"])
BIG = Content(seed=1, size=3 * MIB + 17)
Maker = Callable[..., Any]


@pytest.fixture
def guard(origin: FaultOrigin) -> WatchedGuard:
    return WatchedGuard(LOOPBACK, [origin.port])


@pytest.fixture
async def client_for() -> AsyncIterator[Maker]:
    clients: list[HttpOrigin] = []

    async def make(guard: ConnectGuard, **changes: Any) -> HttpOrigin:
        settings: dict[str, Any] = {"connect_timeout": 30, "read_timeout": 30, "limit_per_host": 8}
        client = HttpOrigin(guard, user_agent="tester/1", via_name="mirror-1", **{**settings, **changes})
        await client.start()
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def client(client_for: Maker, guard: WatchedGuard) -> Origin:
    made: Origin = await client_for(guard)
    return made


async def body(response: OriginResponse) -> bytes:
    try:
        return b"".join([piece async for piece in response.chunks()])
    finally:
        await response.close()


async def fetch(client: Origin, url: str, **request: Any) -> tuple[OriginResponse, bytes]:
    response = await client.open(OriginRequest(url, **request))
    return response, await body(response)


# -- framing


@pytest.mark.parametrize(
    ("framing", "expected", "length"),
    [("length", Framing.LENGTH, BIG.size), ("chunked", Framing.CHUNKED, None), ("close", Framing.CLOSE, None)],
)
async def test_a_whole_body_in_each_framing(
    origin: FaultOrigin, client: Origin, framing: str, expected: Framing, length: int | None
) -> None:
    origin.put("/a", BIG, framing=framing)
    response, received = await fetch(client, f"{origin.url}/a")
    assert (response.status, response.framing, response.length) == (200, expected, length)
    assert received == BIG.read()
    assert origin.body_bytes("/a") == BIG.size


async def test_pieces_are_bounded_and_arrive_without_waiting_for_more(origin: FaultOrigin, client: Origin) -> None:
    gate = Gate()
    origin.put("/a", BIG, gate=gate, gate_after=10)
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    pieces = response.chunks()
    first = await anext(pieces)
    while len(first) < 10:
        first += await anext(pieces)
    assert first == BIG.read(0, 10)
    gate.set()
    rest = [piece async for piece in pieces]
    await response.close()
    assert first + b"".join(rest) == BIG.read()
    assert max(map(len, rest)) <= 2 * MIB


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
async def test_answers_without_a_body_end_at_once(
    origin: FaultOrigin, client: Origin, method: str, status: int
) -> None:
    origin.put("/a", BIG, etag='"v1"')
    headers = (("If-None-Match", '"v1"'),) if status == 304 else ()
    for _ in range(2):
        response, received = await fetch(client, f"{origin.url}/a", method=method, headers=headers)
        assert (response.status, received, response.framing, response.length) == (status, b"", Framing.LENGTH, 0)
    assert response.headers["etag"] == '"v1"'
    assert origin.connections_accepted() == 1


async def test_a_coded_body_is_handed_on_as_it_is(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", b"not really gzip", headers=[("Content-Encoding", "gzip")])
    _, received = await fetch(client, f"{origin.url}/a")
    assert received == b"not really gzip"
    assert origin.logged("/a")[0].headers["accept-encoding"] == "identity"


async def test_headers_are_joined_under_lower_case_names_and_kept_verbatim(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", b"x", headers=[("X-One", "1"), ("x-one", "2"), ("X-Latin", "caf\xe9")])
    response, _ = await fetch(client, f"{origin.url}/a")
    assert response.headers["x-one"] == "1, 2"
    assert response.headers["x-latin"] == "caf\xe9"
    assert ("X-One", "1") in response.raw_headers
    assert ("x-one", "2") in response.raw_headers


async def test_what_no_header_can_hold_is_not_handed_on(origin: FaultOrigin, client: Origin) -> None:
    """No server sends it on: a stored copy with it could never be answered."""
    origin.put("/a", b"x", headers=[("X-Name", "a\x01b\x7f\tc"), ("X-Same", "a\tb\xa0")])
    response, _ = await fetch(client, f"{origin.url}/a")
    assert (response.headers["x-name"], response.headers["x-same"]) == ("a b \tc", "a\tb\xa0")
    assert ("X-Name", "a b \tc") in response.raw_headers


# -- requests


@pytest.mark.parametrize(
    "target",
    ["/a/../b", "/./a", "/%2F", "/%2f", "/%41", "//", "//a//b/", "/a%20b+c", "/a?b=%20+&c=d?e", "/~%7E", "/;p='(x)*!"],
)
async def test_the_target_travels_byte_for_byte(origin: FaultOrigin, client: Origin, target: str) -> None:
    origin.put(target, b"here")
    response, received = await fetch(client, origin.url + target)
    assert (response.status, received) == (200, b"here")
    assert origin.requests[0].target == target
    assert response.url == origin.url + target


async def test_every_request_names_us_and_loops_can_be_seen(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", b"x")
    await fetch(client, f"{origin.url}/a")
    await fetch(client, f"{origin.url}/a", headers=(("Via", "1.1 edge"), ("cdn-loop", "edge"), ("User-Agent", "apt")))
    first, second = (entry.headers for entry in origin.logged("/a"))
    assert (first["via"], first["cdn-loop"], first["user-agent"]) == ("1.1 mirror-1", "mirror-1", "tester/1")
    assert (second["via"], second["cdn-loop"], second["user-agent"]) == (
        "1.1 edge, 1.1 mirror-1",
        "edge, mirror-1",
        "apt",
    )


async def test_a_range_under_a_validator(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", BIG, etag='"v1"')
    wanted = RangeRequest(MIB, MIB + 9)
    response, received = await fetch(client, f"{origin.url}/a", range=wanted, if_range='"v1"')
    assert (response.status, response.length) == (206, 10)
    assert response.headers["content-range"] == f"bytes {MIB}-{MIB + 9}/{BIG.size}"
    assert received == BIG.read(MIB, MIB + 10)
    response, received = await fetch(client, f"{origin.url}/a", range=wanted, if_range='"v0"')
    assert (response.status, received) == (200, BIG.read())


async def test_proxies_of_the_environment_are_not_asked(
    origin: FaultOrigin, client: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.put("/a", b"x")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await fetch(client, f"{origin.url}/a"))[1] == b"x"


# -- connections


async def test_a_connection_is_used_again_after_a_body_that_was_read(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", BIG)
    origin.put("/c", BIG, framing="chunked")
    for path in ("/a", "/c", "/a"):
        assert (await fetch(client, origin.url + path))[1] == BIG.read()
    assert {entry.connection for entry in origin.requests} == {1}


async def test_a_kept_connection_leads_nowhere_once_its_end_is_forbidden(
    origin: FaultOrigin, client: HttpOrigin, guard: WatchedGuard
) -> None:
    origin.put("/a", b"x")
    await fetch(client, f"{origin.url}/a")
    guard.deny_parts([], [("127.0.0.1", origin.port)])
    client.reconnect()
    with pytest.raises(ForbiddenAddress):
        await client.open(OriginRequest(f"{origin.url}/a"))
    assert len(origin.requests) == 1


async def test_what_is_under_way_ends_on_its_connection(origin: FaultOrigin, client: HttpOrigin) -> None:
    gate = Gate()
    origin.put("/a", BIG, gate=gate, gate_after=MIB)
    origin.put("/b", b"x")
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    chunks = response.chunks()
    body = [await anext(chunks)]
    client.reconnect()
    await fetch(client, f"{origin.url}/b")
    gate.set()
    body += [chunk async for chunk in chunks]
    await response.close()
    assert b"".join(body) == BIG.read()
    assert {entry.connection for entry in origin.requests} == {1, 2}


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_half_read_connection_is_dropped(origin: FaultOrigin, client: Origin, framing: str) -> None:
    origin.put("/a", Content(1, 64 * MIB), framing=framing)
    origin.put("/b", b"clean")
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    assert await anext(response.chunks())
    await response.close()
    await response.close()
    assert (await fetch(client, f"{origin.url}/b"))[1] == b"clean"
    assert [entry.connection for entry in origin.requests] == [1, 2]


async def test_closing_before_anything_was_read_frees_the_slot(
    origin: FaultOrigin, client_for: Maker, guard: WatchedGuard
) -> None:
    origin.put("/a", Content(1, 64 * MIB))
    client = await client_for(guard, limit_per_host=1)
    for _ in range(3):
        response = await client.open(OriginRequest(f"{origin.url}/a"))
        await response.close()
    assert origin.count("/a") == 3


async def test_a_cancelled_reader_leaves_a_response_that_can_be_closed(origin: FaultOrigin, client: Origin) -> None:
    gate = Gate()
    origin.put("/a", BIG, gate=gate, gate_after=0)
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    reader = asyncio.create_task(body(response))
    await asyncio.to_thread(gate.reached.wait, 30)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await response.close()
    origin.put("/b", b"clean")
    assert (await fetch(client, f"{origin.url}/b"))[1] == b"clean"
    gate.set()


# -- broken bodies


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_broken_body_gives_what_came_and_then_an_error(
    origin: FaultOrigin, client: Origin, framing: str, how: str
) -> None:
    origin.put("/a", BIG, framing=framing, die_after=MIB + 5, how=how)
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    received = bytearray()

    async def read() -> None:
        async for piece in response.chunks():
            received.extend(piece)

    with pytest.raises(OriginBroken, match="before the body was whole"):
        await read()
    await response.close()
    assert received == BIG.read(0, MIB + 5)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_what_arrived_before_the_break_is_not_lost_to_a_slow_reader(
    origin: FaultOrigin, client: Origin, how: str
) -> None:
    origin.put("/a", BIG, die_after=100_000, how=how)
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    assert isinstance(response, HttpOriginResponse)
    while response._answer.content.exception() is None:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)
    pieces = response.chunks()
    assert await anext(pieces) == BIG.read(0, 100_000)
    with pytest.raises(OriginBroken):
        await anext(pieces)
    await response.close()


async def test_a_reset_is_not_taken_for_the_end_of_a_close_delimited_body(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", BIG, framing="close", die_after=MIB, how="rst")
    response = await client.open(OriginRequest(f"{origin.url}/a"))
    with pytest.raises(OriginBroken):
        await body(response)


async def test_a_truncated_close_delimited_body_can_be_told_by_its_framing_only(
    origin: FaultOrigin, client: Origin
) -> None:
    origin.put("/a", BIG, framing="close", die_after=MIB, how="fin")
    response, received = await fetch(client, f"{origin.url}/a")
    assert response.framing is Framing.CLOSE
    assert received == BIG.read(0, MIB)


async def test_silence_in_the_middle_is_a_timeout(origin: FaultOrigin, client_for: Maker, guard: WatchedGuard) -> None:
    gate = Gate()
    origin.put("/a", BIG, gate=gate, gate_after=10)
    response = await (await client_for(guard, read_timeout=0.2)).open(OriginRequest(f"{origin.url}/a"))
    with pytest.raises(OriginTimeout, match="fell silent"):
        await body(response)
    gate.set()


# -- no answer


async def test_silence_before_the_answer_is_a_timeout(
    origin: FaultOrigin, client_for: Maker, guard: WatchedGuard
) -> None:
    gate = Gate()
    origin.put("/a", BIG, header_gate=gate)
    client = await client_for(guard, read_timeout=0.2)
    with pytest.raises(OriginTimeout, match="did not answer in time"):
        await client.open(OriginRequest(f"{origin.url}/a"))
    gate.set()


async def test_a_connection_that_ends_without_an_answer(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", b"x", hang_up_times=5)
    with pytest.raises(OriginBroken, match="before it answered"):
        await client.open(OriginRequest(f"{origin.url}/a"))


async def test_an_origin_that_is_down_and_comes_back(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", b"x")
    await fetch(client, f"{origin.url}/a")
    origin.stop_listening()
    with pytest.raises(OriginUnreachable, match="Connection refused"):
        await client.open(OriginRequest(f"{origin.url}/a"))
    origin.listen_again()
    assert (await fetch(client, f"{origin.url}/a"))[1] == b"x"


async def test_a_name_that_does_not_exist(client: Origin) -> None:
    with pytest.raises(OriginUnreachable, match="can't be resolved"):
        await client.open(OriginRequest("http://nowhere.invalid/"))


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_answers_that_are_not_http(origin: FaultOrigin, client: Origin, raw: bytes) -> None:
    origin.put("/a", raw=raw)
    with pytest.raises(OriginProtocol, match=f"{origin.url}"):
        await client.open(OriginRequest(f"{origin.url}/a"))


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_redirects_are_followed(origin: FaultOrigin, client: Origin, status: int, method: str) -> None:
    origin.put("/old", redirect="/new/../%41//?q=%2F", redirect_status=status)
    origin.put("/%41//", b"found")
    response, received = await fetch(
        client, f"{origin.url}/old", method=method, range=RangeRequest(1, 2), if_range='"weak-or-not"'
    )
    assert response.url == f"{origin.url}/%41//?q=%2F"
    assert received == (b"found" if method == "GET" else b"")
    last = origin.requests[-1]
    assert (last.method, last.target) == (method, "/%41//?q=%2F")
    assert (last.headers["range"], last.headers["if-range"]) == ("bytes=1-2", '"weak-or-not"')


async def test_five_redirects_are_followed_and_the_sixth_is_not(origin: FaultOrigin, client: Origin) -> None:
    for number in range(1, 7):
        origin.put(f"/{number}", redirect=f"/{number - 1}")
    origin.put("/0", b"end")
    assert (await fetch(client, f"{origin.url}/5"))[1] == b"end"
    with pytest.raises(TooManyRedirects, match="More than 5"):
        await client.open(OriginRequest(f"{origin.url}/6"))


async def test_a_loop_is_found_when_it_closes(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", redirect="/b")
    origin.put("/b", redirect="/a")
    with pytest.raises(TooManyRedirects, match="loop"):
        await client.open(OriginRequest(f"{origin.url}/a"))
    assert origin.count() == 2


async def test_a_redirect_without_a_location(origin: FaultOrigin, client: Origin) -> None:
    origin.put("/a", b"", status=302)
    with pytest.raises(OriginProtocol, match="no Location"):
        await client.open(OriginRequest(f"{origin.url}/a"))


@pytest.mark.parametrize("port", [1, 22])
async def test_a_redirect_to_a_forbidden_port_is_refused_before_any_packet(
    origin: FaultOrigin, client: Origin, guard: WatchedGuard, port: int
) -> None:
    """Forbidden addresses are tried in tests/isolated, where no packet can leave."""
    origin.put("/a", redirect=f"http://127.0.0.1:{port}/")
    with pytest.raises(ForbiddenAddress):
        await client.open(OriginRequest(f"{origin.url}/a"))
    assert guard.connected == [("127.0.0.1", origin.port)]


async def test_credentials_stay_with_their_origin(origin: FaultOrigin, client_for: Maker) -> None:
    with FaultOrigin() as other:
        client = await client_for(ConnectGuard(LOOPBACK, [origin.port, other.port]))
        origin.put("/same", redirect="/away")
        origin.put("/away", redirect=f"{other.url}/b")
        other.put("/b", b"x")
        url = origin.url.replace("://", "://user:secret@") + "/same"
        await fetch(client, url, headers=(("Cookie", "s=1"), ("Accept", "text/plain")))
        wanted = "Basic " + base64.b64encode(b"user:secret").decode()
        for path in ("/same", "/away"):
            assert origin.logged(path)[0].headers["authorization"] == wanted
            assert origin.logged(path)[0].headers["cookie"] == "s=1"
        foreign = other.logged("/b")[0].headers
        assert foreign["accept"] == "text/plain"
        assert {"authorization", "cookie"} & foreign.keys() == set()


@pytest.mark.parametrize(
    "behaviour",
    [
        {"hang_up_times": 9},
        {"raw": b"nonsense\r\n\r\n"},
        {"redirect": "/a"},
        {"redirect": "ftp://x/"},
        {"redirect": "http://127.0.0.1:1/"},
    ],
)
async def test_userinfo_shows_up_in_no_error(origin: FaultOrigin, client: Origin, behaviour: dict[str, Any]) -> None:
    origin.put("/a", b"x", **behaviour)
    url = origin.url.replace("://", "://user:hunter2@") + "/a?token=hunter2"
    with pytest.raises(TransferError) as caught:
        await client.open(OriginRequest(url))
    encoded = base64.b64encode(b"user:hunter2").decode()
    shown = [str(caught.value), repr(caught.value), repr(caught.value.__cause__), caught.value.msg]
    shown += traceback.format_exception(caught.value)
    for text in shown:
        assert "hunter2" not in text
        assert encoded not in text


# -- the guard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"])
async def test_loopback_is_refused_by_default_however_it_is_spelt(
    origin: FaultOrigin, client_for: Maker, host: str
) -> None:
    guard = WatchedGuard((), [origin.port])
    with pytest.raises(ForbiddenAddress):
        await (await client_for(guard)).open(OriginRequest(f"http://{host}:{origin.port}/"))
    assert guard.connected == []
    assert origin.connections_accepted() == 0


async def test_an_allowed_name_is_asked_under_its_own_host_name(
    origin: FaultOrigin, client: Origin, guard: WatchedGuard
) -> None:
    origin.put("/a", b"x")
    await fetch(client, f"http://localhost:{origin.port}/a")
    assert origin.requests[0].headers["host"] == f"localhost:{origin.port}"
    assert guard.connected == [("127.0.0.1", origin.port)]


async def test_a_port_that_is_not_allowed(origin: FaultOrigin, client_for: Maker) -> None:
    guard = WatchedGuard(LOOPBACK)
    with pytest.raises(ForbiddenAddress, match=f"Port {origin.port}"):
        await (await client_for(guard)).open(OriginRequest(f"{origin.url}/"))
    assert guard.connected == []


@pytest.mark.parametrize("denied", ["127.0.0.1", "0.0.0.0", "::"])
async def test_our_own_endpoint_is_refused(origin: FaultOrigin, client_for: Maker, denied: str) -> None:
    guard = WatchedGuard(LOOPBACK, [origin.port], [(denied, origin.port)])
    client = await client_for(guard)
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ForbiddenAddress, match="this service itself"):
            await client.open(OriginRequest(f"http://{host}:{origin.port}/"))
    assert guard.connected == []


@pytest.mark.parametrize("url", ["", "ftp://h.example/", "http:///x", "http://h.example/a b", "//h.example/"])
async def test_what_is_no_url_is_refused(client: Origin, url: str) -> None:
    with pytest.raises(InvalidUrl):
        await client.open(OriginRequest(url))


# -- TLS


async def test_tls_is_verified(origin: FaultOrigin, client_for: Maker, tmp_path: Path) -> None:
    origin.put("/a", BIG)
    certificate = make_certificate(tmp_path)
    with TlsFront(origin.port, certificate) as front:
        guard = ConnectGuard(LOOPBACK, [front.port])
        with pytest.raises(OriginUnreachable, match=r"TLS: the certificate of https://localhost:\d+ is not trusted"):
            await (await client_for(guard)).open(OriginRequest(f"https://localhost:{front.port}/a"))
        trusting = await client_for(guard, ca_file=certificate.cert)
        for host in ("localhost", "127.0.0.1"):
            assert (await fetch(trusting, f"https://{host}:{front.port}/a"))[1] == BIG.read()
        assert "localhost" in front.server_names


async def test_a_certificate_for_another_name_is_refused(
    origin: FaultOrigin, client_for: Maker, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path, names="DNS:other.example")
    with TlsFront(origin.port, certificate) as front:
        client = await client_for(ConnectGuard(LOOPBACK, [front.port]), ca_file=certificate.cert)
        with pytest.raises(OriginUnreachable, match="Hostname mismatch"):
            await client.open(OriginRequest(f"https://localhost:{front.port}/a"))


async def test_a_server_that_does_not_speak_tls(client_for: Maker) -> None:
    async def answer_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OriginUnreachable, match="TLS: the handshake with"):
            await (await client_for(ConnectGuard(LOOPBACK, [port]))).open(OriginRequest(f"https://127.0.0.1:{port}/"))

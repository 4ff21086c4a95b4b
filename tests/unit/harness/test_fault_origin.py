"""The fault origin does exactly what it is told: the end-to-end tests rest on it."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.behaviour import DEFAULT_MODIFIED, Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin

ROOT = Path(__file__).parents[3]
BIG = Content(seed=9, size=2 * MIB + 5)


@contextlib.contextmanager
def connection(origin: FaultOrigin) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", origin.port, timeout=60)
    try:
        yield opened
    finally:
        opened.close()


def ask(origin: FaultOrigin, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    with connection(origin) as opened:
        opened.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with opened.getresponse() as answer:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_framings_carry_the_same_bytes_and_every_byte_is_counted(origin: FaultOrigin, framing: str) -> None:
    origin.put("/a", BIG, framing=framing)
    _, headers, body = ask(origin, "/a")
    assert body == BIG.read()
    assert ("content-length" in headers) == (framing == "length")
    assert ("transfer-encoding" in headers) == (framing == "chunked")
    assert origin.body_bytes("/a") == origin.body_bytes() == BIG.size
    ask(origin, "/a", "HEAD")
    assert origin.body_bytes("/a") == BIG.size
    assert (origin.count("/a"), origin.count("/a", "HEAD"), origin.count("/b")) == (2, 1, 0)
    origin.reset_counters()
    assert (origin.count(), origin.body_bytes()) == (0, 0)


@pytest.mark.parametrize(
    ("asked", "status", "told", "start", "end"),
    [
        ("bytes=0-0", 206, f"bytes 0-0/{BIG.size}", 0, 1),
        ("bytes=-5", 206, f"bytes {BIG.size - 5}-{BIG.size - 1}/{BIG.size}", BIG.size - 5, BIG.size),
        ("bytes=10-", 206, f"bytes 10-{BIG.size - 1}/{BIG.size}", 10, BIG.size),
        (f"bytes={BIG.size}-", 416, f"bytes */{BIG.size}", 0, 0),
        ("bytes=5-1", 200, None, 0, BIG.size),
    ],
)
def test_ranges(origin: FaultOrigin, asked: str, status: int, told: str | None, start: int, end: int) -> None:
    origin.put("/a", BIG)
    answer, headers, body = ask(origin, "/a", Range=asked)
    assert (answer, headers.get("content-range")) == (status, told)
    assert body == BIG.read(start, end)


def test_if_range_is_honoured_unless_told_otherwise(origin: FaultOrigin) -> None:
    behaviour = origin.put("/a", BIG, etag='"v1"')
    wanted = {"Range": "bytes=0-9"}
    assert ask(origin, "/a", If_Range='"v1"', **wanted)[0] == 206
    assert ask(origin, "/a", If_Range=DEFAULT_MODIFIED, **wanted)[0] == 206
    assert ask(origin, "/a", If_Range='"v0"', **wanted)[0] == 200
    behaviour.honours_if_range = False
    assert ask(origin, "/a", If_Range='"v0"', **wanted)[0] == 206
    behaviour.ranges = False
    assert ask(origin, "/a", **wanted)[0] == 200


def test_conditional_requests(origin: FaultOrigin) -> None:
    behaviour = origin.put("/a", BIG, etag='W/"v1"')
    assert ask(origin, "/a", If_None_Match='"v0", "v1"')[::2] == (304, b"")
    assert ask(origin, "/a", If_None_Match='"v0"', If_Modified_Since=DEFAULT_MODIFIED)[0] == 200
    assert ask(origin, "/a", If_Modified_Since=DEFAULT_MODIFIED)[0] == 304
    behaviour.conditional = False
    assert ask(origin, "/a", If_None_Match="*")[0] == 200


def test_wrong_answers_on_demand(origin: FaultOrigin) -> None:
    origin.put("/range", BIG, wrong_content_range="bytes 1-2/3")
    assert ask(origin, "/range", Range="bytes=0-9")[1]["content-range"] == "bytes 1-2/3"
    origin.put("/busy", b"fine", refuse_times=2, refuse_status=429, retry_after=7)
    answers = [ask(origin, "/busy") for _ in range(3)]
    assert [(status, headers.get("retry-after")) for status, headers, _ in answers] == [
        (429, "7"),
        (429, "7"),
        (200, None),
    ]
    origin.put("/cookie", b"x", headers=[("Set-Cookie", "a=b"), ("Cache-Control", "private")])
    assert ask(origin, "/cookie")[1].items() >= {"set-cookie": "a=b", "cache-control": "private"}.items()
    origin.put("/asked", b"x", status=lambda request: 403 if "authorization" in request.headers else 401)
    assert [ask(origin, "/asked")[0], ask(origin, "/asked", Authorization="x")[0]] == [401, 403]


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_death_is_exact_and_happens_as_often_as_told(origin: FaultOrigin, how: str) -> None:
    origin.put("/a", BIG, die_after=MIB + 1, die_times=1, how=how)
    with connection(origin) as opened:
        opened.request("GET", "/a")
        with opened.getresponse() as answer:
            received = bytearray(MIB + 1)
            view = memoryview(received)
            while view:
                view = view[answer.readinto(view) :]
            assert received == BIG.read(0, MIB + 1)
            if how == "rst":
                with pytest.raises(ConnectionResetError):
                    answer.read(1)
            else:
                assert answer.read(1) == b""
    assert origin.body_bytes("/a") == MIB + 1
    assert ask(origin, "/a")[2] == BIG.read()


def test_a_change_of_version(origin: FaultOrigin) -> None:
    new: dict[str, Any] = {"changed_body": b"new", "changed_etag": '"v2"', "etag": '"v1"'}
    origin.put("/requests", b"old", change_after_requests=1, **new)
    origin.put("/bytes", b"old", change_after_bytes=4, **new)
    seen = [
        [(headers["etag"], body) for _, headers, body in (ask(origin, path) for _ in range(3))]
        for path in ("/requests", "/bytes")
    ]
    old, changed = ('"v1"', b"old"), ('"v2"', b"new")
    assert seen == [[old, changed, changed], [old, old, changed]]


def test_a_gate_holds_an_answer_in_the_middle(origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put("/a", BIG, gate=gate, gate_after=100)
    bodies: list[bytes] = []
    reader = threading.Thread(target=lambda: bodies.append(ask(origin, "/a")[2]))
    reader.start()
    assert gate.reached.wait(60)
    assert origin.body_bytes("/a") == 100
    gate.set()
    reader.join(60)
    assert bodies == [BIG.read()]


def test_an_origin_that_stops_listening_refuses_and_cuts_on_demand(origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put("/a", BIG, gate=gate, gate_after=0)
    with connection(origin) as busy:
        busy.request("GET", "/a")
        with busy.getresponse() as answer:
            assert gate.reached.wait(60)
            origin.stop_listening()
            with pytest.raises(ConnectionRefusedError):
                ask(origin, "/a")
            gate.set()
            assert answer.read() == BIG.read()
    origin.listen_again()
    assert ask(origin, "/a")[0] == 200
    held = Gate()
    origin.put("/a", BIG, gate=held, gate_after=0)
    with connection(origin) as busy:
        busy.request("GET", "/a")
        with busy.getresponse() as answer:
            assert held.reached.wait(60)
            origin.stop_listening(cut=True)
            with pytest.raises(ConnectionResetError):
                answer.read()


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.harness.origin", "--file-size", "1000", "--seed", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        opened = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        opened.request("GET", "/file")
        assert opened.getresponse().read() == Content(4, 1000).read()
        opened.request("GET", "/_counts")
        counts = json.loads(opened.getresponse().read())
        assert (counts["requests"], counts["body_bytes"]) == (2, 1000)
        opened.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

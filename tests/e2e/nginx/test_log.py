"""The access log: one line of JSON for each request, and no secret in it."""

import json
import os

from tests.e2e.nginx.wire import MIRROR, Wire
from tests.harness.content import MIB
from tests.harness.patience import until

SECRETS = ("s3cr3t-token", "s3cr3t-signature", "s3cr3t-cookie", "s3cr3t-key")


def test_a_line_says_what_happened(wire: Wire) -> None:
    wire.put("/logged", b"content", keep=60)
    wire.ask("/logged?a=b", headers=[("User-Agent", 'odd "agent"\\'), ("Range", "bytes=0-3")])
    (line,) = until(lambda: [entry for entry in wire.edge.requests() if entry["uri"] == "/logged?a=b"])
    assert (line["method"], line["host"], line["status"], line["client"]) == ("GET", MIRROR, 206, "127.0.0.1")
    assert (line["agent"], line["range"], line["cache"]) == ('odd "agent"\\', "bytes=0-3", "MISS")
    assert line["bytes"] > 4
    assert line["seconds"] >= 0


def test_no_secret_is_in_the_log(wire: Wire) -> None:
    wire.proxy.reset_counters()
    for host in (MIRROR, "localhost"):
        for target in (
            "/objects/a___b/c?expires=1&signature=s3cr3t-signature",
            "/x?X-Amz-Signature=s3cr3t-signature",
            "/x?access_token=s3cr3t-token&a=b",
            "/x?a=b&SIGNATURE=s3cr3t-signature",
            "/x?apikey=s3cr3t-key",
        ):
            headers = [("Authorization", "Bearer s3cr3t-token"), ("Cookie", "s=s3cr3t-cookie")]
            wire.ask(target, host, headers=headers)
    wire.ask("/end-of-the-secrets")
    until(lambda: [entry for entry in wire.edge.requests() if entry["uri"] == "/end-of-the-secrets"])
    assert len(wire.proxy.logged()) == 11
    text = (wire.edge.run_dir / "access.log").read_text() + wire.edge.log()
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_request_that_is_not_http_is_logged_as_json(wire: Wire) -> None:
    wire.raw(b"\x16\x03\x01nonsense\r\n\r\n")
    wire.ask("/after-the-nonsense")
    until(lambda: [entry for entry in wire.edge.requests() if entry["uri"] == "/after-the-nonsense"])
    lines = (wire.edge.run_dir / "access.log").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_a_long_log_is_put_aside(own: Wire) -> None:
    """Nobody else does it, and it may lie in memory."""
    for name in ("access.log", "error.log"):
        os.truncate(own.edge.run_dir / name, 65 * MIB)
        until(lambda name=name: (own.edge.run_dir / f"{name}.1").exists())
    until(lambda: own.edge.run_dir.joinpath("access.log").exists())
    own.put("/after", b"content")
    until(lambda: own.ask("/after") and [entry for entry in own.edge.requests() if entry["uri"] == "/after"])

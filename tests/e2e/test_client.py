"""The client package against the real service."""

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cephstorage_client import ApiError, Client, Progress, ServiceUnreachable
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.names import NASTY_KEYS
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, service.admin_token) as client:
        client.create_bucket("alice", "photos")
        yield client


def test_every_key_makes_the_whole_round(client: Client) -> None:
    for name, key in NASTY_KEYS.items():
        body = name.encode()
        assert client.put_stream("alice", "photos", key, [body])["key"] == key
        record = client.record("alice", "photos", key)
        assert (record["key"], record["size"]) == (key, len(body))
        sink = io.BytesIO()
        client.get_stream("alice", "photos", key, sink)
        assert sink.getvalue() == body
        assert client.exists("alice", "photos", key)
    listed = [record["key"] for record in client.records("alice", "photos", recursive=True)]
    assert listed == sorted(NASTY_KEYS.values(), key=str.encode)
    for key in NASTY_KEYS.values():
        client.delete_key("alice", "photos", key)
        assert not client.exists("alice", "photos", key)
    assert client.bucket("alice", "photos")["keyamount"] == 0


@pytest.mark.stacks("direct")  # a line is read here
def test_a_line_of_an_export_ends_where_json_says(client: Client) -> None:
    """A key may hold what ends a line by Unicode; JSON writes it as it is."""
    keys = ["a\u2028b", "c\u2029d", "e\x85f", "g\x0b\x0c\x1c\r\nh"]
    for key in keys:
        client.put_stream("alice", "photos", key, [b"x"])
    assert [record["key"] for record in client.export("alice", "photos")] == sorted(keys, key=str.encode)


def test_listing_comes_in_pages_without_loss(client: Client) -> None:
    keys = [f"f{folder}/{number}" for folder in range(3) for number in range(3)] + ["root"]
    for key in keys:
        client.put_stream("alice", "photos", key, [b"x"], size=1)
    pages = list(client.pages("alice", "photos", limit=2))
    assert len(pages) == 2
    assert [vfolder for page in pages for vfolder in page["vfolders"]] == ["f0", "f1", "f2"]
    assert [record["key"] for page in pages for record in page["keys"]] == ["root"]
    assert [each["key"] for each in client.records("alice", "photos", prefix="f1/", limit=2)] == keys[3:6]
    assert [each["key"] for each in client.records("alice", "photos", recursive=True, limit=3)] == keys
    assert [each["key"] for each in client.records("alice", "photos", recursive=True, q="2")] == [
        "f0/2",
        "f1/2",
        "f2/0",
        "f2/1",
        "f2/2",
    ]


def test_a_file_is_uploaded_with_its_md5_and_options(client: Client, tmp_path: Path) -> None:
    path, body = tmp_path / "a", Content(3, 3 * MIB + 5)
    path.write_bytes(body.read())
    seen: list[int] = []
    record = client.put_file(
        "alice",
        "photos",
        "k",
        path,
        content_type="text/x-test",
        timetag=86400,
        on_bytes=lambda done, _: seen.append(done),
    )
    assert (record["md5"], record["content_type"], record["ts"]) == (body.md5, "text/x-test", 86400.0)
    assert seen[-1] == body.size
    with pytest.raises(ApiError) as refused:
        client.put_file("alice", "photos", "k", path, if_absent=True)
    assert refused.value.code == "precondition_failed"
    with pytest.raises(ApiError) as refused:
        client.put_file("alice", "photos", "k", path, md5="0" * 32)
    assert refused.value.code == "md5_mismatch"
    assert client.put_file("alice", "photos", "k", path, if_match=str(record["etag"]))["generation"] == 2


def test_many_keys_from_urls(client: Client, origin: FaultOrigin) -> None:
    bodies = {f"k{number}": Content(number, 1000 + number) for number in range(5)}
    for name, body in bodies.items():
        origin.put(f"/{name}", body)
    handles = client.create_keys(
        "alice",
        "photos",
        [{"key_url": f"{origin.url}/{name}", "key_name": name, "md5": body.md5} for name, body in bodies.items()],
    )
    assert [handle["key"] for handle in handles] == list(bodies)
    assert {client.wait(handle["token"])["state"] for handle in handles} == {"success"}
    assert client.bucket("alice", "photos")["size"] == sum(map(len, bodies.values()))


def test_waiting_outlives_a_killed_service(client: Client, service: Service, origin: FaultOrigin) -> None:
    gate, body = Gate(), Content(5, 2 * MIB)
    origin.put("/slow", body, gate=gate, gate_after=MIB)
    token = client.create_key("alice", "photos", "k", f"{origin.url}/slow")["token"]
    ended: list[Progress] = []
    waiter = threading.Thread(target=lambda: ended.append(client.wait(token)))
    waiter.start()
    assert gate.reached.wait(60)
    service.kill()
    service.start()
    gate.set()
    waiter.join(120)
    assert [progress["state"] for progress in ended] == ["success"]
    assert client.record("alice", "photos", "k")["md5"] == body.md5


@pytest.mark.stacks("direct")  # an edge answers for a service that is gone
def test_a_download_outlives_a_killed_service(client: Client, service: Service, tmp_path: Path) -> None:
    body = Content(6, 64 * MIB)
    client.put_stream("alice", "photos", "k", (bytes(view) for view in body.views(0, body.size)), size=body.size)
    positions: list[int] = []

    def restart_once(done: int, _: int | None) -> None:
        positions.append(done)
        if len(positions) == 1:
            service.kill()
            service.start()

    record = client.get_file("alice", "photos", "k", tmp_path / "k", on_bytes=restart_once)
    assert record["md5"] == body.md5
    assert (tmp_path / "k").stat().st_size == body.size
    assert positions == sorted(positions)


def test_a_transfer_is_cancelled_once(client: Client, origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put("/slow", Content(5, MIB), header_gate=gate)
    token = client.create_key("alice", "photos", "k", f"{origin.url}/slow")["token"]
    client.cancel(token)
    progress = client.wait(token)
    assert progress["state"] == "fail"
    assert progress["error"] is not None
    assert progress["error"]["code"] == "cancelled"
    with pytest.raises(ApiError) as refused:
        client.cancel(token)
    assert refused.value.code == "transfer_ended"
    gate.set()


def test_operations(client: Client) -> None:
    assert client.alive()
    assert client.ready()
    assert "# TYPE" in client.metrics()
    assert "port" in client.config()
    old = client.put_stream("alice", "photos", "k", [b"x"])["url"]
    client.rotate_signing_key()
    assert client.record("alice", "photos", "k", expires_in=60)["url"] != old


@pytest.mark.stacks("direct")  # an edge answers for a service that is gone
def test_a_stopped_service_is_unreachable(client: Client, service: Service) -> None:
    service.stop()
    with pytest.raises(ServiceUnreachable):
        client.buckets("alice")


def test_the_token_is_not_shown(launch: Callable[..., Service]) -> None:
    service = launch()
    with Client(service.url, service.admin_token) as client:
        assert service.admin_token not in repr(client)

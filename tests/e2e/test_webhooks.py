"""Webhooks over HTTP, with a receiver on loopback: order, retries, secrets, dead letters, and nothing lost to kill -9."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cephstorage_client import Client, WebhookRefused, verify_webhook
from tests.harness.bucket import Bucket
from tests.harness.patience import until
from tests.harness.receiver import Delivery, Receiver
from tests.harness.service import Service

SOON = {"webhook_retry_base": "0.05", "webhook_attempts": "4"}
ONE_STACK = pytest.mark.stacks("direct")
"""What is seen of a delivery does not depend on what lies before or below the service."""


@pytest.fixture(scope="module")
def receiver(stack: object) -> Iterator[Receiver]:
    """A receiver for a module's tests on one stack; each uses a path of its own."""
    with Receiver() as server:
        yield server


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, stack: Callable[..., Service]
) -> Iterator[Service]:
    """A service that may reach the receiver, and tries again soon."""
    folder = tmp_path_factory.mktemp("told") / "data"
    service = stack(folder, origin_allowed_ports=str(receiver.port), **SOON).start()
    yield service
    service.stop()


class Hooked:
    """A tenant with a bucket and a path of the receiver's."""

    def __init__(self, service: Service, receiver: Receiver) -> None:
        self.bucket = Bucket(service, f"tenant-{uuid4().hex[:12]}")
        self.service, self.receiver, self.path = service, receiver, f"/{uuid4().hex}"

    def hook(self, **fields: Any) -> Any:
        """Make a webhook of the bucket; the answer, with its secret."""
        given = {"username": self.bucket.username, "bucketname": self.bucket.name, "url": self.receiver.url(self.path)}
        return self.service.json("POST", "/webhooks", {**given, **fields})

    def show(self, hook: Any) -> Any:
        """The webhook as it is now."""
        return self.service.json("GET", f"/webhooks/{hook['id']}")

    def awaited(self, count: int) -> list[Delivery]:
        """Deliveries, once there are as many."""
        return self.receiver.awaited(count, self.path)

    def answer(self, how: Callable[[Delivery], Any]) -> None:
        """Let the receiver answer so at this path."""
        before = self.receiver.answer
        self.receiver.answer = lambda delivery: how(delivery) if delivery.path == self.path else before(delivery)


@pytest.fixture
def hooked(told: Service, receiver: Receiver) -> Iterator[Hooked]:
    """A tenant of the test's own; the receiver takes everything again afterwards."""
    yield Hooked(told, receiver)
    receiver.answer = lambda _: 204


@pytest.mark.stacks("direct", "real")
def test_a_keys_life_arrives_signed_and_in_order(hooked: Hooked) -> None:
    hook, bucket = hooked.hook(), hooked.bucket
    bucket.put("a/b", b"one")
    bucket.put("a/b", b"three")
    assert bucket.service.call("DELETE", bucket.target("a/b")).status == 200
    token = bucket.create("never", "http://127.0.0.1:9/refused")
    until(lambda: bucket.progress(token)["state"], lambda state: state == "fail")

    deliveries = hooked.awaited(4)
    events = [each.verified(hook["secret"]) for each in deliveries]
    of_key = [(each["type"], each["generation"], each["size"]) for each in events if each["key"] == "a/b"]
    assert of_key == [("key.created", 1, 3), ("key.created", 2, 5), ("key.deleted", 2, 5)]
    (failed,) = (each for each in events if each["type"] == "transfer.failed")
    assert (failed["key"], failed["token"], failed["error"]) == ("never", token, {"code": "forbidden_address"})
    assert len({each["id"] for each in events}) == 4
    for delivery, event in zip(deliveries, events, strict=True):
        assert (event["bucket"], event["username"]) == (f"{bucket.username}___photos", bucket.username)
        assert delivery.headers["CephStorage-Event-Id"] == event["id"]
        assert delivery.headers["CephStorage-Event"] == event["type"]
        assert delivery.headers["CephStorage-Webhook"] == hook["id"]
    shown = until(lambda: hooked.show(hook), lambda seen: seen["status"]["delivered"] == 4)
    assert (shown["status"]["waiting"], shown["status"]["dead"], shown["status"]["last_status"]) == (0, 0, 204)
    assert "secret" not in shown
    assert hook["secret"] not in json.dumps(bucket.service.json("GET", "/webhooks")) + bucket.service.log()


@ONE_STACK
def test_what_was_not_signed_by_the_service_is_refused(hooked: Hooked) -> None:
    hook = hooked.hook()
    hooked.bucket.put("k", b"x")
    (delivery,) = hooked.awaited(1)
    delivery.verified(hook["secret"])
    header = delivery.headers["CephStorage-Signature"]
    with pytest.raises(WebhookRefused):
        delivery.verified("another secret")
    with pytest.raises(WebhookRefused):
        verify_webhook(hook["secret"], header, delivery.body.replace(b'"k"', b'"l"'))
    with pytest.raises(WebhookRefused):
        verify_webhook(hook["secret"], header, delivery.body, now=delivery.event["time"] + 3600)


@ONE_STACK
def test_a_receiver_that_fails_gets_the_same_event_again_before_the_next_of_its_key(hooked: Hooked) -> None:
    tries: list[str] = []

    def twice_broken(delivery: Delivery) -> Any:
        tries.append(delivery.event["id"])
        return 500 if len(tries) < 3 else 200

    hooked.answer(twice_broken)
    hooked.hook()
    hooked.bucket.put("k", b"1")
    hooked.bucket.put("k", b"2")
    hooked.bucket.service.call("DELETE", hooked.bucket.target("k"))

    deliveries = hooked.awaited(5)
    assert len({each.body for each in deliveries[:3]}) == 1
    assert [each.said[0] for each in deliveries] == ["key.created"] * 4 + ["key.deleted"]
    assert [each.event["generation"] for each in deliveries] == [1, 1, 1, 2, 2]


@ONE_STACK
def test_who_asks_for_patience_gets_it_and_others_do_not_wait(hooked: Hooked, told: Service) -> None:
    hooked.answer(lambda _: (503, {"Retry-After": "600"}))
    hook = hooked.hook()
    other = Hooked(told, hooked.receiver)
    other.hook()
    hooked.bucket.put("k", b"1")
    hooked.awaited(1)
    shown = until(lambda: hooked.show(hook), lambda seen: seen["status"]["rests_until"] is not None)
    assert shown["status"]["rests_until"] - shown["status"]["last_at"] == pytest.approx(600, abs=1)
    assert (shown["status"]["last_error"], shown["status"]["waiting"]) == ("http_503", 1)
    other.bucket.put("k", b"1")
    other.awaited(1)
    assert len(hooked.receiver.seen(hooked.path)) == 1


@ONE_STACK
def test_a_receiver_that_does_not_answer_delays_neither_others_nor_its_other_keys(
    hooked: Hooked, told: Service
) -> None:
    gate = threading.Event()

    def slow(delivery: Delivery) -> int:
        if delivery.event["key"] == "slow":
            gate.wait(60)
        return 200

    hooked.answer(slow)
    hooked.hook()
    other = Hooked(told, hooked.receiver)
    other.hook()
    hooked.bucket.put("slow", b"1")
    hooked.awaited(1)
    hooked.bucket.put("slow", b"2")
    hooked.bucket.put("quick", b"1")
    other.bucket.put("k", b"1")
    other.awaited(1)
    assert [each.said[1] for each in hooked.awaited(2)] == ["slow", "quick"]
    gate.set()
    assert hooked.awaited(3)[-1].event["generation"] == 2


@ONE_STACK
def test_a_tenants_webhook_is_told_of_all_its_buckets_below_its_prefix(hooked: Hooked) -> None:
    hook = hooked.hook(bucketname=None, prefix="in/", events=["key.created"])
    second = Bucket(hooked.service, hooked.bucket.username, "videos")
    stranger = Bucket(hooked.service, f"{hooked.bucket.username}-2")
    for bucket, key in ((stranger, "in/0"), (hooked.bucket, "out"), (hooked.bucket, "in/1"), (second, "in/2")):
        bucket.put(key, b"x")
    hooked.service.call("DELETE", second.target("in/2"))
    second.put("in/3", b"x")
    assert {(each.event["bucketname"], each.event["key"]) for each in hooked.awaited(3)} == {
        ("photos", "in/1"),
        ("videos", "in/2"),
        ("videos", "in/3"),
    }
    shown = until(lambda: hooked.show(hook), lambda seen: seen["status"]["delivered"] == 3)
    assert shown["status"]["waiting"] == 0


@ONE_STACK
def test_two_secrets_are_valid_while_one_replaces_the_other(hooked: Hooked) -> None:
    hook = hooked.hook()
    made = hooked.service.json("POST", f"/webhooks/{hook['id']}/rotate", {})
    assert made["secret"] != hook["secret"]
    assert made["old_secret_until"] - made["updated"] == 86400
    hooked.bucket.put("k", b"x")
    (delivery,) = hooked.awaited(1)
    assert delivery.verified(hook["secret"]) == delivery.verified(made["secret"])

    last = hooked.service.json("POST", f"/webhooks/{hook['id']}/rotate", {"overlap": 0})
    hooked.bucket.put("l", b"x")
    delivery = hooked.awaited(2)[1]
    delivery.verified(last["secret"])
    for old in (hook["secret"], made["secret"]):
        with pytest.raises(WebhookRefused):
            delivery.verified(old)


@ONE_STACK
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::ffff:169.254.169.254]/", "http://127.0.0.1:1/"],
)
def test_a_forbidden_address_is_never_connected_to(hooked: Hooked, url: str) -> None:
    hook = hooked.hook(url=url)
    trial = hooked.service.json("POST", f"/webhooks/{hook['id']}/test")
    assert (trial["delivered"], trial["status"], trial["error"]) == (False, None, "forbidden_address")


@ONE_STACK
def test_a_redirect_is_not_followed(hooked: Hooked) -> None:
    elsewhere = f"{hooked.path}-elsewhere"
    hooked.answer(lambda _: (307, {"Location": hooked.receiver.url(elsewhere)}))
    hook = hooked.hook()
    trial = hooked.service.json("POST", f"/webhooks/{hook['id']}/test")
    assert (trial["delivered"], trial["status"]) == (False, 307)
    assert hooked.receiver.seen(elsewhere) == []
    assert [each.event["type"] for each in hooked.receiver.seen(hooked.path)] == ["ping"]


@ONE_STACK
def test_a_webhook_that_is_gone_is_switched_off_until_it_is_switched_on(hooked: Hooked) -> None:
    hooked.answer(lambda _: 410)
    hook = hooked.hook()
    hooked.bucket.put("k", b"x")
    shown = until(lambda: hooked.show(hook), lambda seen: not seen["enabled"])
    assert (shown["disabled_by"], shown["status"]["waiting"]) == ("http_410", 1)
    hooked.bucket.put("unseen", b"x")
    hooked.answer(lambda _: 200)
    on = hooked.service.json("PUT", f"/webhooks/{hook['id']}", {"enabled": True})
    assert (on["enabled"], on["disabled_by"]) == (True, None)
    assert [each.said[1] for each in hooked.awaited(2)] == ["k", "k"]


@ONE_STACK
def test_dead_letters_are_seen_and_delivered_after_all_by_the_command_line(hooked: Hooked) -> None:
    hooked.answer(lambda delivery: 400 if delivery.event["key"] == "bad" else 200)
    service, username = hooked.service, hooked.bucket.username
    made = service.command("webhook", "create", f"{username}/photos", hooked.receiver.url(hooked.path), "--json")
    hook = json.loads(made.stdout)
    hooked.bucket.put("bad", b"1")
    hooked.bucket.put("good", b"1")
    until(lambda: hooked.show(hook)["status"], lambda seen: (seen["dead"], seen["waiting"]) == (1, 0))
    assert len([each for each in hooked.receiver.seen(hooked.path) if each.said[1] == "bad"]) == 4

    with Client(service.url, service.admin_token) as client:
        (letter,) = client.dead_letters(hook["id"])
        assert (letter["key"], letter["error"], letter["attempts"]) == ("bad", "http_400", 4)
        hooked.answer(lambda _: 200)
        again = service.command("webhook", "redeliver", hook["id"], str(letter["number"]), "--json")
        assert json.loads(again.stdout) == {"redelivered": 1}
        assert hooked.awaited(6)[-1].verified(hook["secret"]) == letter["body"]
        until(lambda: client.webhook(hook["id"])["status"], lambda seen: (seen["dead"], seen["waiting"]) == (0, 0))
        assert client.test_webhook(hook["id"])["delivered"]
        assert [each["id"] for each in client.webhooks(username, "photos")] == [hook["id"]]
        changed = client.change_webhook(hook["id"], prefix="p", events=["key.deleted"], enabled=False)
        assert (changed["prefix"], changed["events"], changed["enabled"]) == ("p", ["key.deleted"], False)
        assert client.drop_dead_letters(hook["id"]) == 0
        client.delete_webhook(hook["id"])
        assert client.webhooks(username) == []
    assert service.command("webhook", "show", hook["id"]).returncode == 3
    metrics = service.call("GET", "/metrics").body.decode()
    assert 'cephstorage_webhook_deliveries_total{fate="dead"}' in metrics


@ONE_STACK
@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://a.example/"},
        {"url": "http://user:word@a.example/"},
        {"events": ["ping"]},
        {"events": []},
        {"prefix": "x" * 1025},
        {"bucketname": "A"},
        {"url": None},
        {"color": "red"},
    ],
)
def test_what_makes_no_sense_is_refused(hooked: Hooked, fields: dict[str, Any]) -> None:
    given = {"username": hooked.bucket.username, "bucketname": "photos", "url": "http://a.example/", **fields}
    reply = hooked.service.call("POST", "/webhooks", json.dumps(given).encode(), {"Content-Type": "application/json"})
    assert reply.status == 400, reply.body
    unknown = hooked.service.call("GET", "/webhooks/unknown")
    assert (unknown.status, unknown.json()["code"]) == (404, "webhook_not_found")


@ONE_STACK
def test_a_process_killed_in_mid_delivery_loses_nothing(
    launch: Callable[..., Service], receiver: Receiver, tmp_path: Path
) -> None:
    """It is killed when the receiver has the event and nobody has noted it."""
    service = launch(origin_allowed_ports=str(receiver.port), **SOON)
    hooked = Hooked(service, receiver)
    gate = threading.Event()
    hooked.answer(lambda _: 200 if gate.wait(60) else 500)
    hook = hooked.hook()
    hooked.bucket.put("k", b"1")
    hooked.bucket.put("k", b"22")
    (first,) = hooked.awaited(1)
    service.kill()
    gate.set()
    service.start()

    deliveries = hooked.awaited(3)
    assert [each.event["generation"] for each in deliveries] == [1, 1, 2]
    assert deliveries[1].body == first.body
    assert deliveries[1].verified(hook["secret"])["id"] == first.event["id"]
    until(lambda: hooked.show(hook)["status"], lambda seen: (seen["delivered"], seen["waiting"]) == (2, 0))

"""What webhooks may be, what their receivers check, and what follows from an answer."""

import itertools
import json

import pytest

from cephstorage.domain.errors import InvalidUrl, InvalidWebhook
from cephstorage.domain.webhook_delivery import (
    LONGEST_PATIENCE,
    LONGEST_REST,
    REST,
    TROUBLE,
    Answer,
    Fate,
    RetryRule,
    Waiting,
    after,
    chosen,
    judge,
    room,
)
from cephstorage.domain.webhooks import (
    SUBSCRIBABLE,
    EventType,
    Standing,
    signature,
    wants,
    webhook_events,
    webhook_prefix,
    webhook_url,
)
from cephstorage_client import WebhookRefused, verify_webhook

NOW = 1_000_000.0
RULE = RetryRule(attempts=5, give_up_after=1000.0, base=10.0, cap=100.0)
BODY = json.dumps({"id": "e", "type": "key.created"}).encode()
ANSWERS = [Answer(status=status) for status in range(200, 600)] + [Answer(error="origin_unreachable")]


# -- what a webhook may be


@pytest.mark.parametrize("url", ["http://a.example/x", "https://a.example:8443/x?token=y"])
def test_addresses_are_taken_as_they_are(url: str) -> None:
    assert webhook_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "ftp://a.example/", "http://user:word@a.example/", "http://a.example/#x", "a.example", "http:///x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises((InvalidUrl, InvalidWebhook)):
        webhook_url(url)


def test_events_are_known_and_named_once() -> None:
    assert webhook_events(["transfer.failed", "key.created", "key.created"]) == (EventType.CREATED, EventType.FAILED)
    for wrong in (["ping"], ["key.changed"], []):
        with pytest.raises(InvalidWebhook):
            webhook_events(wrong)


@pytest.mark.parametrize("prefix", ["x" * 1025, "a\0b"])
def test_a_prefix_is_the_beginning_of_a_key(prefix: str) -> None:
    assert webhook_prefix("x" * 1024) == "x" * 1024
    with pytest.raises(InvalidWebhook):
        webhook_prefix(prefix)


def test_a_webhook_wants_its_events_below_its_prefix() -> None:
    for kind, wanted in itertools.product(SUBSCRIBABLE, SUBSCRIBABLE):
        assert wants("a/", [wanted], kind, "a/b") is (kind is wanted)
    assert not wants("a/", SUBSCRIBABLE, EventType.CREATED, "ab")
    assert wants("", SUBSCRIBABLE, EventType.CREATED, "ab")


# -- signatures


def verified(header: str | None, *, body: bytes = BODY, secret: str = "new", now: float = NOW) -> object:
    return verify_webhook(secret, header, body, now=now)


def test_a_signature_is_taken_with_any_of_its_secrets_and_within_its_time() -> None:
    header = signature(["new", "old"], int(NOW), BODY)
    for secret, off in itertools.product(("new", "old"), (-300, 0, 300)):
        assert verified(header, secret=secret, now=NOW + off) == json.loads(BODY)
    assert verify_webhook(["x", "old"], header, BODY, now=NOW) == json.loads(BODY)


def test_a_signature_is_what_the_documents_say() -> None:
    assert signature(["secret"], 1700000000, b"{}") == (
        "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
    )


@pytest.mark.parametrize("off", [-301, 301, 1e6])
def test_a_request_of_another_time_is_refused(off: float) -> None:
    with pytest.raises(WebhookRefused):
        verified(signature(["new"], int(NOW), BODY), now=NOW + off)


def test_whatever_is_changed_is_refused() -> None:
    header = signature(["new"], int(NOW), BODY)
    for place in range(len(BODY)):
        with pytest.raises(WebhookRefused):
            verified(header, body=BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :])
    for place in range(len(header)):
        changed = header[:place] + ("0" if header[place] != "0" else "1") + header[place + 1 :]
        with pytest.raises(WebhookRefused):
            verified(changed)


@pytest.mark.parametrize(
    "header", [None, "", "t=1", "v1=" + "0" * 64, f"t={int(NOW)},t={int(NOW)},v1={'0' * 64}", "t=1,v1=é"]
)
def test_what_is_no_signature_is_refused(header: str | None) -> None:
    with pytest.raises(WebhookRefused):
        verified(header)


def test_a_time_can_not_be_put_beside_another_signature() -> None:
    old = signature(["new"], int(NOW) - 1000, BODY)
    with pytest.raises(WebhookRefused):
        verified(old.replace(f"t={int(NOW) - 1000}", f"t={int(NOW)}"))


# -- what becomes of an event


@pytest.mark.parametrize("attempts", range(6))
def test_the_fate_of_an_event_after_every_answer(attempts: int) -> None:
    for answer in ANSWERS:
        verdict = judge(RULE, answer, attempts, NOW, NOW, 0.0)
        if answer.status is not None and answer.status < 300:
            assert verdict.fate is Fate.DELIVERED
        elif answer.status == 410:
            assert verdict.fate is Fate.GONE
        elif attempts + 1 >= RULE.attempts:
            assert (verdict.fate, verdict.error) == (Fate.DEAD, answer.said)
        else:
            assert (verdict.fate, verdict.error) == (Fate.AGAIN, answer.said)
            assert verdict.due_at == NOW + min(100.0, 10.0 * 2**attempts) / 2


def test_pauses_grow_within_their_bounds_and_are_spread() -> None:
    for attempt in range(1, 200):
        low, high = RULE.pause(attempt, 0.0), RULE.pause(attempt, 0.999999)
        assert 5.0 <= low < high <= 100.0
        assert low >= RULE.pause(max(1, attempt - 1), 0.0)


@pytest.mark.parametrize(
    ("age", "fate"), [(0.0, Fate.AGAIN), (994.9, Fate.AGAIN), (995.0, Fate.DEAD), (1e6, Fate.DEAD)]
)
def test_an_event_whose_next_try_came_too_late_dies(age: float, fate: Fate) -> None:
    assert judge(RULE, Answer(status=500), 0, NOW - age, NOW, 0.0).fate is fate


@pytest.mark.parametrize(
    ("status", "asked", "pause"),
    [(429, 60.0, 60.0), (503, 60.0, 60.0), (500, 60.0, 5.0), (400, 60.0, 5.0), (429, 1.0, 5.0), (429, None, 5.0)],
)
def test_only_who_is_busy_may_ask_for_patience(status: int, asked: float | None, pause: float) -> None:
    verdict = judge(RULE, Answer(status=status, retry_after=asked), 0, NOW, NOW, 0.0)
    assert verdict.due_at == NOW + pause


def test_patience_has_an_end() -> None:
    busy = Answer(status=503, retry_after=1e9)
    assert judge(RetryRule(), busy, 0, NOW, NOW, 0.0).due_at == NOW + LONGEST_PATIENCE
    assert after(Standing(), busy, NOW).rest_until == NOW + LONGEST_PATIENCE


# -- how a receiver stands


def test_a_receiver_in_trouble_is_left_alone_longer_and_longer_until_it_answers() -> None:
    standing, now, rests = Standing(), NOW, []
    for number in range(1, 12):
        standing = after(standing, Answer(error="origin_timeout"), now)
        assert standing.failures == number
        assert room(standing, 8, now) == (8 if number < TROUBLE else 0)
        rests.append(standing.rest_until - now if number >= TROUBLE else 0.0)
        now = max(now, standing.rest_until)
        assert room(standing, 8, now) == (8 if number < TROUBLE else 1)
    assert rests[:5] == [0.0, 0.0, REST, 2 * REST, 4 * REST]
    assert rests[-1] == LONGEST_REST
    well = after(standing, Answer(status=200), now)
    assert (well.failures, well.delivered, room(well, 8, now)) == (0, 1, 8)


def test_answers_to_requests_of_before_the_rest_do_not_lengthen_it() -> None:
    standing = Standing()
    for _ in range(TROUBLE + 8):
        standing = after(standing, Answer(status=502), NOW)
    assert (standing.failures, standing.rest_until) == (TROUBLE, NOW + REST)


def test_only_what_tells_of_the_whole_receiver_leads_to_a_rest() -> None:
    for answer in ANSWERS:
        standing = Standing()
        for _ in range(TROUBLE):
            standing = after(standing, answer, NOW)
        troubled = answer.status is None or answer.status == 429 or answer.status >= 500
        assert (standing.rest_until > NOW) is troubled, answer
        assert (standing.last_status, standing.last_error) == (answer.status, answer.said)


# -- order


def test_events_are_sent_in_their_turn_whatever_waits() -> None:
    """Every way in which three due events of two keys may stand, with every set of keys under way, and every bound."""
    keys = [("b", "x"), ("b", "y")]
    for owners in itertools.product(keys, repeat=3):
        for blocked in itertools.product((False, True), repeat=3):
            due = [Waiting(number, owners[number], blocked[number]) for number in range(3)]
            for busy in ([], [keys[0]], keys):
                for most in range(4):
                    sent = chosen(due, busy, most)
                    told = [each.key for each in sent]
                    assert not any(each.behind for each in sent)
                    assert len(set(told) | set(busy)) == len(told) + len(busy)
                    assert len(sent) <= max(0, most - len(busy))
                    assert [each.id for each in sent] == sorted(each.id for each in sent)
                    free = {each.key for each in due if not each.behind} - set(busy)
                    assert len(sent) == min(len(free), max(0, most - len(busy)))

"""The outbox of webhooks: what writes events, who delivers them, and in which order."""

import itertools
import json
from collections.abc import Sequence

import pytest

from cephstorage.domain.deletions import DeletionWish
from cephstorage.domain.errors import BucketNotFound, InvalidWebhook, LeaseLost, OriginRefused, WebhookNotFound
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Kind
from cephstorage.domain.webhook_delivery import Answer, Fate, Verdict
from cephstorage.domain.webhooks import MOST_OF_TENANT, SUBSCRIBABLE, EventType, Webhook
from cephstorage.index import SqlIndex
from cephstorage.ports.webhooks import DueEvent, Result, WebhookChanges, WebhookLease
from tests.conformance.index.conftest import BUCKET, NOW, OTHER, OWNER, RIVAL, UNTIL, at_once, begin, plan_for

SECOND = BucketName("alice", "videos")
FAILED = Answer(status=400)


def hook(name: str = "hook", bucket: BucketName | None = BUCKET, **fields: object) -> Webhook:
    """A webhook of alice's."""
    given = {"prefix": "", "events": SUBSCRIBABLE, "enabled": True, **fields}
    return Webhook(
        id=name,
        username="alice",
        bucket=bucket,
        url="http://receiver.example/hook",
        secrets=("sealed",),
        previous_until=None,
        disabled_by=None,
        created_at=NOW,
        updated_at=NOW,
        **given,  # type: ignore[arg-type]
    )


class Delivery:
    """Delivers for one webhook by hand."""

    def __init__(self, index: SqlIndex, lease: WebhookLease) -> None:
        self.outbox, self.lease = index.webhook_outbox, lease

    async def due(self, now: float = NOW) -> list[DueEvent]:
        """Events in their turn."""
        _, events = await self.outbox.due(self.lease, now, 100)
        return [each for each in events if not each.behind]

    async def end(self, event: DueEvent, fate: Fate, due_at: float = NOW, now: float = NOW) -> None:
        """Note what came of one."""
        answer = Answer(status=200) if fate is Fate.DELIVERED else FAILED
        await self.outbox.note(self.lease, [Result(event.id, answer, Verdict(fate, due_at, answer.said))], now)

    async def drain(self) -> list[DueEvent]:
        """Deliver all that can be, in the order in which it is."""
        told: list[DueEvent] = []
        while events := await self.due():
            for event in events:
                await self.end(event, Fate.DELIVERED)
            told += events
        return told


async def delivering(index: SqlIndex, name: str = "hook", owner: str = OWNER, now: float = NOW) -> Delivery:
    """Take a webhook that has something due."""
    claimed = await index.webhook_outbox.claim(owner, now, now + 30)
    assert claimed is not None
    assert claimed[0].id == name
    return Delivery(index, claimed[1])


async def publish(index: SqlIndex, key: str, bucket: BucketName = BUCKET, kind: Kind = Kind.FETCH) -> None:
    """Make a version of a key visible."""
    number = next(_numbers)
    lease = await begin(index, f"{number}", key, kind=kind, bucket=bucket)
    assert await index.landing.plan(lease, plan_for(lease), NOW) is not None
    await index.landing.publish(lease, NOW)


_numbers = itertools.count()


def said(events: Sequence[DueEvent]) -> list[tuple[str, str]]:
    """What receivers are told of, and of which key."""
    return [(each.kind.value, each.key[1]) for each in events]


async def test_without_a_webhook_nothing_is_written(index: SqlIndex) -> None:
    await publish(index, "a")
    await index.webhooks.create(hook())

    assert (await index.webhooks.backlog()).waiting == 0
    assert await index.webhook_outbox.claim(OWNER, NOW, UNTIL) is None


async def test_every_change_of_a_key_is_an_event_with_what_was_seen(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    await publish(index, "a")
    await publish(index, "a")
    await index.keys.delete(BUCKET, "a", NOW)

    told = await (await delivering(index)).drain()

    bodies = [json.loads(each.body) for each in told]
    assert [(each["type"], each["generation"]) for each in bodies] == [
        ("key.created", 1),
        ("key.created", 2),
        ("key.deleted", 2),
    ]
    assert all(each["bucket"] == str(BUCKET) and each["size"] == 10 and each["md5"] for each in bodies)
    assert [each["id"] for each in bodies] == [each.event for each in told]
    assert len({each.event for each in told}) == 3
    assert (await index.webhooks.get("hook")).standing.delivered == 3


async def test_many_deletions_at_once_are_events_too(index: SqlIndex) -> None:
    for key in "abc":
        await publish(index, key)
    await index.webhooks.create(hook(events=(EventType.DELETED,)))
    await index.deletions.create("d", BUCKET, DeletionWish(prefix=""), NOW)
    while await index.deletions.step(2, 0.0, NOW):
        pass

    told = await (await delivering(index)).drain()

    assert sorted(said(told)) == [("key.deleted", "a"), ("key.deleted", "b"), ("key.deleted", "c")]


@pytest.mark.parametrize(
    ("kind", "told"), [(Kind.FETCH, True), (Kind.COPY, True), (Kind.FILL, False), (Kind.WARM, False)]
)
async def test_failures_of_what_a_tenant_ordered_are_events(index: SqlIndex, kind: Kind, told: bool) -> None:
    await index.webhooks.create(hook())
    lease = await begin(index, "t", "a", kind=kind)
    await index.transfers.fail(lease, NOW, OriginRefused("http://user:secret@origin.example/ said 404."))

    if not told:
        assert (await index.webhooks.backlog("hook")).waiting == 0
        return
    (event,) = await (await delivering(index)).drain()
    assert json.loads(event.body)["error"] == {"code": "origin_refused"}
    assert (json.loads(event.body)["token"], json.loads(event.body)["kind"]) == ("token-t", kind.value)
    assert "secret" not in event.body


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["a/1", "b/1"]),
        ({"bucket": None}, ["a/1", "b/1", "a/2"]),
        ({"prefix": "a/"}, ["a/1"]),
        ({"bucket": None, "prefix": "a/"}, ["a/1", "a/2"]),
        ({"events": (EventType.DELETED, EventType.FAILED)}, []),
        ({"enabled": False}, []),
    ],
)
async def test_a_webhook_is_told_of_what_it_is_for(
    index: SqlIndex, given: dict[str, object], expected: list[str]
) -> None:
    await index.buckets.create(SECOND, NOW)
    await index.buckets.create(OTHER, NOW)
    await index.webhooks.create(hook(**given))  # type: ignore[arg-type]
    await index.webhooks.create(hook("other"))  # so that there is somebody to be told in any case
    for key, bucket in (("a/1", BUCKET), ("b/1", BUCKET), ("a/2", SECOND), ("a/3", OTHER)):
        await publish(index, key, bucket)

    assert (await index.webhooks.backlog("hook")).waiting == len(expected)
    if expected:
        assert [each.key[1] for each in await (await delivering(index)).drain()] == expected


async def test_the_next_event_of_a_key_waits_for_the_one_before(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    for key in ("a", "a", "b", "a"):
        await publish(index, key)
    delivery = await delivering(index)

    first, other = await delivery.due()
    assert (first.key[1], other.key[1]) == ("a", "b")
    await delivery.end(first, Fate.AGAIN, due_at=NOW + 60)
    await delivery.end(other, Fate.DELIVERED)
    assert await delivery.due() == []

    (again,) = await delivery.due(NOW + 60)
    assert (again.id, again.attempts, again.body) == (first.id, 1, first.body)
    await delivery.end(again, Fate.DEAD)
    (second,) = await delivery.due()
    assert second.id > first.id
    assert [each.attempts for each in await delivery.drain()] == [0, 0]


async def test_an_event_of_a_key_that_comes_while_others_wait_is_last(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    await publish(index, "a")
    delivery = await delivering(index)
    (first,) = await delivery.due()
    await delivery.end(first, Fate.AGAIN, due_at=NOW + 60)
    await index.keys.delete(BUCKET, "a", NOW)

    assert await delivery.due() == []
    (again,) = await delivery.due(NOW + 60)
    await delivery.end(again, Fate.DELIVERED)
    assert said(await delivery.drain()) == [("key.deleted", "a")]


async def test_whatever_comes_of_them_events_of_a_key_keep_their_order(index: SqlIndex) -> None:
    ways = list(itertools.product([Fate.DELIVERED, Fate.AGAIN, Fate.DEAD], repeat=3))
    await index.webhooks.create(hook())
    for key in [str(number) for number in range(len(ways))] * 2:
        await publish(index, key)
    delivery = await delivering(index)
    seen: dict[str, list[int]] = {}
    for turn in range(3):
        events = await delivery.due()
        assert len({each.key for each in events}) == len(events)
        for event in events:
            seen.setdefault(event.key[1], []).append(event.id)
            await delivery.end(event, ways[int(event.key[1])][turn])
    for event in await delivery.drain():
        seen[event.key[1]].append(event.id)

    assert [key for key, ids in seen.items() if ids != sorted(ids) or len(set(ids)) != 2] == []
    ended = [fate for way in ways for fate in _first_two_ends(way)]
    backlog = await index.webhooks.backlog("hook")
    assert (backlog.waiting, backlog.dead) == (0, ended.count(Fate.DEAD))


def _first_two_ends(way: Sequence[Fate]) -> Sequence[Fate]:
    """What ends the two events of a key: what is left at the end is delivered."""
    return [fate for fate in way if fate is not Fate.AGAIN][:2]


async def test_one_process_delivers_for_a_webhook(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    await publish(index, "a")
    delivery = await delivering(index)
    (event,) = await delivery.due()

    assert await index.webhook_outbox.claim(RIVAL, NOW, UNTIL) is None
    assert list(await index.webhook_outbox.owners()) == [OWNER]
    assert await index.webhook_outbox.expire_owner(OWNER) == 1
    second = await delivering(index, owner=RIVAL)
    with pytest.raises(LeaseLost):
        await delivery.end(event, Fate.DELIVERED)
    assert [each.id for each in await second.due()] == [event.id]  # what was not noted is sent again
    assert list(await index.webhook_outbox.renew([delivery.lease, second.lease], UNTIL)) == [delivery.lease]


async def test_a_webhook_at_rest_is_not_claimed(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    await publish(index, "a")
    delivery = await delivering(index)
    await index.webhook_outbox.give_back(delivery.lease, NOW, 60.0)

    assert await index.webhook_outbox.claim(OWNER, NOW + 59, UNTIL) is None
    await delivering(index, now=NOW + 60)


async def test_a_webhook_that_is_gone_is_switched_off_and_keeps_its_events(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    await publish(index, "a")
    delivery = await delivering(index)
    (event,) = await delivery.due()
    gone = Answer(status=410)
    await index.webhook_outbox.note(delivery.lease, [Result(event.id, gone, Verdict(Fate.GONE, NOW, gone.said))], NOW)
    await publish(index, "b")

    found = await index.webhooks.get("hook")
    assert (found.enabled, found.disabled_by) == (False, "http_410")
    assert await delivery.due() == []
    await index.webhook_outbox.give_back(delivery.lease, NOW)
    assert await index.webhook_outbox.claim(OWNER, NOW, UNTIL) is None

    await index.webhooks.change("hook", WebhookChanges(enabled=True), NOW)
    assert said(await (await delivering(index)).drain()) == [("key.created", "a")]


async def test_dead_letters_are_seen_delivered_after_all_and_dropped(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    for key in ("a", "b", "c"):
        await publish(index, key)
    delivery = await delivering(index)
    for event in await delivery.due():
        await delivery.end(event, Fate.DEAD)
    await index.keys.delete(BUCKET, "a", NOW)

    letters = await index.webhooks.dead("hook", 2)
    assert [(each.key, each.error, each.attempts) for each in letters] == [("a", "http_400", 1), ("b", "http_400", 1)]
    assert [each.key for each in await index.webhooks.dead("hook", 2, letters[-1].number)] == ["c"]
    assert letters[0].body["key"] == "a"

    assert await index.webhooks.drop("hook", [letters[1].number]) == 1
    assert await index.webhooks.redeliver("hook", [letters[0].number], NOW) == 1
    told = await delivery.drain()
    assert said(told) == [("key.created", "a"), ("key.deleted", "a")]
    assert told[0].attempts == 0
    assert await index.webhooks.redeliver("hook", None, NOW) == 1
    assert said(await delivery.drain()) == [("key.created", "c")]
    with pytest.raises(WebhookNotFound):
        await index.webhooks.drop("other", None)


async def test_the_outbox_is_bounded_and_its_oldest_become_dead_letters(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    for key in ("a", "a", "b", "c"):
        await publish(index, key)
    delivery = await delivering(index)
    await delivery.due()  # the second event of a is put back

    assert await index.webhook_outbox.tidy(3, 100, 0.0, NOW) == 1
    assert [(each.key, each.error) for each in await index.webhooks.dead("hook", 9)] == [("a", "outbox_full")]
    assert sorted(each.key[1] for each in await delivery.due()) == ["a", "b", "c"]
    assert await index.webhook_outbox.tidy(0, 2, 0.0, NOW) == 3
    assert [each.key for each in await index.webhooks.dead("hook", 9)] == ["b", "c"]
    assert (await index.webhooks.get("hook")).standing.dropped == 2
    assert await index.webhook_outbox.tidy(0, 2, NOW + 1, NOW) == 0
    assert await index.webhooks.backlog("hook") == await index.webhooks.backlog()
    assert (await index.webhooks.backlog()).dead == 0


async def test_who_tidies_at_the_same_moment_does_not_go_below_the_bounds(
    index: SqlIndex, several: list[SqlIndex]
) -> None:
    await index.webhooks.create(hook())
    for key in "abcdefghij":
        await publish(index, key)

    died = await at_once(several, 6, lambda some, _: some.webhook_outbox.tidy(7, 2, 0.0, NOW))

    backlog = await index.webhooks.backlog("hook")
    assert (sum(died), backlog.waiting, backlog.dead) == (3, 7, 2)
    assert [each.key for each in await index.webhooks.dead("hook", 9)] == ["b", "c"]
    assert (await index.webhooks.get("hook")).standing.dropped == 1


async def test_events_go_with_their_webhook(index: SqlIndex) -> None:
    await index.webhooks.create(hook())
    await index.webhooks.create(hook("other"))
    await publish(index, "a")
    await index.webhooks.delete("hook")
    with pytest.raises(WebhookNotFound):
        await index.webhooks.delete("hook")

    await index.webhook_outbox.tidy(100, 100, 0.0, NOW)
    assert (await index.webhooks.backlog()).waiting == 1
    assert said(await (await delivering(index, "other")).drain()) == [("key.created", "a")]


async def test_webhooks_are_kept_changed_and_found(index: SqlIndex) -> None:
    await index.buckets.create(SECOND, NOW)
    await index.webhooks.create(hook())
    await index.webhooks.create(hook("wide", bucket=None))
    await index.webhooks.create(hook("second", bucket=SECOND))

    assert await index.webhooks.get("hook") == hook()
    assert [each.id for each in await index.webhooks.of_tenant("alice")] == ["hook", "second", "wide"]
    assert [each.id for each in await index.webhooks.page("", 2)] == ["hook", "second"]
    assert [each.id for each in await index.webhooks.page("second", 2)] == ["wide"]
    assert [each.id for each in await index.webhooks.of_tenant("alice", BUCKET)] == ["hook", "wide"]
    assert list(await index.webhooks.of_tenant("bob")) == []
    changes = WebhookChanges("https://new.example/", (EventType.FAILED,), "p", False, ("x", "y"), NOW + 9)
    changed = await index.webhooks.change("hook", changes, NOW + 1)
    assert changed == await index.webhooks.get("hook")
    assert (changed.url, changed.events, changed.prefix) == ("https://new.example/", (EventType.FAILED,), "p")
    assert (changed.enabled, changed.secrets, changed.previous_until) == (False, ("x", "y"), NOW + 9)
    with pytest.raises(WebhookNotFound):
        await index.webhooks.change("unknown", WebhookChanges(), NOW)


async def test_a_webhook_needs_a_bucket_or_a_tenant_and_there_are_not_too_many(index: SqlIndex) -> None:
    with pytest.raises(BucketNotFound):
        await index.webhooks.create(hook(bucket=SECOND))
    for number in range(MOST_OF_TENANT):
        await index.webhooks.create(hook(f"{number}"))
    with pytest.raises(InvalidWebhook):
        await index.webhooks.create(hook("one more"))

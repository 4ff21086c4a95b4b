"""Secrets of webhooks through a change of the service's own key, and deliveries whose lease is lost, over a real index."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import pytest

from cephstorage.domain.errors import SecretKeyWrong
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.domain.webhook_delivery import Answer, RetryRule
from cephstorage.index import SqlIndex, index_at
from cephstorage.ports.webhooks import Headers
from cephstorage.services import webhook_delivery, webhooks
from cephstorage.services.sealing import Seal, SealedSettings
from cephstorage.services.webhook_delivery import DeliveryOptions, WebhookDelivery
from cephstorage.services.webhooks import Webhooks, WebhookSecrets, WebhookWish

BUCKET = BucketName("alice", "photos")
OLD, NEW = "o" * 32, "n" * 32
NOW = 1000.0
WISH = WebhookWish(url="http://receiver.example/hook")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    opened = index_at("", tmp_path / "cephstorage.db")
    await opened.open()
    await opened.buckets.create(BUCKET, NOW)
    yield opened
    await opened.close()


class Receiver:
    """A receiver that never answers. Requests that are given up end when they may."""

    def __init__(self) -> None:
        self.begun, self.under_way = 0, 0
        self.may_end = asyncio.Event()

    async def send(self, url: str, headers: Headers, body: bytes, now: float) -> Answer:
        """Wait for ever."""
        self.begun += 1
        self.under_way += 1
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await self.may_end.wait()
            finally:
                self.under_way -= 1
        return Answer(status=200)


def secrets(index: SqlIndex, *keys: str) -> WebhookSecrets:
    return WebhookSecrets(SealedSettings(index.settings, Seal(keys)))


def service(index: SqlIndex, *keys: str) -> Webhooks:
    return Webhooks(index.webhooks, secrets(index, *keys), Receiver(), lambda: NOW)


async def test_every_secret_is_sealed_anew_when_the_key_was_replaced(
    index: SqlIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_AT_ONCE", 2)
    made = [await service(index, OLD).create("alice", "photos", WISH) for _ in range(5)]
    rotated = await service(index, OLD).rotate(made[0].webhook.id)

    await service(index, NEW, OLD).seal_anew()

    opened = [secrets(index, NEW).valid(await index.webhooks.get(each.webhook.id), NOW) for each in made]
    assert opened == [[rotated.secret, made[0].secret], *([each.secret] for each in made[1:])]


async def test_a_webhook_whose_secret_is_lost_works_again_with_a_new_one(index: SqlIndex) -> None:
    made = await service(index, OLD).create("alice", "photos", WISH)
    await service(index, NEW).seal_anew()
    with pytest.raises(SecretKeyWrong):
        secrets(index, NEW).valid(await index.webhooks.get(made.webhook.id), NOW)

    again = await service(index, NEW).rotate(made.webhook.id)

    assert secrets(index, NEW).valid(again.webhook, NOW) == [again.secret]
    assert again.webhook.previous_until is None


def nobody(_: Iterable[str]) -> Sequence[str]:
    return []


async def test_requests_under_a_lost_lease_end_and_those_of_the_next_one_are_waited_for(
    index: SqlIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_delivery, "_PARTING", 0.05)
    receiver, keeper = Receiver(), secrets(index, NEW)
    await service(index, NEW).create("alice", "photos", WISH)
    await index.adoption.adopt(BUCKET, [RECORD])
    delivery = WebhookDelivery(
        index.webhook_outbox,
        index.webhooks,
        keeper,
        receiver,
        "here",
        nobody,
        time.time,
        DeliveryOptions(RetryRule()),
    )
    delivery.start()
    await seen(lambda: receiver.begun == 1)
    await index.webhook_outbox.expire_owner("here")
    await seen(lambda: receiver.begun == 2)
    receiver.may_end.set()
    await seen(lambda: carrying() == 1)
    await delivery.stop()
    assert receiver.under_way == 0


def carrying() -> int:
    """How many tasks deliver."""
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    return names.count(WebhookDelivery._carry.__qualname__)


async def seen(state: Callable[[], bool]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(30):
        while not state():  # noqa: ASYNC110 - a task of the delivery brings it about
            await asyncio.sleep(0.01)


RECORD = Record(
    bucket=BUCKET,
    key="k",
    ts=1,
    md5="0" * 32,
    content_type="text/plain",
    size=1,
    generation=1,
    etag=None,
    last_modified=None,
    store_version="v",
    source="",
    validated_at=NOW,
)

"""Endpoints of webhooks: made, changed, tried, given new secrets; their state and their dead letters.

An address may hold a secret of the receiver's, so that only who may write the tenant's things sees webhooks.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import ApiServices, Caller, Services
from cephstorage.api.models import Json, Text, number
from cephstorage.domain.access import Action, Principal
from cephstorage.domain.errors import InvalidWebhook
from cephstorage.domain.webhooks import Webhook
from cephstorage.ports.webhooks import Backlog, DeadLetter
from cephstorage.services.webhooks import LONGEST_OVERLAP, MOST_LETTERS, OVERLAP, NewSecret, WebhookWish

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=BoundedRoute)
_HIGHEST = 2**63 - 1


class WebhookFields(BaseModel):
    """What a webhook is for."""

    model_config = ConfigDict(extra="forbid")

    url: Text | None = Field(None, description="Where events are sent", examples=["https://example.org/hook"])
    events: list[Text] | None = Field(
        None, max_length=20, description="key.created, key.deleted, transfer.failed; default: all"
    )
    prefix: Text | None = Field(None, description="Only keys that begin so", examples=["photos/"])
    enabled: bool | None = Field(None, description="Whether events are written and delivered")

    def wish(self) -> WebhookWish:
        """The wish as the service takes it."""
        return WebhookWish(self.url, self.events, self.prefix, self.enabled)


class CreateWebhook(WebhookFields):
    """A webhook to be made."""

    username: Text = Field(description="The tenant")
    bucketname: Text | None = Field(None, description="Its bucket; without it, all of the tenant's")


class Rotate(BaseModel):
    """How a secret is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap: float = Field(OVERLAP, ge=0, le=LONGEST_OVERLAP, description="Seconds that the old one signs along")


class Letters(BaseModel):
    """Which dead letters are meant."""

    model_config = ConfigDict(extra="forbid")

    numbers: list[Annotated[int, Field(ge=0, le=_HIGHEST)]] | None = Field(None, min_length=1, max_length=MOST_LETTERS)
    everything: Annotated[bool, Field(alias="all", description="All of them")] = False

    def chosen(self) -> list[int] | None:
        """Their numbers; None for all. Raises InvalidWebhook."""
        if (self.numbers is None) == (not self.everything):
            raise InvalidWebhook("Name dead letters by numbers, or say all.")
        return self.numbers


def webhook_json(webhook: Webhook, backlog: Backlog | None, now: float) -> Json:
    """A webhook and how it does. Never its secrets."""
    standing = webhook.standing
    state: Json = {
        "delivered": standing.delivered,
        "dropped": standing.dropped,
        "failures": standing.failures,
        "last_at": number(standing.last_at),
        "last_status": standing.last_status,
        "last_error": standing.last_error,
        "rests_until": number(standing.rest_until) if standing.rest_until > now else None,
    }
    if backlog is not None:
        lag = max(0.0, now - backlog.oldest) if backlog.oldest is not None else 0.0
        state |= {"waiting": backlog.waiting, "dead": backlog.dead, "lag": round(lag, 3)}
    return {
        "id": webhook.id,
        "username": webhook.username,
        "bucket": None if webhook.bucket is None else str(webhook.bucket),
        "bucketname": None if webhook.bucket is None else webhook.bucket.bucketname,
        "prefix": webhook.prefix,
        "url": webhook.url,
        "events": [each.value for each in webhook.events],
        "enabled": webhook.enabled,
        "disabled_by": webhook.disabled_by,
        "old_secret_until": number(webhook.previous_until) if len(webhook.signing(now)) > 1 else None,
        "created": number(webhook.created_at),
        "updated": number(webhook.updated_at),
        "status": state,
    }


def letter_json(letter: DeadLetter) -> Json:
    """A dead letter."""
    return {
        "number": letter.number,
        "event": letter.event,
        "type": letter.kind.value,
        "bucket": letter.bucket,
        "key": letter.key,
        "attempts": letter.attempts,
        "error": letter.error,
        "waited_since": number(letter.created_at),
        "died": number(letter.died_at),
        "body": letter.body,
    }


async def _own(webhook: str, principal: Principal, parts: ApiServices) -> Webhook:
    found = await parts.webhooks.get(webhook)
    principal.require(Action.WRITE, found.username)
    return found


async def _shown(webhook: Webhook, parts: ApiServices) -> Json:
    return webhook_json(webhook, await parts.webhooks.backlog(webhook.id), parts.clock())


async def _with_secret(made: NewSecret, parts: ApiServices) -> Json:
    return {**await _shown(made.webhook, parts), "secret": made.secret}


@router.post("", status_code=201)
async def create_webhook(body: CreateWebhook, principal: Caller, parts: Services) -> Json:
    """Have events sent to an address. ``secret`` signs them; it is shown this once."""
    principal.require(Action.WRITE, body.username)
    return await _with_secret(await parts.webhooks.create(body.username, body.bucketname, body.wish()), parts)


@router.get("")
async def list_webhooks(
    principal: Caller,
    parts: Services,
    username: Annotated[str | None, Query(min_length=1, description="Of this tenant; without it, everybody's")] = None,
    bucketname: Annotated[str | None, Query(min_length=1, description="Those that are told of this bucket")] = None,
) -> Json:
    """Webhooks, oldest first."""
    username = username if username is not None else principal.username
    principal.require(Action.WRITE, username)
    if bucketname is not None and username is None:
        raise InvalidWebhook("bucketname: name its tenant, too (username).")
    now = parts.clock()
    found = await parts.webhooks.of_tenant(username, bucketname)
    return {"webhooks": [webhook_json(each, None, now) for each in found]}


@router.get("/{webhook}")
async def show_webhook(webhook: str, principal: Caller, parts: Services) -> Json:
    """A webhook, what waits for it and what came of the last try."""
    return await _shown(await _own(webhook, principal, parts), parts)


@router.put("/{webhook}")
async def change_webhook(webhook: str, body: WebhookFields, principal: Caller, parts: Services) -> Json:
    """Change what is given; the rest stays. ``enabled`` switches a webhook on again after 410 Gone."""
    await _own(webhook, principal, parts)
    return await _shown(await parts.webhooks.change(webhook, body.wish()), parts)


@router.delete("/{webhook}")
async def delete_webhook(webhook: str, principal: Caller, parts: Services) -> Json:
    """Delete a webhook; what was to be delivered goes with it."""
    await _own(webhook, principal, parts)
    await parts.webhooks.delete(webhook)
    return {"id": webhook, "msg": "webhook_deleted"}


@router.post("/{webhook}/test")
async def test_webhook(webhook: str, principal: Caller, parts: Services) -> Json:
    """Send a ``ping`` now and say what came of it."""
    await _own(webhook, principal, parts)
    trial = await parts.webhooks.test(webhook)
    answer = trial.answer
    shown = {"event": trial.event, "delivered": answer.delivered, "status": answer.status, "error": answer.said}
    return {**shown, "seconds": round(trial.took, 3)}


@router.post("/{webhook}/rotate")
async def rotate_secret(webhook: str, body: Rotate, principal: Caller, parts: Services) -> Json:
    """A new ``secret``, shown this once. Requests are signed with both until ``old_secret_until``."""
    await _own(webhook, principal, parts)
    return await _with_secret(await parts.webhooks.rotate(webhook, body.overlap), parts)


@router.get("/{webhook}/dead")
async def list_dead_letters(
    webhook: str,
    principal: Caller,
    parts: Services,
    limit: Annotated[int, Query(ge=1, le=MOST_LETTERS)] = 100,
    after: Annotated[int, Query(ge=0, le=_HIGHEST, description="Behind this number")] = 0,
) -> Json:
    """Events that were given up, oldest first. ``after`` of the next page is the last ``number``."""
    await _own(webhook, principal, parts)
    return {"dead": [letter_json(each) for each in await parts.webhooks.dead(webhook, limit, after)]}


@router.post("/{webhook}/dead/redeliver")
async def redeliver_dead_letters(webhook: str, body: Letters, principal: Caller, parts: Services) -> Json:
    """Have dead letters delivered after all: before later events of their keys that still wait."""
    await _own(webhook, principal, parts)
    return {"redelivered": await parts.webhooks.redeliver(webhook, body.chosen())}


@router.post("/{webhook}/dead/drop")
async def drop_dead_letters(webhook: str, body: Letters, principal: Caller, parts: Services) -> Json:
    """Delete dead letters."""
    await _own(webhook, principal, parts)
    return {"dropped": await parts.webhooks.drop(webhook, body.chosen())}

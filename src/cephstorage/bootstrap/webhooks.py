"""Webhooks of one process: their administration, and the delivery of their events by processes that do such work."""

from collections.abc import Callable

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.services import Services
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.webhook_delivery import RetryRule
from cephstorage.services.webhook_delivery import DeliveryOptions, WebhookDelivery
from cephstorage.services.webhooks import Webhooks, WebhookSecrets


def make_webhooks(
    settings: Settings, adapters: Adapters, services: Services, clock: Callable[[], float], *, works: bool
) -> tuple[Webhooks, WebhookDelivery]:
    """What the API calls, and what works in the background."""
    index, presence, options = adapters.index, adapters.presence, settings.webhook
    secrets = WebhookSecrets(services.sealed)
    webhooks = Webhooks(index.webhooks, secrets, adapters.webhooks, clock)
    delivery = WebhookDelivery(
        index.webhook_outbox,
        index.webhooks,
        secrets,
        adapters.webhooks,
        presence.owner,
        presence.dead,
        clock,
        DeliveryOptions(
            RetryRule(options.attempts, options.give_up_after, options.retry_base, options.retry_cap),
            concurrency=options.concurrency,
            outbox=options.outbox,
            retention=settings.transfer.progress_retention,
            works=works,
        ),
    )
    webhooks.on_work = delivery.wake
    return webhooks, delivery
